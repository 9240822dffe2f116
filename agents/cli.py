"""From the command line to a checked configuration, and from any error to one clear line.

Hydra composes conf/; the composed values are merged with the schema of the command, so that a wrong key or
value stops before anything starts. `--help`, `--cfg` and `--info` are Hydra's own and load no torch.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from r1env.errors import ConfigError, R1Error, RunError, nearest

CONFIG_PATH = "pkg://conf"
INTERRUPTED = 130
NOT_COMPOSED_FIRST = {"--help", "-h", "--info", "-i", "-m", "--multirun", "--config-dir", "-cd"}
"""Hydra's flags with which a configuration is not what `compose` makes of the overrides alone."""

C = TypeVar("C")


def main(command: str, schema: type[C], run: Callable[[C], Any]) -> None:
    """Entry point of `python -m agents.<command>`: compose, check, run.

    Args:
        command: name of the primary config in conf/.
        schema: dataclass that the composed config must fit.
        run: gets the checked configuration; prints the run directory as its last line on stdout.

    Exits 0 on success, 2 on the user's mistake (one line on stderr), 130 when interrupted.
    """
    # Idle OpenMP threads spin for microseconds, then sleep: between small operations sleeping at once is twice as
    # slow, and spinning for long costs seconds a step where cores are shared. libgomp reads this when torch loads.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    # MKL must not choose its thread count by the machine's load: sums would round differently from run to run.
    os.environ.setdefault("MKL_DYNAMIC", "FALSE")
    overrides = [a for a in sys.argv[1:] if not a.startswith("-")]
    flags = [a for a in sys.argv[1:] if a.startswith("-")]

    @hydra.main(version_base="1.3", config_path=CONFIG_PATH, config_name=command)
    def task(composed: DictConfig) -> None:
        guarded(lambda: run(checked(composed, schema)))

    guarded(_check_directory)
    if not flags:  # Hydra reports composition errors over many lines: find them first, say them in one
        guarded(lambda: checked(compose(command, overrides), schema))
    elif not NOT_COMPOSED_FIRST & {flag.partition("=")[0] for flag in flags}:
        settings = [o for o in overrides if "=" in o or o.startswith("~")]
        guarded(lambda: checked(compose(command, settings), schema, complete=False))
    task()


def _check_directory() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise RunError("the current directory does not exist any more; cd to one that does") from error


def guarded(action: Callable[[], Any]) -> Any:
    """Run `action`; an `R1Error` becomes one line on stderr and its exit code."""
    try:
        return action()
    except R1Error as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def tell(line: object) -> None:
    """Prints a line on stdout.

    Raises:
        RunError: it cannot be written.
    """
    try:
        print(line, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries once more at the end
        raise RunError(f"standard output cannot be written: {error.strerror}") from error


def compose(command: str, overrides: list[str]) -> DictConfig:
    """Compose conf/ for a command, outside of `hydra.main` or within.

    Raises:
        ConfigError: on any override that names no key, group or option, with the nearest valid one.
    """
    running = GlobalHydra.instance().hydra  # inside hydra.main there is one already: set it aside
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_module("conf", version_base="1.3"):
            try:
                return hydra.compose(command, overrides)
            except (HydraException, OmegaConfBaseException) as error:
                raise ConfigError(_one_line(error, command)) from error
    finally:
        GlobalHydra.instance().hydra = running


def checked(composed: DictConfig, schema: type[C], *, complete: bool = True) -> C:
    """The composed configuration as an instance of its schema.

    Args:
        composed: As Hydra made it.
        schema: The dataclass.
        complete: Whether a value that must be given and is not (`???`) is an error; else it is not looked at further.

    Raises:
        ConfigError: for an unknown key, a missing or mistyped value, or one out of bounds.
    """
    try:
        values = OmegaConf.masked_copy(composed, [str(k) for k in composed if k != "hydra"])
        missing = sorted(OmegaConf.missing_keys(values))
        if missing and complete:
            raise ConfigError(f"{missing[0]} must be given: add {missing[0]}=VALUE")
        OmegaConf.resolve(values)
        merged = OmegaConf.merge(OmegaConf.structured(schema), values)
        return cast(C, merged if missing else OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        known = _keys(OmegaConf.structured(schema))
        reason = str(error).splitlines()[0]
        if key and "not in" in reason:
            raise ConfigError(f"{key}: no such setting{_nearest_key(key, known)}") from error
        raise ConfigError(f"{key or 'configuration'}: {reason}") from error


def _one_line(error: Exception, command: str) -> str:
    text = str(error)
    if found := re.search(
        r"Could not find '([^']+)/([^/']+)'\s+Available options in '[^']+':((?:\n\t\S+)+)", text
    ):
        group, option, options = found[1], found[2], found[3].split()
        return f"{group}={option}: no such option{nearest(option, options)}"
    if found := re.search(r"Could not override '([^']+)'", text):
        return f"{found[1]}: no such setting{_nearest_key(found[1], _all_keys(command))}"
    if found := re.search(r"You must specify '([^']+)'", text):
        return f"{found[1]} must be given: add {found[1]}=VALUE"
    first = text.splitlines()[0] if text else type(error).__name__
    if (
        "Error parsing override" in text
        or "token recognition" in text
        or "mismatched input" in text
        or "no viable" in text
        or "extraneous" in text
    ):
        return f"cannot read an override as KEY=VALUE: {first} (quote values that hold = , [ ] {{ }} or spaces)"
    return first


def _all_keys(command: str) -> list[str]:
    """Every key and group of a command's default configuration."""
    return [*_keys(hydra.compose(command)), "env", "model", "agent", "prompt", "engine", "logger"]


def _keys(node: Any, prefix: str = "") -> list[str]:
    """Dotted leaf keys of a configuration."""
    found: list[str] = []
    for key in node:
        path = f"{prefix}{key}"
        child = None if OmegaConf.is_missing(node, key) else node._get_node(key)
        found += _keys(child, f"{path}.") if isinstance(child, DictConfig) and len(child) else [path]
    return found


def _nearest_key(key: str, known: list[str]) -> str:
    """The closest known key, by its whole path or by its last word."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    last = key.rsplit(".", 1)[-1]
    close = close or [k for k in known if k.rsplit(".", 1)[-1] == last]
    close = close or difflib.get_close_matches(key, known, n=1, cutoff=0.4)
    return f"; did you mean '{close[0]}'?" if close else "; --cfg job prints all of them"
