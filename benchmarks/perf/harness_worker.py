"""One side of `benchmarks.perf harness`: evaluates an instant model on GSM8K once, and reports time and accuracy."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.perf.harness import SAMPLES
from benchmarks.types import Ask, Said, SampleError
from r1env.errors import ConfigError

_YAML = """\
task: gsm8k_instant
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer.split('####')[-1].strip()}}}}"
num_fewshot: 0
repeats: {samples}
generation_kwargs: {{until: [], do_sample: true, temperature: 0.6, max_gen_toks: 32768}}
filter_list:
  - name: last-number
    filter:
      - {{function: regex, regex_pattern: "(-?[0-9][0-9,]*)", group_select: -1}}
      - {{function: take_first}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true, regexes_to_ignore: [","]}}
metadata: {{version: 1.0}}
"""


def main(side: str, here: str, out: str, report: str) -> None:
    """Evaluates, and writes the report as JSON."""
    responses = _responses(Path(here) / "gsm8k.jsonl")
    run = _ours if side == "ours" else _lm_eval
    seconds, accuracy = run(responses, Path(here), Path(out))
    Path(report).write_text(json.dumps({"seconds": seconds, "accuracy": accuracy}))


def _responses(data: Path) -> dict[str, list[str]]:
    """Question → a right response and a wrong one, with the dataset's own working as reasoning."""
    found = {}
    for line in data.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        working, _, gold = row["answer"].rpartition("####")
        gold = gold.strip().replace(",", "")
        found[row["question"].strip()] = [
            f"<think>\n{working.strip()}\n</think>\nThe answer is \\boxed{{{answer}}}."
            for answer in (gold, int(gold) + 1)
        ]
    return found


class Instant:
    """A model that has its answers ready: right for even samples, wrong for odd ones."""

    name = "instant"

    def __init__(self, responses: Mapping[str, list[str]]) -> None:
        self.failed: list[tuple[Ask, SampleError]] = []
        self._responses = responses

    def describe(self) -> dict[str, Any]:
        """Its name."""
        return {"engine": self.name}

    def generate(self, asks: Iterable[Ask]) -> Iterator[Said]:
        """One after the other."""
        for ask in asks:
            question = ask.messages[-1]["content"].rpartition("\n")[0]  # type: ignore[index]
            text = self._responses[question][ask.sample % 2]
            yield Said(
                ask=ask, text=text, finish_reason="stop", tokens=len(text) // 4, prompt_tokens=1, seconds=0.0
            )

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """It has none."""
        raise ConfigError("the instant model has no log-likelihoods")

    def close(self) -> None:
        """Nothing is held."""


def _ours(responses: Mapping[str, list[str]], here: Path, out: Path) -> tuple[float, float]:
    from benchmarks import plan, tasks
    from benchmarks.evaluate import evaluate, identity

    wish = plan.Wish(tasks=("gsm8k",), samples=SAMPLES, data_dir=str(here), allow_changed=True)
    started = time.perf_counter()
    plans = plan.make(tasks.find(wish.tasks), wish)
    run = {**identity(plans, {"name": "instant"}, "instant", "auto"), "notes": {"wish": wish.plain()}}
    document = evaluate(plans, out, run, lambda: Instant(responses))
    return time.perf_counter() - started, document["tasks"]["gsm8k"]["pass_at_1"]


def _lm_eval(responses: Mapping[str, list[str]], here: Path, out: Path) -> tuple[float, float]:
    import lm_eval
    import lm_eval.evaluator  # with torch and transformers; `import lm_eval` alone puts it off into the measured time
    import scipy.stats  # noqa: F401
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class InstantLM(LM):  # type: ignore[misc]
        def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
            said: dict[str, int] = {}
            found = []
            for request in requests:
                question = request.args[0].removeprefix("Question: ").removesuffix("\nAnswer:").strip()
                sample = said[question] = said.get(question, -1) + 1
                found.append(responses[question][sample % 2])
            return found

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise NotImplementedError

    out.mkdir()
    (out / "gsm8k_instant.yaml").write_text(_YAML.format(data=here / "gsm8k.jsonl", samples=SAMPLES))
    started = time.perf_counter()
    manager = TaskManager(include_path=str(out), include_defaults=False)
    found = lm_eval.simple_evaluate(
        model=InstantLM(), tasks=["gsm8k_instant"], task_manager=manager, verbosity="ERROR"
    )
    return time.perf_counter() - started, found["results"]["gsm8k_instant"]["exact_match,last-number"]


if __name__ == "__main__":
    main(*sys.argv[1:])
