"""GitHub's workflows: each may do no more than it must, and their steps run here as plain commands."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
JOBS = [(file, name, job) for file, workflow in WORKFLOWS.items() for name, job in workflow["jobs"].items()]
STEPS = [(file, step["run"]) for file, _, job in JOBS for step in job["steps"] if "run" in step]
WRITES = {("leaderboard-publish.yml", "publish"): {"pages": "write", "id-token": "write"}}
"""The only job that may write anything."""
INSTALLS = re.compile(r"pip install ((?:[\w-]+ ?)+)$")


@pytest.mark.parametrize(("file", "name", "job"), JOBS, ids=[f"{file}:{name}" for file, name, _ in JOBS])
def test_a_job_may_do_no_more_than_it_must(file: str, name: str, job: dict[str, Any]) -> None:
    workflow = WORKFLOWS[file]
    assert workflow.get("permissions") in ({}, {"contents": "read"}), (
        "a workflow may read, jobs may ask for more"
    )
    assert job.get("permissions", {"contents": "read"}) == WRITES.get((file, name), {"contents": "read"})
    assert job["timeout-minutes"] <= 60
    triggers = workflow[True]  # YAML takes `on` for a truth value
    assert "pull_request_target" not in triggers and "workflow_run" not in triggers
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]), "GitHub's own actions, at a version"
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
        assert "${{ github.event" not in step.get("run", ""), "what others wrote must not become a command"


def test_the_leaderboard_is_checked_on_pull_requests_and_published_from_main_only() -> None:
    check, publish = WORKFLOWS["leaderboard-check.yml"][True], WORKFLOWS["leaderboard-publish.yml"][True]
    assert set(check) == {"pull_request"} and "benchmarks/leaderboard/**" in check["pull_request"]["paths"]
    assert set(publish) == {"push", "workflow_dispatch"} and publish["push"]["branches"] == ["main"]
    jobs = WORKFLOWS["leaderboard-publish.yml"]["jobs"]
    assert jobs["publish"]["needs"] == "build"
    upload = jobs["build"]["steps"][-1]
    assert upload["with"]["path"] == "site" and any(
        "--out site" in step.get("run", "") for step in jobs["build"]["steps"]
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files as a workflow has them."""
    out = tmp_path_factory.mktemp("checkout")
    done = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, out / name)
    return out


def run(step: str, checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A step as GitHub runs it: bash, from the checkout, ending at the first error."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step],
        cwd=checkout,
        env={**os.environ, "PATH": path, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.parametrize(
    "step", sorted({step for file, step in STEPS if file.startswith("leaderboard") and "pip" not in step})
)
def test_the_leaderboards_steps_run(step: str, checkout: Path) -> None:
    done = run(step, checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--out site" not in step or (checkout / "site" / "index.html").stat().st_size > 10_000


def test_a_bad_result_fails_the_check_and_the_build(checkout: Path) -> None:
    bad = checkout / "benchmarks" / "leaderboard" / "results" / "bad.json"
    bad.write_text("{}")
    try:
        done = run("python -m benchmarks.cli leaderboard check", checkout)
        assert done.returncode == 1 and "bad.json: the document lacks 'schema'" in done.stdout
        done = run("python -m benchmarks.cli leaderboard build --out site-bad", checkout)
        assert done.returncode == 2 and "bad.json" in done.stderr and not (checkout / "site-bad").exists()
    finally:
        bad.unlink()


def test_what_the_leaderboards_steps_install_is_enough(checkout: Path) -> None:
    """Nothing is imported but what they name, and what that needs."""
    (named,) = {
        INSTALLS.search(step)[1].strip()
        for file, step in STEPS
        if file.startswith("leaderboard") and "pip" in step
    }
    allowed = closure(named.split())
    code = (
        "import sys; from benchmarks.cli import main\n"
        "code = main(['leaderboard', 'build', '--out', 'site'])\n"
        "roots = {m.partition('.')[0] for m in sys.modules if 'site-packages' in (getattr(sys.modules[m], '__file__', '') or '')}\n"
        "print(code, *sorted(roots))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    code_and_modules = done.stdout.splitlines()[-1].split()
    owners = importlib.metadata.packages_distributions()
    used = {plain(name) for module in code_and_modules[1:] for name in owners.get(module, [])}
    assert code_and_modules[0] == "0" and used - {"r1-gym", "setuptools"} <= allowed, used - allowed


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(names: list[str]) -> set[str]:
    """Distributions that come with these."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if plain(name) in found:
            continue
        found.add(plain(name))
        needs = [need for need in importlib.metadata.requires(name) or [] if "extra ==" not in need]
        names += [re.match(r"[\w.-]+", need)[0] for need in needs if "python_version <" not in need]
    return found


def test_the_tests_own_steps_are_what_contributors_run() -> None:
    """Their commands run in `make check` and `make test`; here only that they are the same ones."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    steps = [step for file, step in STEPS if file == "tests.yml" and "pip install" not in step]
    assert steps[-1] == "pytest" and "\tpytest\n" in makefile
    for command in steps[0].split(" && "):
        assert f"\t{command}\n" in makefile


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", sorted({step for file, step in STEPS if file == "tests.yml" and "pip install" not in step})
)
def test_the_tests_own_steps_run(step: str) -> None:
    """The linters as they are; the tests as far as collecting them, for they are what runs here."""
    done = run(step if step != "pytest" else "pytest --collect-only", ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
