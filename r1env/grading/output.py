"""The answer in a whole output of a model, in whatever form it came."""

from __future__ import annotations

from r1env.grading.extract import final_answer
from r1env.prompts import parse


def stated_answer(output: str) -> str | None:
    """The final answer that an output states after its reasoning, tags or none; None where it states none.

    An output that was cut within its reasoning states nothing.
    """
    parsed = parse(output)
    return None if parsed.truncated else final_answer(parsed, preset="r1_zero", lenient=True)
