"""A wheel, installed into a fresh environment and used from another directory, does what the checkout does."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = out.glob("r1_gym-*.whl")
    return file


def test_the_wheel_holds_packages_yaml_and_templates_but_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for expected in (
        "conf/grpo.yaml",
        "conf/env/math.yaml",
        "agents/report.css",
        "r1env/page/page.html",
        "benchmarks/leaderboard/boards.json",
        "benchmarks/leaderboard/reported.csv",
        "r1env/envs/math.py",
        "benchmarks/skeleton/env.py.in",
    ):
        assert expected in names
    assert not [n for n in names if n.startswith(("tests/", "docs/", ".ci/"))]
    (entry_points,) = [n for n in names if n.endswith("/entry_points.txt")]
    assert "r1-bench = benchmarks.cli:main" in zipfile.ZipFile(wheel).read(entry_points).decode()


def test_the_wheel_works_from_another_directory(wheel, tmp_path):
    """A fresh environment that borrows only the third-party packages of this one."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*")) / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    borrowed = [p for p in sys.path if p.endswith("site-packages")]
    # after our own site-packages, and without running their .pth files (one may point at the checkout)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "R1_"))}
    code = "import sys; sys.path += {paths!r}; sys.argv = {argv!r}; import runpy; runpy.run_module({module!r}, run_name='__main__')"

    def run(module: str, *argv: str) -> subprocess.CompletedProcess[str]:
        text = code.format(paths=borrowed, argv=[module, *argv], module=module)
        return subprocess.run(
            [str(python), "-c", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    done = run("agents.grpo", "--cfg", "job", "seed=3")
    assert done.returncode == 0 and "id: r1env/Math-v0" in done.stdout, done.stderr
    done = run("benchmarks.cli", "plugins", "new", "acme-riddles")
    assert done.returncode == 0 and (tmp_path / "acme-riddles/pyproject.toml").exists(), done.stderr
    where = f"import sys; sys.path += {borrowed!r}; import r1env, conf, agents.report as r; print(r1env.__file__, conf.__file__, r.__file__); print(r1env.registered_ids())"
    done = subprocess.run(
        [str(python), "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    paths, ids = done.stdout.strip().splitlines()
    assert all(p.startswith(str(site)) for p in paths.split())
    assert "r1env/Math-v0" in ids  # found by its entry point, or by itself: either way it is there
