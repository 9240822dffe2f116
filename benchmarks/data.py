"""Where a benchmark's problems are on this machine, and whether they are the ones that everybody means.

A local copy under `--data-dir` comes first, then the hub, by the commit that is pinned here. A dataset whose hash is
known here, of its file or of its problems, is verified from the start. Of any other, the first download writes commit
and hash into a lock file (`lock_file`), and later ones must match it; the result says `verified: false` all the same.
Who accepts data that differs from the known or locked ones (`allow_changed`) gets a result that says `changed: true`.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tasks.base import Benchmark, Source
from benchmarks.types import Problem
from r1env import records, sources
from r1env.errors import DataError, MissingDependency

_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".csv", ".tsv", ".parquet")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A benchmark's problems, found."""

    path: str | None
    """What the environment reads: a file or a directory; None for generated problems."""
    source: str
    """What it is called: the hub's name or the file's, or the environment's id."""
    revision: str | None
    """Commit on the hub, where it was read from there."""
    sha256: str | None
    """Of the dataset as it was found, before any conversion; None for generated problems, whose hash is known once
    they are drawn."""
    verified: bool
    """Whether the hash is the one that is known here."""
    changed: bool = False
    """Whether it differs from the hash that is known or locked, and was accepted all the same."""


def cache_dir() -> Path:
    """Where downloads, conversions and the lock file live: `R1_CACHE/bench`, by default `~/.cache/r1/bench`."""
    return Path(os.environ.get("R1_CACHE") or Path.home() / ".cache" / "r1").expanduser() / "bench"


def lock_file() -> Path:
    """The file that holds commit and hash of every dataset that was downloaded here."""
    return cache_dir() / "data.lock.json"


def fetch(
    benchmark: Benchmark,
    data_dir: Path | None = None,
    *,
    allow_changed: bool = False,
    problems: Callable[[str], Sequence[Problem]] | None = None,
) -> Data:
    """Finds the problems of a benchmark, downloads them where need be, and brings them into their environment's form.

    Args:
        benchmark: Which.
        data_dir: Where local files are looked for.
        allow_changed: Whether data may differ from the hash that is known or locked.
        problems: Reads them all from a path, by default `benchmark.problems`.

    Raises:
        DataError: they are not there, damaged, or not the ones that are known or locked.
        MissingDependency: a format needs a package that is not installed.
        RunError: the cache cannot be written.
    """
    source = benchmark.source
    if benchmark.generated:
        return Data(path=None, source=benchmark.spec(None).id, revision=None, sha256=None, verified=False)
    local = None if data_dir is None else _local(benchmark, data_dir)
    if local is not None:
        name, files = local
        sha256 = hash_of(files)
        verified = sha256 in (source.sha256, source.hub_sha256)
        found = Data(path=None, source=name, revision=None, sha256=sha256, verified=verified)
    elif source.hub is None:
        raise DataError(
            f"{_absent(benchmark, data_dir)}; it is not on the hub: {benchmark.notes or source.url}"
        )
    else:
        files, found = _from_hub(benchmark, data_dir, allow_changed)
    found = dataclasses.replace(found, path=str(_converted(benchmark, files, found.sha256 or "")))
    if not found.verified and not found.changed and source.problems_sha256:
        ids = (problem.task.id for problem in (problems or benchmark.problems)(str(found.path)))
        found = dataclasses.replace(found, verified=problems_hash(ids) == source.problems_sha256)
    if local is None or found.verified or source.sha256 is None:
        return found
    if not allow_changed:
        raise DataError(
            f"{found.source} in {data_dir} has the SHA-256 {found.sha256:.12}…, but the one known to r1-bench is "
            f"{source.sha256:.12}…; give --allow-changed-data to go on with it, and the result is marked so"
        )
    return dataclasses.replace(found, changed=True)


def problems_hash(ids: Iterable[str]) -> str:
    """SHA-256 over the problems' content hashes, in whatever order they come: wording and answers are in them."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def hash_of(files: Sequence[Path]) -> str:
    """SHA-256 of a file; of several, the one of their hashes in order."""
    hashes = [records.sha256_file(path) for path in files]
    return hashes[0] if len(hashes) == 1 else records.sha256_json(hashes)


# Local copies.


def _local(benchmark: Benchmark, data_dir: Path) -> tuple[str, list[Path]] | None:
    """A local copy: what it is called, and its files."""
    source = benchmark.source
    if source.members:
        for name in source.files:
            found = [data_dir / name / member for member in source.members]
            if all(path.is_file() for path in found):
                return name, found
        return None
    for name in _names(benchmark):
        if (data_dir / name).is_file():
            return name, [data_dir / name]
    return None


def _names(benchmark: Benchmark) -> tuple[str, ...]:
    own = (f"{benchmark.name}{suffix}" for suffix in _SUFFIXES)
    return tuple(dict.fromkeys((*benchmark.source.files, *own)))


def _absent(benchmark: Benchmark, data_dir: Path | None) -> str:
    if data_dir is None:
        return f"{benchmark.name}: no --data-dir was given"
    inside = f" with {', '.join(benchmark.source.members[:3])}, …" if benchmark.source.members else ""
    name = next(iter(benchmark.source.files), f"{benchmark.name}.jsonl")
    return f"{benchmark.name} is not in {data_dir}, which should hold {name}{inside}"


# The hub.


def _from_hub(benchmark: Benchmark, data_dir: Path | None, allow_changed: bool) -> tuple[list[Path], Data]:
    source = benchmark.source
    place = _place(source)
    locked = _read_lock().get(place, {})
    try:
        revision = source.revision or locked.get("revision") or _newest(str(source.hub))
        files = _download_files(source, revision) if source.hub_files else [_export(benchmark, revision)]
    except (DataError, MissingDependency):
        raise
    except Exception as error:  # the hub client raises a dozen kinds, from its own to those of the connection
        first_line = str(error).strip().split("\n")[0]
        raise DataError(
            f"{_absent(benchmark, data_dir)}, and {source.hub} could not be loaded from the hub "
            f"({type(error).__name__}: {first_line}); see {source.url}"
        ) from error
    sha256 = hash_of(files)
    wanted = source.hub_sha256 or locked.get("sha256", sha256)
    changed = sha256 != wanted
    if changed and not allow_changed:
        known = "known to r1-bench" if source.hub_sha256 else f"in {lock_file()}"
        raise DataError(
            f"{source.hub} at {revision[:12]} has the SHA-256 {sha256[:12]}…, but the one {known} is {wanted[:12]}…; "
            "give --allow-changed-data to go on with it, and the result is marked so"
        )
    if not locked and not changed:
        _write_lock(place, {"revision": revision, "sha256": sha256})
    verified = source.hub_sha256 is not None and not changed
    return files, Data(
        path=None,
        source=place,
        revision=revision,
        sha256=sha256,
        verified=verified,
        changed=changed,
    )


def _place(source: Source) -> str:
    """What a dataset of the hub is called: name, configuration and split."""
    config = f":{source.config}" if source.config else ""
    return f"{source.hub}{config}#{source.split}"


def _newest(hub: str) -> str:
    from huggingface_hub import HfApi

    return str(HfApi().dataset_info(hub).sha)


def _download_files(source: Source, revision: str) -> list[Path]:
    from huggingface_hub import hf_hub_download

    return [
        Path(hf_hub_download(str(source.hub), name, repo_type="dataset", revision=revision))
        for name in source.hub_files
    ]


def _export(benchmark: Benchmark, revision: str) -> Path:
    """A split as JSON lines, read with `datasets` and kept: hashes of its own files differ with its versions."""
    path = cache_dir() / "hub" / benchmark.name / f"{revision[:16]}.jsonl"
    if not path.is_file():
        lines = (
            json.dumps(row, ensure_ascii=False, sort_keys=True) for row in _rows_of_hub(benchmark, revision)
        )
        records.write_atomic(path, "".join(f"{line}\n" for line in lines))
    return path


def _rows_of_hub(benchmark: Benchmark, revision: str) -> Iterator[dict[str, Any]]:
    import datasets  # heavy: only where it is really used

    source = benchmark.source
    every = source.config == "*"
    configs = datasets.get_dataset_config_names(source.hub, revision=revision) if every else [source.config]
    for config in configs:
        loaded = datasets.load_dataset(source.hub, config, split=source.split, revision=revision)
        classes = {
            name: kind for name, kind in loaded.features.items() if isinstance(kind, datasets.ClassLabel)
        }
        for row in loaded:
            named = {name: kind.int2str(row[name]) for name, kind in classes.items() if row[name] >= 0}
            yield records.plain({**row, **named, **({"config": config} if every else {})})


# The lock file.


def _read_lock() -> dict[str, dict[str, str]]:
    path = lock_file()
    if not path.exists():
        return {}
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(name): {str(key): str(value) for key, value in entry.items()} for name, entry in held.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({error}); restore it, or delete it to lock the datasets anew"
        ) from error


def _write_lock(name: str, entry: Mapping[str, str]) -> None:
    with _alone():
        held = {**_read_lock(), name: dict(entry)}
        records.write_json_atomic(lock_file(), dict(sorted(held.items())))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keeps other processes from writing the lock file between our reading and writing it."""
    try:
        import fcntl
    except ImportError:  # Windows: two first downloads at the same moment may cost one of the entries
        yield
        return
    directory = cache_dir()
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".data.lock", "w", encoding="utf-8") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


# Forms.


def _converted(benchmark: Benchmark, files: Sequence[Path], sha256: str) -> Path:
    """The dataset in the form that its environment reads."""
    if benchmark.convert is not None:
        return benchmark.convert(files, cache_dir() / "converted" / benchmark.name / sha256[:16])
    path = files[0]
    if len(files) == 1 and path.name.removesuffix(".gz").endswith((".jsonl", ".json", ".csv")):
        return path
    return by_row(lambda row: row)(files, cache_dir() / "converted" / benchmark.name / sha256[:16])


def by_row(
    change: Callable[[Mapping[str, Any]], Mapping[str, Any] | None],
) -> Callable[[Sequence[Path], Path], Path]:
    """A conversion that takes all rows of all files one by one; a row that becomes None is left out.

    Raises:
        DataError: a row lacks what the conversion needs; names the row.
    """

    def convert(files: Sequence[Path], directory: Path) -> Path:
        lines = []
        for path in files:
            for number, row in enumerate(read(path), start=1):
                try:
                    changed = change(row)
                except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                    what = f"{type(error).__name__}: {error}"
                    raise DataError(
                        f"{path} row {number} is not what it should be ({what}); check the file"
                    ) from error
                if changed is not None:
                    lines.append(json.dumps(changed, ensure_ascii=False))
        return write_lines(directory, lines)

    return convert


def write_lines(directory: Path, lines: Sequence[str]) -> Path:
    """JSON lines as a file of the directory."""
    path = directory / "data.jsonl"
    records.write_atomic(path, "".join(f"{line}\n" for line in lines))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file: those that `r1env.sources.read_file` reads, and .tsv, .parquet, and .zip with .csv inside.

    A row of a zip has its file's name without the ending under `member`.

    Raises:
        DataError: it does not exist, is of another kind, or is damaged.
    """
    kind = path.suffix
    if kind not in (".tsv", ".parquet", ".zip"):
        return sources.read_file(path)
    try:
        if kind == ".tsv":
            csv.field_size_limit(2**31 - 1)
            with path.open(encoding="utf-8-sig", newline="") as file:
                return list(csv.DictReader(file, delimiter="\t"))
        if kind == ".parquet":
            from pyarrow import parquet

            return list(records.plain(parquet.read_table(path).to_pylist()))
        with zipfile.ZipFile(path) as archive:
            return [row for name in sorted(archive.namelist()) for row in _rows_of_member(archive, name)]
    except ImportError as error:
        raise MissingDependency(f"{path} needs pyarrow to be read; pip install pyarrow") from error
    except (OSError, ValueError, csv.Error, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {error}; check that it is whole") from error


def _rows_of_member(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    if not name.endswith(".csv") or name.startswith("__MACOSX"):
        return []
    text = archive.read(name).decode("utf-8-sig")
    return [
        {**row, "member": name.removesuffix(".csv")} for row in csv.DictReader(io.StringIO(text, newline=""))
    ]
