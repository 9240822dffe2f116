"""What a run of reinforcement learning measures of its policy: held-out tasks, levels, probes; before, during and after."""

from __future__ import annotations

from typing import Any

from agents import progress
from agents.config.parts import Trained
from agents.evaluate import Evaluator, held_out
from r1env import ReasoningEnv, stats


class Measurement:
    """The same tasks and the same sampling seeds each time, so that what changes is the policy."""

    def __init__(self, cfg: Trained, env: ReasoningEnv, evaluator: Evaluator) -> None:
        self._cfg, self._evaluator = cfg.eval, evaluator
        self._tasks = held_out(env, cfg.eval.n)
        generated = env.num_tasks("test") is None
        levels = cfg.env.eval_levels if generated else []
        self._levels = {level: held_out(env, cfg.eval.n_level, level=level) for level in levels}
        self._questions = cfg.env.probes
        self._probes = [env.ask(p["prompt"], p["answer"]) for p in cfg.env.probes]

    def full(self, when: str) -> dict[str, Any]:
        """`{held_out, by_level: {level: …}, probes: […]}`; says the headline on screen."""
        total = len(self._tasks) + sum(map(len, self._levels.values()))
        with progress.phase(f"evaluation {when}", total) as advance:
            found: dict[str, Any] = {
                "held_out": self._evaluator.run(self._tasks, self._cfg.k, advance),
                "by_level": {
                    level: self.brief(self._evaluator.run(tasks, self._cfg.k_level, advance))
                    for level, tasks in self._levels.items()
                },
                "probes": self._evaluator.greedy(self._probes),
            }
        progress.say(progress.metrics_line(when, found["held_out"]))
        return found

    def during(self) -> dict[str, Any]:
        """A small evaluation between steps, without the counts by task."""
        return self.brief(self.small())

    def small(self) -> dict[str, Any]:
        """One on the first of the held-out tasks."""
        return self._evaluator.run(self._tasks[: self._cfg.n_during], self._cfg.k_during)

    def start(self, before: dict[str, Any]) -> dict[str, Any]:
        """Where a curve of evaluations begins: one like those that follow, or of `full` where none do."""
        return self.during() if self._cfg.every else self.brief(before["held_out"])

    @staticmethod
    def brief(metrics: dict[str, Any]) -> dict[str, Any]:
        """Without the counts by task."""
        return {k: v for k, v in metrics.items() if k != "pass_by_task"}

    def metrics(self, before: dict[str, Any], after: dict[str, Any], *, note: str) -> dict[str, Any]:
        """What the manifest reports, from `full` before and after."""
        first, last = before["held_out"], after["held_out"]
        earlier, later = first["pass_by_task"], last["pass_by_task"]
        ids = [i for i in earlier if earlier[i] is not None and later[i] is not None]  # unscorable is not wrong
        change = stats.paired_diff_ci95([earlier[i] for i in ids], [later[i] for i in ids]) if ids else None
        probes = zip(self._questions, before["probes"], after["probes"], strict=True)
        return {
            "before": first,
            "after": last,
            "change": change.mean if change else None,
            "change_ci95": [change.low, change.high] if change else None,
            "by_level": {
                level: {"before": before["by_level"][level], "after": after["by_level"][level]}
                for level in self._levels
            },
            "probe": [
                {"prompt": p["prompt"], "remark": p.get("remark"), "before": b, "after": a}
                for p, b, a in probes
            ],
            "note": note,
        }
