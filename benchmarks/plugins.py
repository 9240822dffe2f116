"""`r1-bench plugins`: list the registered environments, check them, begin a new package of one."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import keyword
import re
import string
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

import r1env
from benchmarks import output
from benchmarks.output import Report
from r1env.conformance import Finding, check
from r1env.errors import ConfigError, RunError
from r1env.registry import GROUP, EnvSpec

SKELETON = Path(__file__).parent / "skeleton"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")


def run(given: argparse.Namespace) -> Report:
    """The command.

    Raises:
        ConfigError: an id, a name or an argument that does not fit.
        RunError: the new package cannot be written.
    """
    if given.action == "list":
        return _list()
    if given.action == "check":
        return _check(given)
    return _new(given.name, Path(given.dir).expanduser())


# list


def _list() -> Report:
    found = [describe(id) for id in r1env.registered_ids()]

    def show() -> None:
        columns = ("id", "from", "levels", "extra parts", "what")
        rows = [
            (
                one["id"],
                one["distribution"],
                " ".join(one["levels"]),
                " ".join(one["extra_parts"]),
                one["what"] or one["error"],
            )
            for one in found
        ]
        output.table(columns, rows)

    return Report(document={"environments": found}, show=show)


def describe(id: str) -> dict[str, Any]:
    """What a registered environment is: `{id, class, distribution, levels, extra_parts, what, error}`.

    `error` says why its class cannot be loaded; else it is None.
    """
    registered = gym.registry[id]
    entry_point = registered.entry_point
    named = entry_point if isinstance(entry_point, str) else _full_name(entry_point)
    found: dict[str, Any] = {
        "id": id,
        "class": named,
        "distribution": _distribution(str(named)),
        "levels": [],
        "extra_parts": [],
        "what": "",
        "error": None,
    }
    try:
        kind = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    except Exception as error:  # whatever somebody else's module raises
        found["error"] = f"cannot be loaded: {type(error).__name__}: {error}"
        return found
    found["levels"] = list(getattr(kind, "levels", ()))
    found["extra_parts"] = list(getattr(kind, "extra_parts", ()))
    found["what"] = (getattr(kind, "__doc__", None) or "").strip().partition("\n")[0]
    return found


def _full_name(kind: Any) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _distribution(entry_point: str) -> str | None:
    """The distribution whose plugin has the same top-level package; None where none has."""
    package = entry_point.partition(":")[0].partition(".")[0]
    for plugin in importlib.metadata.entry_points(group=GROUP):
        if plugin.dist is not None and plugin.module.partition(".")[0] == package:
            return plugin.dist.name
    return "r1-gym" if package == "r1env" else None


# check


def _check(given: argparse.Namespace) -> Report:
    if bool(given.ids) == given.all:
        raise ConfigError("name the ids to check, or give --all (r1-bench plugins list shows them)")
    if given.deadline is not None and not given.deadline > 0:
        raise ConfigError(f"--deadline {given.deadline}: must be above 0 seconds")
    ids = r1env.registered_ids() if given.all else given.ids
    known = [*r1env.registered_ids(), *gym.registry]
    for id in ids:
        if ":" not in id and id not in known:
            r1env.make(id)  # raises, and names the nearest
    arguments = _arguments(given.kwargs)
    found: dict[str, list[Finding]] = {}
    seconds: dict[str, float] = {}
    for id in ids:
        started = time.perf_counter()
        found[id] = check(EnvSpec(id, arguments), seeds=given.seeds, deadline_s=given.deadline)
        seconds[id] = time.perf_counter() - started
    failed = [id for id in found if not all(finding.ok for finding in found[id])]
    document = {
        "environments": {
            id: {
                "passed": id not in failed,
                "seconds": round(seconds[id], 2),
                "checks": [_plain(one) for one in found[id]],
            }
            for id in found
        },
        "failed": failed,
    }
    return Report(document=document, show=lambda: _show(found, seconds), exit_code=1 if failed else 0)


def _arguments(pairs: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"--kwargs {pair!r} is not KEY=VALUE; write for instance level=word_1")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "ok": finding.ok,
        "detail": finding.detail,
        "advice": finding.advice,
        "figures": dict(finding.figures),
    }


def _show(found: Mapping[str, Sequence[Finding]], seconds: Mapping[str, float]) -> None:
    for id, findings in found.items():
        output.say(f"{id}  ({seconds[id]:.1f} s)")
        output.table(
            ("check", "", "what was seen"), [(f.name, "ok" if f.ok else "FAIL", f.detail) for f in findings]
        )
        for finding in findings:
            if not finding.ok:
                output.say(f"  {finding.name}: {finding.advice}")
        output.say()
    failed = sum(not finding.ok for findings in found.values() for finding in findings)
    output.say(f"{failed} checks failed" if failed else "all checks passed")


# new


def _new(name: str, parent: Path) -> Report:
    written = begin(name, parent)
    words = _words(name)

    def show() -> None:
        for path in written["files"]:
            output.say(f"wrote {path}")
        output.say("\nnext:")
        output.say(f"  cd {written['directory']}")
        output.say("  pip install -e .          # r1-gym finds it by its entry point")
        output.say(f"  r1-bench plugins check {words['id']}")
        output.say("  pytest")
        output.say(f"Then put your own task into src/{words['module']}/__init__.py.")

    return Report(document=written, show=show)


def begin(name: str, parent: Path) -> dict[str, Any]:
    """Writes a package with a small environment: `{id, directory, files}`.

    Args:
        name: The package's name, lower-case words joined by hyphens.
        parent: Where its directory is made.

    Raises:
        ConfigError: a name that does not fit or is taken.
        RunError: the directory is there already, or cannot be written.
    """
    words = _words(name)
    directory = parent / name
    if directory.exists():
        raise RunError(
            f"{directory} is there already, and nothing is overwritten; choose another name or --dir"
        )
    places = {
        "pyproject.toml": "pyproject.toml.in",
        "README.md": "README.md.in",
        f"src/{words['module']}/__init__.py": "env.py.in",
        "tests/test_env.py": "test_env.py.in",
    }
    try:
        for place, template in places.items():
            text = (SKELETON / template).read_text(encoding="utf-8")
            path = directory / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(string.Template(text).substitute(words), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{directory} cannot be written: {error.strerror}; choose another --dir") from error
    return {"id": words["id"], "directory": str(directory), "files": [str(directory / p) for p in places]}


def _words(name: str) -> dict[str, str]:
    """What the templates are filled with.

    Raises:
        ConfigError: a name that does not fit or is taken.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"the name {name!r} does not fit; give lower-case words joined by hyphens: acme-riddles"
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or importlib.util.find_spec(module) is not None:
        raise ConfigError(f"a Python module {module!r} is there already; choose another name than {name!r}")
    namespace, *rest = name.split("-")
    title = "".join(word.capitalize() for word in rest or [namespace])
    return {
        "package": name,
        "module": module,
        "cls": f"{title}Env",
        "id": f"{namespace}/{title}-v0",
        "next_id": f"{namespace}/{title}-v1",
    }
