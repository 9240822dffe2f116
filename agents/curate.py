"""From graded answers to a dataset: filters, duplicates, a cap for each task, general data; and the count of it all.

Every answer has one fate, the first of: wrong, no_answer, unscorable · spoilt in rewriting · the filters in their order ·
duplicate · over_cap · kept. So the counts add up to what was sampled. All of it follows from the answers, the
configuration and the seed: the same answers give the same bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents import filters
from agents.answers import Answer, Asked
from agents.config import FilterConfig, GeneralConfig, GenerationConfig
from agents.config.curation import FILTERS
from agents.decontaminate import Benchmarks
from r1env import prompts, records
from r1env.errors import DataError, RunError
from r1env.sources import read_file
from r1env.types import Message

UNFIT = ("wrong", "no_answer", "unscorable")
"""Fates of answers that are not right."""
DROPPED = (*UNFIT, "spoilt", *FILTERS, "duplicate", "over_cap")
"""Every fate but being kept."""


@dataclasses.dataclass(slots=True)
class Tally:
    """What became of the answers."""

    sampled: int = 0
    kept: int = 0
    prompts_kept: int = 0
    """Tasks of which any answer was kept."""
    sampled_tokens: int = 0
    kept_tokens: int = 0
    dropped: Counter[str] = dataclasses.field(default_factory=Counter)
    """Answers by fate."""
    judged: Counter[str] = dataclasses.field(default_factory=Counter)
    """What a judge said of those it was asked of, by its word; NONE: no verdict."""

    @property
    def correct(self) -> int:
        """Right answers, fit or not."""
        return self.sampled - sum(self.dropped[fate] for fate in UNFIT)

    def counts(self) -> dict[str, Any]:
        """For the manifest: `sampled` = `kept` + the sum of `dropped`."""
        return {
            "sampled": self.sampled,
            "correct": self.correct,
            "kept": self.kept,
            "prompts_kept": self.prompts_kept,
            "dropped": {fate: self.dropped[fate] for fate in DROPPED},
            "judged": dict(sorted(self.judged.items())),
            "sampled_tokens": self.sampled_tokens,
            "kept_tokens": self.kept_tokens,
        }

    def lines(self) -> list[str]:
        """The counts as a table of text."""
        shares = [(fate, self.dropped[fate]) for fate in DROPPED if self.dropped[fate]]
        shares = [("sampled", self.sampled), *shares, ("kept", self.kept)]
        return [f"  {fate:<16}{count:>10,}{count / max(1, self.sampled):>9.1%}" for fate, count in shares] + [
            f"  judged {word}: {count:,}" for word, count in sorted(self.judged.items())
        ]


def select(
    asked: Iterable[Asked],
    bounds: FilterConfig,
    agent: GenerationConfig,
    *,
    seed: int,
    source: str,
    tally: Tally,
    dropped: list[dict[str, Any]] | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of the dataset, in the order of the tasks.

    Args:
        asked: Tasks with their answers.
        bounds: Of the filters.
        agent: `keep_per_prompt` and `choice`.
        seed: Of the random choice.
        source: What a row says of where it comes from.
        tally: Counts every answer.
        dropped: Gets a note of every right answer that falls to a filter, and why.
    """
    seen: set[bytes] = set()
    for one in asked:
        fit: dict[bytes, _Fit] = {}
        for number, answer in enumerate(one.answers):
            tally.sampled += 1
            tally.sampled_tokens += answer.tokens
            if answer.judged is not None:
                tally.judged[answer.judged] += 1
            fate, detail = _fate(one, answer, bounds)
            key = digest(one.conversation(answer), answer.text) if fate is None else b""
            if key in seen:
                fate = "duplicate"
                if key in fit:
                    fit[key].times += 1
            if fate is None:
                seen.add(key)
                fit[key] = _Fit(number, answer)
                continue
            tally.dropped[fate] += 1
            if detail and dropped is not None:
                dropped.append({"task_id": one.task_id, "answer": number, "fate": fate, "why": detail})
        kept = choose(list(fit.values()), agent, seed, one.position)
        tally.dropped["over_cap"] += len(fit) - len(kept)
        tally.kept += len(kept)
        tally.prompts_kept += bool(kept)
        tally.kept_tokens += sum(one_fit.answer.tokens for one_fit in kept)
        yield from (_row(one, one_fit.number, one_fit.answer, source) for one_fit in kept)


@dataclasses.dataclass(slots=True)
class _Fit:
    """An answer that may be kept."""

    number: int
    """Its place among the task's answers."""
    answer: Answer
    times: int = 1
    """How often the task was answered so, duplicates included."""


def _fate(one: Asked, answer: Answer, bounds: FilterConfig) -> tuple[str | None, str]:
    """What keeps an answer from the dataset, duplicates apart, and why where that is not plain; None for nothing."""
    if answer.verdict != "correct":
        return (answer.verdict if answer.verdict in UNFIT else "wrong"), ""
    if answer.spoilt:
        return "spoilt", "it is not right any more after it was rewritten"
    return filters.fault(response_of(one, answer), bounds) or (None, "")


def response_of(one: Asked, answer: Answer) -> filters.Response:
    """What the filters look at."""
    return filters.Response(
        text=answer.text,
        finish_reason=answer.finish_reason,
        well_formed=answer.parts.get("format", 1.0) >= 1.0,
        language=one.language,
        takes_code=one.takes_code,
    )


def choose(fit: Sequence[_Fit], agent: GenerationConfig, seed: int, position: int) -> list[_Fit]:
    """At most `agent.keep_per_prompt` of a task's fit answers, in the order in which they were sampled.

    By chance means as the policy answers: an answer that was given three times is three times as likely, though it is
    there once. Else dropping duplicates would favour what the policy seldom says, lucky guesses among it.
    """
    most = agent.keep_per_prompt
    if most is None or len(fit) <= most:
        return list(fit)
    if agent.choice == "shortest":
        chosen = sorted(range(len(fit)), key=lambda place: (len(fit[place].answer.text), place))[:most]
    else:
        times = np.array([one.times for one in fit], dtype=np.float64)
        rng = np.random.default_rng([seed, position])
        chosen = rng.choice(len(fit), size=most, replace=False, p=times / times.sum()).tolist()
    return [fit[place] for place in sorted(chosen)]


def _row(one: Asked, number: int, answer: Answer, source: str) -> dict[str, Any]:
    prompt = one.conversation(answer)
    row = {
        "id": row_id(prompt, answer.text),
        "prompt": prompt,
        "completion": answer.text,
        "task_id": one.task_id,
        "source": source,
        "env": one.env,
        "position": one.position,
        "answer": number,
        "tokens": answer.tokens,
    }
    return row if answer.original is None else {**row, "original": answer.original}


def row_id(prompt: Sequence[Message], completion: str) -> str:
    """Content hash of a row: 16 hexadecimal digits."""
    return records.sha256_json([[dict(message) for message in prompt], completion])[:16]


def digest(prompt: Sequence[Message], completion: str) -> bytes:
    """Equal for rows that differ in nothing but case, white space and the like."""
    said = "\0".join([*(f"{m['role']}\1{normalised(m['content'])}" for m in prompt), normalised(completion)])
    return hashlib.blake2b(said.encode("utf-8", "replace"), digest_size=16).digest()


def normalised(text: str) -> str:
    """A text without differences of case, white space, or Unicode's forms of one character."""
    for tag in prompts.TAGS:
        text = text.replace(tag, f" {tag} ")
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


# --- general data ------------------------------------------------------------------------------------


def read_general(path: Path) -> list[dict[str, Any]]:
    """The rows of general data: `{prompt, completion}`, the prompt as text or messages.

    Raises:
        DataError: the file is missing or damaged, or a row is none; names it.
    """
    found = []
    for number, row in enumerate(read_file(path), start=1):
        prompt, completion = row.get("prompt"), row.get("completion")
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) and prompt else prompt
        if not (isinstance(completion, str) and completion and _are_messages(messages)):
            raise DataError(
                f"{path}, row {number}: general data needs 'prompt', text or a list of {{role, content}}, and "
                "'completion', a text; neither empty"
            )
        found.append({"prompt": messages, "completion": completion})
    if not found:
        raise DataError(f"{path} holds no rows; give general data, or general.source=null")
    return found


def _are_messages(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
            for m in value
        )
    )


def mix(
    general: Sequence[Mapping[str, Any]], config: GeneralConfig, kept: int, benchmarks: Benchmarks, seed: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """General rows for a number of rows of reasoning, drawn without replacement, and how many of what.

    Args:
        general: What there is.
        config: `ratio`, rows of reasoning for each general one; halves are rounded up.
        kept: Rows of reasoning.
        benchmarks: Rows whose prompts share an n-gram with them are left out.
        seed: Of the draw.
    """
    seen: set[bytes] = set()
    fit, contaminated = [], 0
    for row in general:
        if benchmarks.shared("\n\n".join(message["content"] for message in row["prompt"])) is not None:
            contaminated += 1
        elif (key := digest(row["prompt"], row["completion"])) not in seen:
            seen.add(key)
            fit.append(row)
    wanted = int(kept / config.ratio + 0.5)
    places = sorted(int(i) for i in np.random.default_rng(seed).permutation(len(fit))[:wanted])
    found = [
        {"id": row_id(row["prompt"], row["completion"]), **row, "task_id": None, "source": "general"}
        for row in (fit[place] for place in places)
    ]
    counts = {
        "rows": len(general),
        "contaminated": contaminated,
        "duplicate": len(general) - contaminated - len(fit),
        "wanted": wanted,
        "taken": len(found),
    }
    return found, counts


# --- files -------------------------------------------------------------------------------------------


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes a JSON-lines file, whole or not at all, a row at a time; returns how many.

    Raises:
        RunError: it cannot be written.
    """
    partial = path.with_name(f".tmp-{path.name}")
    count = 0
    try:
        with open(partial, "wb") as file:
            for row in rows:
                line = json.dumps(records.plain(row), ensure_ascii=False) + "\n"
                file.write(line.encode("utf-8", "backslashreplace"))
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if isinstance(error, RunError):
            raise
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; free some space, and run the same command again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return count


def nothing_kept(tally: Tally) -> DataError:
    """What to say where the dataset would be empty."""
    reasons = ", ".join(f"{count} {fate}" for fate, count in tally.dropped.most_common() if count)
    return DataError(
        f"none of {tally.sampled} answers is right and fit to be learnt from ({reasons}); sample a better model or "
        "easier tasks, or loosen filters.use and the bounds of filters"
    )
