"""`r1-bench doctor` on this machine, and on machines with something broken."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import textwrap

import pytest

from benchmarks import cli, doctor
from tests.conftest import ROOT


def rows(capsys, code: int = 0) -> dict[str, dict]:
    assert cli.main(["doctor", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] == (code == 0)
    return {row["name"]: row for row in document["rows"]}


@pytest.fixture
def pretend(monkeypatch):
    """Versions of distributions, as if they were installed so; None for one that is not."""

    def versions(**told: str | None) -> None:
        real = importlib.metadata.version

        def version(name: str) -> str:
            key = name.replace("-", "_")
            if key in told and told[key] is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return told.get(key) or real(name)

        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(
            importlib.metadata,
            "requires",
            lambda name: ["numpy>=2.0", "torch<2.14,>=2.13", 'wandb>=0.19; extra == "wandb"'],
        )

    return versions


def test_this_machine_works(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "not" / "yet"))
    found = rows(capsys)
    assert found["python"]["detail"].startswith(sys.version.split()[0])
    assert {row["status"] for row in found.values()} <= {"ok", "missing", "problem"}
    assert {"platform", "processor", "memory", "kernels", "plugins", "C++ compiler", "GPU", "vllm", "bubblewrap",
            "docker", "cache", "disk"} <= set(found)  # fmt: skip
    assert str(tmp_path) in found["cache"]["detail"] and not (tmp_path / "not").exists()
    assert all(row["advice"] for row in found.values() if row["status"] == "problem")


def test_the_table_is_for_people(capsys):
    assert cli.main(["doctor"]) in (0, 1)
    assert "python" in capsys.readouterr().out


def test_versions_outside_their_window_break_the_basics(pretend, capsys):
    pretend(r1_gym="0.1.0", numpy="1.26.4", torch=None, wandb=None, kernels="0.18.1")
    found = rows(capsys, code=1)
    assert (found["numpy"]["status"], found["numpy"]["detail"]) == ("problem", "1.26.4, not >=2.0")
    assert (found["torch"]["status"], found["torch"]["detail"]) == ("problem", "is not installed")
    assert "pip install 'torch" in found["torch"]["advice"]
    assert found["kernels"]["status"] == "problem" and "pip uninstall kernels" in found["kernels"]["advice"]


def test_a_missing_extra_breaks_nothing(pretend, capsys):
    pretend(r1_gym="0.1.0", numpy="2.3.5", torch="2.13.0", wandb=None)
    extra = rows(capsys)["extra wandb"]
    assert (extra["status"], extra["detail"]) == ("missing", "lacks wandb")
    assert "pip install 'r1-gym[wandb]'" in extra["advice"]


def test_a_checkout_that_is_not_installed_says_so(pretend, capsys):
    pretend(r1_gym=None)
    assert rows(capsys)["r1-gym"]["status"] == "missing"


def test_a_gpu_with_a_cpu_build_of_torch_is_a_problem(monkeypatch, pretend, capsys):
    pretend(r1_gym="0.1.0", numpy="2.3.5", torch="2.13.0+cpu", wandb=None)
    monkeypatch.setattr(doctor, "_first_line", lambda command: "H100, 80 GB")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    found = rows(capsys)
    assert "CPU build" in found["GPU"]["detail"] and found["bubblewrap"]["status"] == "ok"


def test_a_compiler_that_does_not_run_is_named(monkeypatch, capsys):
    monkeypatch.setenv("CXX", "/no/such/compiler")
    assert rows(capsys)["C++ compiler"]["detail"] == "CXX=/no/such/compiler does not run"


def test_a_cache_that_cannot_be_written_breaks_the_basics(monkeypatch, capsys, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("R1_CACHE", str(file))
    assert "set R1_CACHE" in rows(capsys, code=1)["cache"]["advice"]


def test_one_look_that_fails_hides_no_other(monkeypatch, capsys):
    def broken():
        raise RuntimeError("no such luck")

    monkeypatch.setattr(doctor, "_gpu", broken)
    found = rows(capsys)
    assert "RuntimeError: no such luck" in found["GPU"]["detail"] and found["disk"]["status"]


def doctored(tmp_path, **sources: str) -> dict[str, dict]:
    """The rows of a fresh process in which these plugins are installed."""
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[r1env.envs]\n{name} = {name}:register\n")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cli", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["ok"] else 1)
    return {row["name"]: row for row in document["rows"]}


def test_plugins_that_fail_and_plugins_that_collide(tmp_path):
    found = doctored(tmp_path, acmebroken="import no_such_package")
    assert "acmebroken" in found["plugin"]["detail"] and found["plugin"]["status"] == "problem"
    assert not found["plugin"]["basic"] and found["plugins"]["status"] == "ok"
    taken = "import r1env\ndef register():\n    r1env.register('r1env/Math-v0', 'acmetaken:Env')\n"
    found = doctored(tmp_path, acmetaken=taken)
    assert found["plugins"]["status"] == "problem" and found["plugins"]["basic"]
    assert "already registered" in found["plugins"]["detail"]
