"""Where a benchmark's problems are on this machine, and whether they are the ones that everybody means."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchmarks.tasks.base import Benchmark
from r1env import records
from r1env.errors import DataError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A benchmark's problems, found."""

    path: str | None
    """The file; None for generated problems."""
    source: str
    """What it is called: the hub's name or the file's, or the environment's id."""
    revision: str | None
    """Commit on the hub, where it was read from there."""
    sha256: str | None
    """Of the file; None for generated problems, whose hash is known once they are drawn."""
    verified: bool
    """Whether the hash is the one that is known here."""


def fetch(benchmark: Benchmark, data_dir: Path | None = None) -> Data:
    """Finds the problems of a benchmark.

    Args:
        benchmark: Which.
        data_dir: Where local files are looked for.

    Raises:
        DataError: they are not there.
    """
    source = benchmark.source
    if benchmark.generated:
        return Data(path=None, source=benchmark.spec(None).id, revision=None, sha256=None, verified=False)
    for name in source.files if data_dir is not None else ():
        path = data_dir / name
        if path.is_file():
            sha256 = records.sha256_file(path)
            return Data(path=str(path), source=name, revision=None, sha256=sha256, verified=sha256 == source.sha256)
    raise DataError(
        f"{benchmark.name} is not there: --data-dir {data_dir or 'was not given'}; put it there as {source.files[0]}"
    )
