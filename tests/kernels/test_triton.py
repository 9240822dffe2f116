"""The Triton kernels without a GPU: compiled for two generations, and run by the interpreter in a process of its own."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPS = sorted(p.parent.name for p in (ROOT / "kernels").glob("*/triton.py"))


@pytest.mark.parametrize("op", OPS)
def test_every_kernel_is_compiled(op):
    triton = pytest.importorskip("triton")
    module = importlib.import_module(f"kernels.{op}.triton")
    launched = re.findall(r"(\w+)\[", Path(module.__file__).read_text())
    kernels = {
        name for name in launched if isinstance(getattr(module, name, None), triton.runtime.KernelInterface)
    }
    assert kernels and set(module.COMPILED) == kernels


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("capability", [90, 100])
@pytest.mark.parametrize("op", OPS)
def test_compiles_for_a_gpu(op, capability, dtype):
    """Down to PTX and machine code."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module = importlib.import_module(f"kernels.{op}.triton")
    assert module.COMPILED
    for name, (arguments, constants) in module.COMPILED.items():
        signature = {}
        for argument in arguments.split(","):
            kind, parameter = argument.split()
            signature[parameter] = kind.replace("bf16", dtype)
        kernel = getattr(module, name)
        source = ASTSource(
            kernel,
            {p: signature.get(p, "constexpr") for p in kernel.arg_names},
            constexprs={(kernel.arg_names.index(k),): v for k, v in constants.items()},
        )
        built = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        assert f"sm_{capability}" in built.asm["ptx"] and len(built.asm["cubin"]) > 0


def test_interpreted():
    pytest.importorskip("triton")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-o", "addopts=", "tests/kernels/interpreted"],
        cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout.splitlines()[-1]
