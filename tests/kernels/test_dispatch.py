"""Which implementation runs, and what is said where one cannot."""

from __future__ import annotations

import os
import shutil
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


EVERY_OP = """
import sys, torch
from kernels import fp8_block
from kernels.mla_decode import mla_decode
from kernels.moe_experts import moe_experts
from kernels.rms_norm import rms_norm
from kernels.selective_logprob import selective_logprob
from kernels.top_p_sample import top_p_sample

for _ in range(3):
    rms_norm(torch.ones(2, 4), torch.ones(4), 1e-6)
    mla_decode(torch.ones(1, 2, 6), torch.ones(1, 3, 6), 4)
    moe_experts(torch.ones(2, 4), torch.ones(2, 1), torch.zeros(2, 1, dtype=torch.int64), torch.ones(1, 6, 4), torch.ones(1, 4, 3))
    selective_logprob(torch.ones(2, 4), torch.ones(5, 4), torch.zeros(2, dtype=torch.int64))
    top_p_sample(torch.ones(1, 5), torch.zeros(1))
    fp8_block.quantise(torch.ones(3, 4))
print("fine")
"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done


def test_without_a_compiler_all_works_and_that_is_said_once(tmp_path):
    done = run(EVERY_OP, R1_KERNEL_CACHE=str(tmp_path / "kernels"), PATH="", CXX="")
    (line,) = done.stderr.splitlines()
    assert line.startswith("no C++ compiler is installed") and line.endswith("in plain torch, which is slower")
    for op in ("moe_experts", "selective_logprob", "rms_norm", "v3_train"):
        assert op in line


def compiler(path, body):
    """A program in a compiler's place that notes its calls."""
    path.write_text(f"""#!/bin/sh\necho "$@" >> '{path}.calls'\n[ "$1" = --version ] && exit 0\n{body}\n""")
    path.chmod(0o755)
    return lambda: (path.parent / f"{path.name}.calls").read_text().splitlines()


def test_a_compiler_that_fails_is_not_asked_again(tmp_path):
    calls = compiler(tmp_path / "c++", 'echo "fatal error: cstdint: No such file" >&2; exit 1')
    done = run(EVERY_OP, R1_KERNEL_CACHE=str(tmp_path / "kernels"), CXX=str(tmp_path / "c++"))
    assert len([line for line in calls() if line != "--version"]) == 1  # a trial, and none of the kernels
    (line,) = done.stderr.splitlines()
    assert (
        "fatal error: cstdint" in line
        and "what is not compiled there yet runs in plain torch, which is slower" in line
    )


def test_a_compiler_that_fails_for_one_source(tmp_path):
    real = shutil.which("c++")
    if real is None:
        pytest.skip("no C++ compiler is installed")
    refuse = """case "$*" in *rms_norm*) echo "error: too old" >&2; exit 1;; esac"""
    calls = compiler(tmp_path / "c++", f'{refuse}\nexec {real} "$@"')
    code = "import torch; from kernels.rms_norm import rms_norm\nfor _ in range(2): rms_norm(torch.ones(2, 4), torch.ones(4), 1e-6)"
    done = run(code, R1_KERNEL_CACHE=str(tmp_path / "kernels"), CXX=str(tmp_path / "c++"))
    assert len([line for line in calls() if "rms_norm" in line]) == 2  # with OpenMP, and without
    assert done.stderr.count("error: too old; rms_norm runs in plain torch, which is slower") == 1


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    calls = compiler(tmp_path / "c++", "exit 1")
    done = run(EVERY_OP, R1_KERNEL_CACHE=str(tmp_path / "file" / "kernels"), CXX=str(tmp_path / "c++"))
    assert set(calls()) == {"--version"} and len(calls()) < 20
    (line,) = done.stderr.splitlines()
    assert "cannot be written" in line and "what is not compiled there yet runs in plain torch" in line


@pytest.mark.parametrize("command", ["{} -O2", "env {}", "'{}' -O2 -g0"])
def test_a_compiler_s_command_may_be_of_several_words(tmp_path, command):
    needs(OP, "cpu", X, W)
    path = tmp_path / ("my c++" if "'" in command else "c++")
    calls = compiler(path, 'exec c++ "$@"')
    code = "import torch; from kernels.rms_norm import rms_norm; rms_norm(torch.ones(2, 4), torch.ones(4), 1e-6, impl='cpu')"
    run(code, R1_KERNEL_CACHE=str(tmp_path / "kernels"), CXX=command.format(path))
    assert len(calls()) == 4 and all(
        ("-O2" in call) == ("-O2" in command) for call in calls()[1:]
    )  # version, trial, compile, link


def test_processes_that_need_a_library_wait_for_one_of_them(tmp_path):
    needs(OP, "cpu", X, W)
    code = (
        "import torch; from kernels.rms_norm import rms_norm;"
        "print(float(rms_norm(torch.ones(2, 4), torch.ones(4), 1e-6, impl='cpu').sum()))"
    )
    environment = {**os.environ, "R1_KERNEL_CACHE": str(tmp_path / "kernels")}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    told = [process.communicate() for process in started]
    assert [round(float(out)) for out, _ in told] == [8, 8, 8]
    assert sum(said.count("compiling kernels/rms_norm/cpu.cpp (once)") for _, said in told) == 1
    assert [file.suffix for file in (tmp_path / "kernels").iterdir()] == [".so"]


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
