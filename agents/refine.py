"""From a right answer to a readable one, by rules: the third way of making cold-start data (arXiv 2501.12948 v1 § 2.3.1).

What is done to the reasoning: stray tags go, lines said twice on end become one, blank lines are thinned out, and lines
in another language than the rest are left out unless they are more than a third of it. What follows the reasoning stays if it has the
form that the environment rewards, else the answer is put into that form (`ReasoningEnv.respond`): under preset r1 that
is a summary with the answer in its box. Rewriting may break an answer, so that it is graded again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agents.answers import Answer, Asked
from r1env import ReasoningEnv, prompts
from r1env.env import continued
from r1env.errors import DataError
from r1env.grading import scripts
from r1env.grading.language import consistency, identify, sentences
from r1env.records import read_jsonl
from r1env.types import Task

if TYPE_CHECKING:
    from pathlib import Path

    from agents.generate import Places
    from r1env import GradingPool

MIN_LINE_WORDS = 4
"""Lines with fewer words are in no language, and are no repetition either."""
FOREIGN = 0.5
"""A line with a smaller share of its words in the text's language is foreign."""
MOST_LEFT_OUT = 1 / 3
"""Where more words than this share are foreign, nothing is left out: the text is mixed, and the filter says so."""
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n){2,}")


def readable(
    text: str,
    *,
    answer: str,
    respond: Callable[[str, str], str],
    well_formed: bool,
    language: str | None,
    force_think: bool,
) -> str:
    """A right answer in the readable form; the same text where it has it already.

    Args:
        text: As it was sampled.
        answer: The final answer that was read from it.
        respond: A whole response of reasoning and answer, in the environment's form.
        well_formed: Whether the text has that form.
        language: The language asked for (ISO 639-1); None for the commonest of the reasoning's.
        force_think: Whether the prompt ends with the opening tag, so that the response must not begin with it.
    """
    parsed = prompts.parse(text)
    reasoning = parsed.summary if parsed.reasoning is None else parsed.reasoning
    reasoning = tidy(reasoning or "", language)
    if well_formed:
        _, _, rest = parsed.text.rpartition(prompts.THINK_CLOSE)
        whole = f"{prompts.THINK_OPEN}{reasoning}{prompts.THINK_CLOSE}{rest}"
    else:
        whole = respond(reasoning, answer)
    return whole.removeprefix(prompts.THINK_OPEN).lstrip("\n") if force_think else whole


def tidy(reasoning: str, language: str | None) -> str:
    """Reasoning without tags, repeated lines, needless blank lines and foreign lines; code blocks stay as they are."""
    for tag in prompts.TAGS:
        reasoning = reasoning.replace(tag, "")
    pieces = re.split(r"(```.*?(?:```|\Z))", reasoning, flags=re.DOTALL)  # every other one is a code block
    prose = [_thinned(piece) for piece in pieces[::2]]
    wanted = language or identify("\n".join(prose))
    if wanted is not None:
        prose = _without_foreign_lines(prose, wanted)
    pieces[::2] = prose
    return "".join(pieces).strip()


def _thinned(text: str) -> str:
    kept: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        line = line.rstrip()
        again = bool(kept) and line == kept[-1] and len(line.split()) >= MIN_LINE_WORDS
        if not again:
            kept.append(line)
    return _BLANK_LINES.sub("\n\n", "\n".join(kept))


def _without_foreign_lines(prose: Sequence[str], language: str) -> list[str]:
    lines = [piece.split("\n") for piece in prose]
    counts = [[_words(line) for line in piece] for piece in lines]
    foreign = [
        [count >= MIN_LINE_WORDS and _is_foreign(line, language) for line, count in zip(*both)]
        for both in zip(lines, counts)
    ]
    left_out = sum(count for both in zip(counts, foreign) for count, out in zip(*both) if out)
    if left_out > MOST_LEFT_OUT * sum(map(sum, counts)):
        return list(prose)
    return [
        "\n".join(line for line, out in zip(*both) if not out) if any(both[1]) else piece
        for piece, both in zip(prose, zip(lines, foreign))
    ]


def _is_foreign(line: str, language: str) -> bool:
    share = consistency(line, language)
    return share is not None and share < FOREIGN


def _words(line: str) -> int:
    return sum(1 for sentence in sentences(line) for _ in scripts.words(sentence))


def settle(
    env: ReasoningEnv,
    pool: GradingPool,
    tasks: Sequence[Task],
    asked: Sequence[Asked],
    *,
    force_think: bool,
) -> None:
    """Rewrites every right answer into the readable form, and grades again what has changed."""
    changed: list[tuple[Task, Answer]] = []
    for task, one in zip(tasks, asked, strict=True):
        for answer in one.answers:
            if answer.verdict != "correct" or answer.extracted is None:
                continue
            text = readable(
                answer.text,
                answer=answer.extracted,
                respond=functools.partial(env.respond, task),
                well_formed=answer.parts.get("format", 0.0) >= 1.0,
                language=one.language,
                force_think=force_think,
            )
            if text != answer.text:
                answer.original, answer.text = answer.text, text
                changed.append((task, answer))
    grades = pool.grade([(task, continued(answer.said, answer.text)) for task, answer in changed])
    for (_, answer), grade in zip(changed, grades, strict=True):
        answer.reward, answer.parts, answer.extracted = grade.reward, dict(grade.parts), grade.extracted
        answer.spoilt = grade.verdict != "correct"


# --- outputs of a run that was ------------------------------------------------------------------------


def read(path: Path) -> dict[str, list[Answer]]:
    """The answers in a run's rollouts.jsonl, dataset.jsonl or samples.jsonl, by task; what they were graded is not believed.

    Raises:
        DataError: a row without a task or a text.
        RunError: the file is missing or damaged.
    """
    found: dict[str, list[Answer]] = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        if "inputs" in row and "task_id" not in row:
            continue  # the first line of samples.jsonl
        if row.get("source") == "general":
            continue  # no task stands behind it
        task_id, answers = row.get("task_id"), row.get("answers")
        rows: list[dict[str, Any]] = answers if isinstance(answers, list) else [row]
        for one in rows:
            text = one.get("original") or one.get("completion", one.get("text"))
            if not isinstance(task_id, str) or not isinstance(text, str):
                raise DataError(
                    f"{path}, row {number}: it has no 'task_id' with a 'completion'; refine.source is the rollouts.jsonl, "
                    "samples.jsonl or dataset.jsonl of a run"
                )
            prompt = row["prompt"] if isinstance(row.get("prompt"), list) else []
            found.setdefault(task_id, []).append(
                Answer(
                    text=text,
                    finish_reason=str(one.get("finish_reason", "stop")),
                    tokens=int(one.get("tokens") or 0),
                    verdict="no_answer",
                    reward=0.0,
                    parts={},
                    extracted=None,
                    said=[*prompt, *(one.get("said") or [])],
                )
            )
    return found


def grade(pool: GradingPool, places: Places, given: Mapping[str, list[Answer]]) -> list[list[Answer]]:
    """What `read` has found of a chunk's tasks, graded; its `said` becomes what came after the task's own messages."""
    groups = [given[task.id] for _, task in places]
    flat = [(task, answer) for (_, task), group in zip(places, groups) for answer in group]
    for task, answer in flat:
        answer.said = answer.said[len(task.messages) :]
    grades = pool.grade([(task, continued(answer.said, answer.text)) for task, answer in flat])
    for (_, answer), found in zip(flat, grades, strict=True):
        answer.verdict, answer.reward = found.verdict, found.reward
        answer.parts, answer.extracted = dict(found.parts), found.extracted
    return groups
