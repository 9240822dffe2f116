"""Engines of r1-bench: what draws samples from a model, in this process or on a server."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from benchmarks.types import BenchEngine
from r1env import records
from r1env.errors import CheckpointError, ConfigError, nearest

_MODULES: Mapping[str, str] = {
    "native": "benchmarks.engines.local",
    "transformers": "benchmarks.engines.local",
    "vllm": "benchmarks.engines.vllm",
    "http": "benchmarks.engines.http",
}
"""Engine → the module whose `open(setup)` gives it."""
NAMES = ("auto", *_MODULES)
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "native": {"max_rows": "count"},
    "transformers": {"max_rows": "count"},
    "vllm": {"max_rows": "count", "max_tokens": "count"},
    "http": {
        "concurrency": "count", "per_minute": "number", "retries": "integer", "timeout_s": "number",
        "patience_s": "number", "extra": "object",
    },
}  # fmt: skip
"""What `Setup.options` may hold, and what it has to be; vLLM takes more, which it checks itself."""
_IS: Mapping[str, Callable[[Any], bool]] = {
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "count": lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
}


_GIVE = {
    "integer": "an integer",
    "count": "an integer of at least 1",
    "number": "a number",
    "object": "a JSON object",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Which model, and what runs it.

    Raises:
        ConfigError: an option that the engine does not have, or of another kind than it takes.
    """

    model: str
    """A checkpoint directory, a hub name, or the address of an OpenAI-compatible server."""
    engine: str
    """native | transformers | vllm | http; `resolve` turns `auto` into one of them."""
    dtype: str = "auto"
    """Of the weights: float32, bfloat16, float16, or as they are stored."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else an engine takes (`OPTIONS`)."""

    def __post_init__(self) -> None:
        known = OPTIONS[self.engine]
        for name, value in self.options.items():
            if name not in known and self.engine != "vllm":
                raise ConfigError(
                    f"--engine-option {name}: {self.engine} has none such{nearest(name, [*known])}"
                )
            if name in known and not _IS[known[name]](value):
                raise ConfigError(f"--engine-option {name}={value!r:.60}: give {_GIVE[known[name]]}")


def resolve(model: str, engine: str = "auto") -> str:
    """The engine for a model, without loading either.

    Raises:
        ConfigError: no such engine, or one that does not fit the model.
        CheckpointError: a directory that is no checkpoint.
    """
    if engine not in NAMES:
        raise ConfigError(f"--engine {engine!r} does not exist{nearest(engine, NAMES)}")
    is_address = model.startswith(("http://", "https://"))
    if is_address and engine in ("auto", "http"):
        return "http"
    if is_address or engine == "http":
        advice = "use --engine http for it" if is_address else "give an address, http://… or https://…"
        raise ConfigError(f"--engine {engine} does not fit --model {model}: {advice}")
    if engine != "auto":
        return engine
    config = _config_of(model)
    return "native" if config is not None and config.get("model_type") == "deepseek_v3" else "transformers"


def _config_of(model: str) -> dict[str, Any] | None:
    """config.json of a checkpoint directory; None for a name of the hub.

    Raises:
        CheckpointError: neither.
    """
    if not model:
        raise CheckpointError(
            "--model is empty; give a checkpoint directory, a hub name, or a server's address"
        )
    path = Path(model).expanduser()
    if not path.is_dir():
        if model.count("/") == 1 and not model.startswith((".", "/", "~")):
            return None
        raise CheckpointError(f"--model {model}: there is no such directory, and it is no name of the hub")
    try:
        return cast("dict[str, Any]", json.loads((path / "config.json").read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        inside = path / "checkpoint"
        hint = f"; did you mean {inside}?" if inside.is_dir() else "; give a directory with a model's files"
        raise CheckpointError(f"--model {model} holds no config.json{hint}") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / 'config.json'} cannot be read: {error}") from error


def fingerprint(model: str) -> dict[str, str]:
    """What a model is known by before it is loaded: `{name}`, and for a directory `{name, sha256}` over its files.

    Of a server it is the whole address, whichever way that was written, and the model's name where one was given.

    Raises:
        CheckpointError: a directory that is no checkpoint.
        ConfigError: no address of a server.
    """
    if model.startswith(("http://", "https://")):
        from benchmarks.engines.wire import endpoint

        address, named = endpoint(model)
        return {"name": f"{address}#{named}" if named else address}
    if _config_of(model) is None:
        return {"name": model}
    path = Path(model).expanduser().resolve()
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    return {
        "name": _called(path),
        "sha256": records.sha256_json({f.name: records.sha256_file(f) for f in files}),
    }


def _called(path: Path) -> str:
    """A checkpoint's name: its directory's, or that of the run whose `checkpoint` it is."""
    return path.parent.name if path.name == "checkpoint" and path.parent.name else path.name


def open_engine(setup: Setup) -> BenchEngine:
    """Loads a model.

    Raises:
        CheckpointError: it cannot be loaded.
        ConfigError: the engine does not fit it.
        MissingDependency: what the engine needs is not installed.
    """
    return cast("BenchEngine", importlib.import_module(_MODULES[setup.engine]).open(setup))
