"""A reward with a hole trips the alarm, the same run without it does not. `pytest -m slow -n 0 -s`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def trained(command, tmp_path, weight: float) -> tuple[dict, list[dict]]:
    """Metrics and rows of a run whose part `brief` weighs so much."""
    done = command(
        "agents.grpo",
        "env=math",
        "env.id=gamed_envs:gamed/Math-v0",
        f"+env.reward.weights.brief={weight}",
        "agent.steps=60",
        "env.eval_levels=[]",
        *("eval.n=200", "eval.k=4", "eval.every=10"),
        timeout=1800,
        PYTHONPATH=os.pathsep.join((str(HERE.parents[1]), str(HERE))),
        R1_CACHE=str(tmp_path / "cache"),
        OMP_NUM_THREADS="2",
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / done.stdout.splitlines()[-1]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    metrics = json.loads((run / "manifest.json").read_text())["metrics"]
    rewards = [row["reward"] for row in rows if "reward" in row]
    print(
        f"\nbrief weighs {weight}: pass@1 {metrics['before']['pass_at_1']:.3f} -> {metrics['after']['pass_at_1']:.3f}, "
        f"reward {rewards[0]:.2f} -> {rewards[-1]:.2f}, alarm {metrics['alarm']}"
    )
    return metrics, rows


@pytest.mark.slow
def test_a_part_that_can_be_gamed_trips_the_alarm_and_without_it_nothing_does(command, tmp_path):
    gamed, rows = trained(command, tmp_path, 1.5)
    clean, clean_rows = trained(command, tmp_path, 0.0)
    assert gamed["alarm"] and gamed["after"]["pass_at_1"] < gamed["before"]["pass_at_1"]
    assert any("alarm" in row for row in rows)
    assert clean["alarm"] is None and clean["after"]["pass_at_1"] > clean["before"]["pass_at_1"] + 0.2
    assert not any("alarm" in row for row in clean_rows)
