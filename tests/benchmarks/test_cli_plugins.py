"""`r1-bench plugins list` and `plugins new`: the package that it writes passes its own tests and the check."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import r1env
from benchmarks import cli, plugins
from tests.conftest import ROOT


def install(source: Path, target: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """By pip, without dependencies, into a directory."""
    command = ["-q", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    return subprocess.run(
        [sys.executable, "-m", "pip", "install", *command], env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A new package, installed, and the environment variables by which it is found."""
    here = tmp_path_factory.mktemp("plugins")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = run(environment, here, "benchmarks.cli", "plugins", "new", "acme-word-riddles", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["id"]) == (0, "acme/WordRiddles-v0"), done.stderr
    directory = Path(document["directory"])
    assert sorted(document["files"]) == sorted(
        str(directory / place)
        for place in ("README.md", "pyproject.toml", "src/acme_word_riddles/__init__.py", "tests/test_env.py")
    )
    done = install(here / directory, here / "site", environment)
    assert done.returncode == 0, done.stderr
    return here / directory, {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), str(here / "site")])}


def run(environment: dict[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_its_own_tests_pass(begun):
    directory, environment = begun
    done = run(environment, directory, "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0 and re.search(r"\b6 passed", done.stdout), done.stdout + done.stderr


def test_it_passes_the_check_and_is_listed(begun):
    directory, environment = begun
    done = run(
        environment, directory, "benchmarks.cli", "plugins", "check", "acme/WordRiddles-v0", "--seeds", "12"
    )
    assert done.returncode == 0 and "all checks passed" in done.stdout, done.stdout + done.stderr
    done = run(environment, directory, "benchmarks.cli", "plugins", "list", "--json")
    (one,) = [e for e in json.loads(done.stdout)["environments"] if e["id"] == "acme/WordRiddles-v0"]
    assert (one["distribution"], one["levels"], one["error"]) == ("acme-word-riddles", ["short", "long"], None)
    assert one["class"] == "acme_word_riddles:WordRiddlesEnv" and one["what"].startswith("Counting letters")


def test_it_reads_well(begun):
    directory, _ = begun
    code = (directory / "src/acme_word_riddles/__init__.py").read_text()
    assert len(code.splitlines()) < 45
    for path in directory.rglob("*"):
        assert path.is_dir() or "$" not in path.read_text()
    style = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--select",
            "E,F,W,I,UP,B",
            "--line-length",
            "112",
            ".",
        ],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    assert style.returncode == 0, style.stdout


def test_nothing_is_overwritten(begun, capsys):
    directory, _ = begun
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert cli.main(["plugins", "new", directory.name, "--dir", str(directory.parent)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_it_says_what_comes_next(tmp_path, capsys):
    assert cli.main(["plugins", "new", "riddles", "--dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "pip install -e ." in out and "r1-bench plugins check riddles/Riddles-v0" in out


@pytest.mark.parametrize(
    "name", ["Acme", "acme_riddles", "acme--x", "-x", "../x", "a b", "9x", "", "json", "class"]
)
def test_names_that_do_not_fit_are_refused(name, tmp_path, capsys):
    assert cli.main(["plugins", "new", "--dir", str(tmp_path), "--", name]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_directory_that_cannot_be_written_is_named(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert cli.main(["plugins", "new", "acme-riddles", "--dir", str(file)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_ours_are_listed(capsys):
    assert cli.main(["plugins", "list", "--json"]) == 0
    found = {one["id"]: one for one in json.loads(capsys.readouterr().out)["environments"]}
    assert list(found) == r1env.registered_ids()
    for id in (id for id in found if id.startswith("r1env/")):
        assert found[id]["distribution"] == "r1-gym" and found[id]["error"] is None
        assert found[id]["levels"] == list(r1env.make(id).levels) and found[id]["what"]
    assert cli.main(["plugins", "list"]) == 0
    assert "r1env/Math-v0" in capsys.readouterr().out


def test_an_environment_whose_module_is_missing_is_listed_with_its_error():
    import gymnasium

    gymnasium.register(id="lost/Lost-v0", entry_point="no_such_module:LostEnv")
    try:
        assert "No module named" in plugins.describe("lost/Lost-v0")["error"]
    finally:
        del gymnasium.registry["lost/Lost-v0"]
