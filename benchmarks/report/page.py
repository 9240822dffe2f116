"""The page of an evaluation: one self-contained HTML file.

`collect` thins what the evaluation holds to what a browser shows with ease; `r1env.page` makes the page of it, with
`page.css` and the scripts beside this file. Figures, histograms and heat maps are over all samples, whatever the
sample viewer has room for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import figures
from benchmarks.report.evaluation import Evaluation, Sample
from benchmarks.report.lengths import histogram
from benchmarks.report.made import made
from benchmarks.report.terminal import remarks
from r1env.page import MAX_CHARACTERS, MAX_TEXT, shortened
from r1env.page import render as render_page

MAX_SAMPLES = 2000
"""Most samples in the viewer."""

_TOLD_APART = ("verdict", "extracted", "parts", "detail", "seconds", "grader")


def render(evaluation: Evaluation) -> str:
    """The page as HTML text."""
    data = collect(evaluation)
    here = Path(__file__).parent
    scripts = [here / name for name in ("page_charts.js", "page_samples.js", "page.js")]
    title = f"{data['made']['model'] or data['name']} · evaluation"
    return render_page(title, data, style=here / "page.css", scripts=scripts)


def collect(evaluation: Evaluation) -> dict[str, Any]:
    """Everything the page shows, as plain JSON values.

    Returns:
        `name`, `finished`, `made` (`benchmarks.report.made`), `benchmarks` (a list: the summary's entry of each with
        `name`, `lengths`, `problems` and whether the data is `verified`), `samples` (those in the viewer, with their
        grades), `prompts` (by benchmark and problem id), and `remarks`: sentences by section.
    """
    by_benchmark: dict[str, list[Sample]] = defaultdict(list)
    for sample in evaluation.samples:
        by_benchmark[sample.key[0]].append(sample)
    chosen = _chosen(by_benchmark)
    samples, cut = _shown(evaluation, chosen)
    told = remarks(evaluation.tasks)
    viewer = []
    if len(chosen) < len(evaluation.samples):
        viewer.append(
            f"Of {len(evaluation.samples):,} samples {len(chosen):,} are here: of each problem first one of each "
            "verdict, then others. samples.jsonl beside this page has all of them."
        )
    if cut:
        viewer.append(f"The middle of texts over {MAX_TEXT:,} characters is left out.")
    return {
        "name": evaluation.directory.resolve().name,
        "finished": bool(evaluation.manifest),
        "made": made(evaluation),
        "benchmarks": [
            _benchmark(evaluation, name, entry, by_benchmark[name]) for name, entry in evaluation.tasks.items()
        ],
        "samples": samples,
        "prompts": _prompts(evaluation, chosen),
        "remarks": {"figures": told, "samples": viewer},
    }


def _benchmark(
    evaluation: Evaluation, name: str, entry: Mapping[str, Any], samples: Sequence[Sample]
) -> dict[str, Any]:
    shares = entry.get("by_problem") or {}
    asked = evaluation.problems.get(name, {})
    ids = [*asked, *(problem for problem in shares if problem not in asked)]
    shown = {key: value for key, value in entry.items() if key != "by_problem"}
    return {
        **shown,
        "name": name,
        "is_share": figures.is_share(entry),
        "verified": figures.verified(entry),
        "data_note": figures.data_note(entry),
        "protocol_note": figures.protocol_note(entry),
        "lengths": histogram(samples),
        "problems": [[id, str(asked.get(id, {}).get("name", id)), shares.get(id)] for id in ids],
    }


def _chosen(by_benchmark: Mapping[str, Sequence[Sample]]) -> list[Sample]:
    """The samples of the viewer: an equal share for each benchmark, and what a small one leaves to the others."""
    room, characters = MAX_SAMPLES, MAX_CHARACTERS
    chosen: list[Sample] = []
    smallest_first = sorted(by_benchmark.values(), key=len)
    for left, samples in zip(range(len(smallest_first), 0, -1), smallest_first):
        most, budget = room // left, characters // left
        for sample in _telling_first(samples)[:most]:
            size = min(sample.size, 2 * MAX_TEXT)
            if size > budget:
                break
            chosen.append(sample)
            room, characters, budget = room - 1, characters - size, budget - size
    order = {sample.key: i for i, sample in enumerate(s for samples in by_benchmark.values() for s in samples)}
    return sorted(chosen, key=lambda sample: order[sample.key])


def _telling_first(samples: Sequence[Sample]) -> list[Sample]:
    """One sample of each verdict of every problem, then the others, problems taking turns."""
    seen: set[tuple[str, str | None]] = set()
    turns: dict[str, int] = defaultdict(int)
    ranked = []
    for sample in sorted(samples, key=lambda s: s.key[2]):
        problem = sample.key[1]
        new = (problem, sample.verdict) not in seen
        seen.add((problem, sample.verdict))
        turns[problem] += not new
        ranked.append((0 if new else turns[problem], sample))
    return [sample for _, sample in sorted(ranked, key=lambda pair: pair[0])]


def _shown(evaluation: Evaluation, chosen: Sequence[Sample]) -> tuple[list[dict[str, Any]], bool]:
    """What the viewer holds of each sample, and whether a text had to be cut."""
    shown, cut = [], False
    for _sample, row, grade in evaluation.texts(chosen):
        text = shortened(row.get("text"))
        cut = cut or text != row.get("text")
        keys = ("benchmark", "problem", "sample", "seed", "finish_reason", "tokens", "prompt_tokens", "seconds")
        shown.append(
            {
                **{key: row.get(key) for key in keys},
                "text": text,
                "engine": row.get("detail") or {},
                "grade": {key: shortened(grade.get(key)) for key in _TOLD_APART if key in grade},
            }
        )
    return shown, cut


def _prompts(evaluation: Evaluation, chosen: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    prompts: dict[str, dict[str, Any]] = defaultdict(dict)
    for benchmark, problem, _ in (sample.key for sample in chosen):
        asked = evaluation.problems.get(benchmark, {}).get(problem, {})
        prompts[benchmark][problem] = shortened(asked.get("messages"))
    return dict(prompts)
