"""A third party's package, installed by pip, trains by its id alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SMALL


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """CONTRIBUTING's example, word for word, as a package of its own, installed into a directory."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = [b for b in re.findall(r"```python\n(.*?)```", text, flags=re.S) if "acme_parity.py" in b]
    (entry,) = [b for b in re.findall(r"```toml\n(.*?)```", text, flags=re.S) if "r1env.envs" in b]
    source = tmp_path_factory.mktemp("acme")
    (source / "acme_parity.py").write_text(code)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "acme-parity"\nversion = "1.0"\n'
        '[tool.hatch.build.targets.wheel]\nonly-include = ["acme_parity.py"]\n' + entry
    )
    target = tmp_path_factory.mktemp("site")
    command = [
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(target),
        str(source),
    ]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def python(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(installed)])
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path, "R1_CACHE": str(cwd / "cache")},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_it_trains(installed, tmp_path):
    done = python(
        installed,
        tmp_path,
        *("-m", "agents.grpo", "env=gym", "env.id=acme/Parity-v0", f"run.dir={tmp_path / 'run'}"),
        *(o for o in SMALL if "level" not in o),
        *("env.eval_levels=[]", "env.probes=[]", "model.warmup=['agent.steps=30','agent.batch=16']"),
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 12 and set(rows[-1]["parts"]) == {"accuracy", "format", "tags", "language"}
    rollout = json.loads((tmp_path / "run" / "rollouts.jsonl").read_text().splitlines()[0])
    assert rollout["prompt"].startswith("Is the number of ones in")


def test_it_passes_gymnasiums_checker(installed, tmp_path):
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import r1env\n"
        "from gymnasium.utils.env_checker import check_env\n"
        "env = r1env.make('acme/Parity-v0')\n"
        "check_env(env, skip_render_check=True)\n"
        "task = env.task(index=3)\n"
        "print(env.grade(task, env.oracle(task)).verdict)\n"
    )
    done = python(installed, tmp_path, "-c", code)
    assert done.returncode == 0 and done.stdout.strip() == "correct", done.stderr


def test_a_broken_plugin_breaks_nothing_else(installed, tmp_path):
    broken = tmp_path / "broken"
    (broken / "broken_plugin-1.0.dist-info").mkdir(parents=True)
    (broken / "broken_plugin-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n"
    )
    (broken / "broken_plugin-1.0.dist-info" / "entry_points.txt").write_text(
        "[r1env.envs]\nx = no_such_module:register\n"
    )
    code = f"import sys; sys.path.append({str(broken)!r}); import r1env; print('r1env/Math-v0' in r1env.registered_ids())"
    done = python(installed, tmp_path, "-c", code)
    assert done.stdout.strip() == "True", done.stderr
    assert "broken-plugin" in done.stderr
