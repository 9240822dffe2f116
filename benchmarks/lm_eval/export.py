"""Our benchmarks as tasks of lm-eval: a YAML file and a JSONL file each, which need neither network nor cache.

A task keeps R1's protocol wherever lm-eval lets it. What it would get wrong by itself, and the line that prevents it:

- without `until` lm-eval stops at the first blank line: `until` is there, and empty;
- without `do_sample` its cache of responses gives all k samples one text: it is written out;
- its default filter scores the first of k responses: `take_first_k` hands on all;
- examples may be put before any task that does not forbid it: `num_fewshot` is 0;
- the Arrow form of a data file is cached by the file's path and time: the data's hash is in its name.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks.lm_eval.rows import CONS, Row
from benchmarks.plan import Plan
from r1env.errors import ConfigError, RunError

PREFIX, TAG = "r1_", "r1_bench"
_FUNCTIONS = "benchmarks.lm_eval.grading"


def write(plan: Plan, directory: Path) -> str:
    """Writes a benchmark as a task of lm-eval, and returns the task's name.

    `lm-eval run --include_path DIRECTORY --tasks NAME` finds it; the tag `r1_bench` stands for all tasks of a directory.

    Args:
        plan: The benchmark's problems, samples a problem and sampling; lm-eval's `--gen_kwargs` may overrule the last.
        directory: Where the files are put.

    Raises:
        ConfigError: no rule grades the benchmark, or the directory's name reads as a pattern.
        RunError: the directory cannot be written.
    """
    benchmark = plan.benchmark
    if benchmark.kind != "rule":
        raise ConfigError(f"{benchmark.name} is graded by no rule; r1-bench eval runs it, lm-eval cannot")
    metrics = _metrics(plan)
    rows = [
        Row(benchmark=benchmark.name, problem=problem, grader=plan.spec, metrics=metrics)
        for problem in plan.problems
    ]
    lines = "".join(json.dumps(row.to_record(), ensure_ascii=False) + "\n" for row in rows).encode()
    name = task_name(benchmark.name)
    data = directory.resolve() / f"{name}-{hashlib.sha256(lines).hexdigest()[:12]}.jsonl"
    if set(str(data)) & set("*?[]"):
        raise ConfigError(f"{data.parent} cannot hold tasks: lm-eval takes * ? [ ] in a path for a pattern")
    text = _yaml(name, data, plan, metrics)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for former in directory.glob(f"{name}-{'?' * 12}.jsonl"):
            former.unlink()
        data.write_bytes(lines)
        (directory / f"{name}.yaml").write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write to {directory}: {error.strerror}; check the path") from error
    return name


def task_name(benchmark: str) -> str:
    """What a benchmark is called among lm-eval's tasks, e.g. `r1_math500`."""
    return PREFIX + "".join(c if c.isalnum() else "_" for c in benchmark.lower())


def _metrics(plan: Plan) -> tuple[str, ...]:
    """The format, and what the benchmark's own metrics name beside pass@1."""
    parts = ("tags", "language", *plan.spec.make().extra_parts)
    own = plan.benchmark.metrics
    return (*(CONS for name in own if name == "cons@k"), "format", *(name for name in own if name in parts))


def _yaml(name: str, data: Path, plan: Plan, metrics: tuple[str, ...]) -> str:
    sampling = plan.sampling
    better = {"pass_at_1": True, "pass_at_k": True, **dict.fromkeys(metrics, True)}
    better |= {"no_answer": False, "unscorable": False}
    entries: dict[str, Any] = {
        "task": name,
        "tag": [TAG],
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "num_fewshot": 0,
        "repeats": plan.k,
        "generation_kwargs": {
            "until": [],
            "do_sample": sampling.temperature > 0,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_gen_toks": sampling.max_new_tokens,
        },
        "filter_list": [{"name": "all", "filter": [{"function": "take_first_k", "k": plan.k}]}],
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": higher}
            for metric, higher in better.items()
        ],
        "metadata": {
            "version": plan.spec.make().grader_version,  # lm-eval's word for what makes results differ
            "grader": plan.spec.id,
            "source": plan.data.source,
            "revision": plan.data.revision,
            "sha256": plan.data.sha256,
            "verified": plan.data.verified,
        },
    }
    # JSON is YAML, but for the tag that names a function.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()]
    for function in ("doc_to_text", "doc_to_target", "process_results"):
        lines.append(f"{function}: !function {_FUNCTIONS}.{function}")
    return "\n".join(lines) + "\n"
