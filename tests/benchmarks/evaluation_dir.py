"""Makes the directory of an evaluation as `r1-bench eval` leaves it, with made-up responses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from pathlib import Path
from typing import Any

from r1env import records
from r1env.stats import pass_at_k, share_ci95, standard_error
from tests.pages import NASTY

R1_PROTOCOL = {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32_768}
GRADER = "r1env/Math-v0 3"


@dataclasses.dataclass(kw_only=True)
class Made:
    """What to make of one benchmark."""

    name: str
    n: int = 12
    k: int = 4
    strength: float = 0.5
    """Mean share of right answers."""
    metric: str = "pass@1"
    data: dict[str, Any] = dataclasses.field(
        default_factory=lambda: {
            "source": "example/problems",
            "revision": "0123456789abcdef0123456789abcdef01234567",
            "sha256": hashlib.sha256(b"problems").hexdigest(),
            "verified": True,
        }
    )
    protocol: dict[str, Any] = dataclasses.field(default_factory=lambda: dict(R1_PROTOCOL))
    grader: str = GRADER
    nasty: bool = False
    """Whether hostile text stands wherever text can."""


def write_evaluation(
    directory: Path, *benchmarks: Made, seed: int = 0, finished: bool = True, model: str = "acme/r1-tiny"
) -> Path:
    """Writes all files of an evaluation but the reports, and returns its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    problems, samples, grades, tasks = [], [], [], {}
    for made in benchmarks or (Made(name="aime24"),):
        rng = random.Random(f"{seed} {made.name}")
        rows = [_problem(made, i) for i in range(made.n)]
        problems += rows
        drawn = [pair for i, row in enumerate(rows) for pair in _drawn(made, row, i, rng)]
        samples += [sample for sample, _ in drawn]
        grades += [grade for _, grade in drawn]
        tasks[made.name] = task_entry(made, drawn)
    _lines(directory / "problems.jsonl", problems)
    _lines(directory / "samples.jsonl", samples)
    _lines(directory / "grades.jsonl", grades)
    engine = {
        "engine": "transformers",
        "model_type": "llama",
        "dtype": "float32",
        "versions": {},
        "hardware": {},
    }
    run = {
        "model": hashlib.sha256(model.encode()).hexdigest(),
        "engine": "transformers",
        "dtype": "auto",
        "seed": seed,
        "benchmarks": {},
        "notes": {"model": model, "engines": [engine]},
    }
    records.write_json_atomic(directory / "run.json", run)
    summary = {"tasks": tasks, "timing": {"seconds": 321.5}, "manifest": "manifest.json", "resumed": 0}
    records.write_json_atomic(directory / "summary.json", summary)
    if finished:
        names = ("problems.jsonl", "samples.jsonl", "grades.jsonl", "summary.json")
        made_with = {
            "config_sha256": hashlib.sha256(b"config").hexdigest(),
            "seed": seed,
            "metrics": {
                name: {key: entry[key] for key in ("metric", "value", "k", "n")}
                for name, entry in tasks.items()
            },
            "model": model,
            "engine": engine,
            "outputs": {name: records.sha256_file(directory / name) for name in names},
            "git_commit": "0123456789abcdef0123456789abcdef01234567",
            "versions": {"python": "3.11.7", "torch": "2.13.0"},
            "hardware": {
                "system": "Linux x86_64",
                "processor": "Some CPU",
                "cores": 2,
                "memory_bytes": 8_000_000_000,
            },
            "created": "2026-01-02T03:04:05+00:00",
            "command": ["r1-bench", "eval", "--model", model, "--tasks", ",".join(tasks), "--out", "out dir"],
        }
        records.write_json_atomic(directory / "manifest.json", made_with)
    return directory


def task_entry(made: Made, drawn: list[tuple[dict, dict]]) -> dict[str, Any]:
    """The summary's entry of a benchmark."""
    by_problem: dict[str, list[bool]] = {}
    for sample, grade in drawn:
        if grade["verdict"] != "unscorable":
            by_problem.setdefault(sample["problem"], []).append(grade["verdict"] == "correct")
    shares = {problem: sum(right) / len(right) for problem, right in sorted(by_problem.items())}
    value, low, high = share_ci95(list(shares.values()), samples=made.k)
    ks = sorted({1, *(2**i for i in range(10) if 2**i <= made.k), made.k})
    full = [right for right in by_problem.values() if len(right) == made.k]
    share_of = lambda verdict: sum(grade["verdict"] == verdict for _, grade in drawn) / len(drawn)
    return {
        "pass_at_1": value,
        "pass_at_1_ci95": [low, high],
        "pass_at_1_se": standard_error(list(shares.values())),
        "k": made.k,
        "n": made.n,
        "pass_at_k": {str(k): pass_at_k([made.k] * len(full), [sum(right) for right in full], k) for k in ks},
        "cons_at_k": sum(share > 0.5 for share in shares.values()) / len(shares),
        "cons_ties": 1,
        "mean_tokens": sum(sample["tokens"] for sample, _ in drawn) / len(drawn),
        "truncated": sum(sample["finish_reason"] == "length" for sample, _ in drawn) / len(drawn),
        "no_answer": share_of("no_answer"),
        "unscorable": share_of("unscorable"),
        "language": None,
        "parts": {"accuracy": value, "format": 0.9},
        "metric": made.metric,
        "value": value,
        "value_ci95": [low, high],
        "data": made.data,
        "protocol": {
            **made.protocol,
            "prompt": "chat",
            "instruction": "Please reason step by step.",
            "k": made.k,
        },
        "by_level": {
            "easy": {"pass_at_1": value, "n": made.n // 2},
            "hard": {"pass_at_1": 0.25, "n": made.n // 2},
        },
        "by_problem": shares,
        "kind": "rule",
    }


def problem_id(benchmark: str, index: int) -> str:
    return hashlib.sha256(f"{benchmark} {index}".encode()).hexdigest()[:16]


def _problem(made: Made, index: int) -> dict[str, Any]:
    text = NASTY[index % len(NASTY)] if made.nasty else ""
    return {
        "problem": problem_id(made.name, index),
        "benchmark": made.name,
        "name": f"{made.name}-{index} {text[:30]}".strip(),
        "messages": [{"role": "user", "content": f"How much is {index} + {index}? {text}"}],
        "meta": {},
    }


def _drawn(made: Made, problem: dict, index: int, rng: random.Random) -> list[tuple[dict, dict]]:
    """The samples of a problem with their grades; every eighth is of another kind than right or wrong."""
    chance = min(1.0, max(0.0, rng.gauss(made.strength, 0.3)))
    found = []
    for sample in range(made.k):
        right, place = rng.random() < chance, index * made.k + sample
        verdict = "correct" if right else "wrong"
        cut = not right and place % 8 == 3
        verdict = "no_answer" if cut else verdict
        if made.nasty and place == 5:
            verdict = "unscorable"
        answer = 2 * index + (not right)
        text = NASTY[place % len(NASTY)] if made.nasty else ""
        thought = f"<think>{index} plus {index} is {answer}. {text} " + "Wait. " * rng.randrange(60)
        key = {"benchmark": made.name, "problem": problem["problem"], "sample": sample}
        said = {
            **key,
            "seed": 1000 * index + sample,
            "text": thought if cut else f"{thought}</think>So it is \\boxed{{{answer}}}. {text}",
            "finish_reason": "length" if cut else "stop",
            "tokens": made.protocol["max_new_tokens"] if cut else 20 + len(thought) // 4,
            "prompt_tokens": 17,
            "seconds": 1.25,
            "detail": {"model": "r1-tiny", "retries": 0},
        }
        graded = {
            **key,
            "grader": made.grader,
            "verdict": verdict,
            "parts": {"accuracy": float(right), "format": 1.0},
            "extracted": None if verdict == "no_answer" else str(answer),
            "detail": f"compared as integers {text}",
            "seconds": 0.0004,
        }
        found.append((said, graded))
    return found


def _lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
