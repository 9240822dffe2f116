"""Which implementation runs, and what is said where one cannot."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from kernels import dispatch
from kernels.build import KernelUnavailable
from kernels.rms_norm import OP, rms_norm
from tests.kernels.common import needs

X, W = torch.randn(3, 4), torch.ones(4)


def test_choices(monkeypatch):
    needs(OP, "cpu", X, W)
    assert OP.choose("auto", X, W).__name__ == "kernels.rms_norm.cpu"
    assert OP.choose("ref", X, W).__name__ == "kernels.rms_norm.ref"
    for setting in ("ref", "rms_norm=ref", "cpu, rms_norm=ref", "rope=cpu,rms_norm=ref"):
        monkeypatch.setenv("R1_KERNELS", setting)
        assert OP.choose("auto", X, W).__name__ == "kernels.rms_norm.ref"
    assert OP.choose("cpu", X, W).__name__ == "kernels.rms_norm.cpu"  # the argument wins
    monkeypatch.setenv("R1_KERNELS", "rope=ref")
    assert OP.choose("auto", X, W).__name__ == "kernels.rms_norm.cpu"


def test_wrong_names(monkeypatch):
    with pytest.raises(ValueError, match="'fast'; there are auto, triton, cpu, ref"):
        rms_norm(X, W, 1e-6, impl="fast")
    monkeypatch.setenv("R1_KERNELS", "rms_norm=quick")
    with pytest.raises(ValueError, match="R1_KERNELS=rms_norm=quick: 'quick'"):
        rms_norm(X, W, 1e-6)


def test_a_choice_by_name_is_refused_with_the_reason():
    with pytest.raises(KernelUnavailable, match="float64"):
        rms_norm(X.double(), W.double(), 1e-6, impl="cpu")
    if not dispatch.interpreted():
        with pytest.raises(KernelUnavailable, match="CUDA"):
            rms_norm(X, W, 1e-6, impl="triton")
    assert (
        rms_norm(X.double(), W.double(), 1e-6).dtype == torch.float64
    )  # left to itself it takes the reference


def test_without_a_compiler_it_works_and_says_so_once(tmp_path):
    code = (
        "import torch; from kernels.rms_norm import rms_norm;"
        "print(sum(float(rms_norm(torch.ones(2, 4), torch.ones(4), 1e-6).sum()) for _ in range(3)))"
    )
    environment = {**os.environ, "R1_KERNEL_CACHE": str(tmp_path / "kernels"), "PATH": "", "CXX": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert abs(float(done.stdout) - 24) < 1e-3, done.stderr
    assert done.stderr.count("no C++ compiler") == 1


def test_processes_may_compile_at_the_same_time(tmp_path):
    needs(OP, "cpu", X, W)
    code = (
        "import torch; from kernels.rms_norm import rms_norm;"
        "print(float(rms_norm(torch.ones(2, 4), torch.ones(4), 1e-6, impl='cpu').sum()))"
    )
    environment = {**os.environ, "R1_KERNEL_CACHE": str(tmp_path / "kernels")}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [round(float(p.communicate()[0])) for p in started] == [8, 8, 8]
    assert len(list((tmp_path / "kernels").glob("*.so"))) == 1


def test_eager_calls_leave_torch_s_compiler_alone():
    """Its import costs a second and 150 MB, which torch.library's own first call would pay."""
    code = (
        "import sys, torch; from model import presets; from model.logprobs import token_logprobs;"
        "from model.packed import Packed; from kernels.top_p_sample import top_p_sample;"
        "policy, packed = presets.tiny(0), Packed.from_groups([([1, 2, 3], [[4, 5], [6]])]);"
        "rows, targets = packed.predictions;"
        "token_logprobs(policy, policy.hidden(packed)[rows], targets)[0].sum().backward();"
        "top_p_sample(torch.randn(2, 5), torch.rand(2));"
        "print('torch._dynamo' in sys.modules)"
    )
    for kernels in ("auto", "v3_train=ref"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "R1_KERNELS": kernels},
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == "False", done.stderr
