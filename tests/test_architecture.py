"""The map of the project holds: who imports whom, what loads lazily, how long a file may be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("r1env", "agents", "model", "kernels", "benchmarks", "conf")
TOP_LEVEL = {
    *PACKAGES, "tests", "docs", "pyproject.toml", "README.md", "LICENSE", "CONTRIBUTING.md",
    "CHANGELOG.md", "Makefile", ".github", ".ci", ".gitignore", ".pre-commit-config.yaml",
}  # fmt: skip
HEAVY = ("torch", "transformers", "vllm", "sympy", "math_verify", "datasets", "pandas", "wandb")


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [Path(line) for line in done.stdout.splitlines()]


def test_import_arrows():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_r1env_never_mentions_torch():
    for file in (ROOT / "r1env").rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            assert not line.strip().startswith(("import torch", "from torch", "import transformers")), file


@pytest.mark.parametrize("package", ["r1env", "agents", "model", "benchmarks", "conf"])
def test_packages_import_without_heavy_ones(package):
    code = f"import {package}, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["eval", "--help"], ["list"], ["plugins", "list"], ["doctor"]]
)
def test_r1_bench_loads_nothing_heavy(arguments):
    code = (
        "import sys; from benchmarks.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stdout + done.stderr


def test_top_level_is_fixed():
    assert {file.parts[0] for file in tracked()} <= TOP_LEVEL


def test_no_file_is_longer_than_600_lines():
    suffixes = {".py", ".cpp", ".html", ".js", ".css", ".yaml"}
    long = {
        str(file): count
        for file in tracked()
        if file.suffix in suffixes
        and (count := len((ROOT / file).read_text(encoding="utf-8").splitlines())) > 600
    }
    assert not long


def test_the_distribution_cannot_be_taken_for_hugging_faces_kernels():
    text = (ROOT / "pyproject.toml").read_text()
    assert 'name = "r1-gym"' in text and "transformers[kernels]" not in text
