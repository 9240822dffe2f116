"""`r1env/Multilingual-v0`: word problems in eleven languages, generated or from MGSM."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from r1env import sources
from r1env.env import Ingredients, Judgement, ReasoningEnv, Split, prompt_text, split_of
from r1env.envs import phrases
from r1env.errors import ConfigError, DataError, GraderError, nearest
from r1env.grading.language import MGSM_LANGUAGES
from r1env.grading.language import load as load_identifier
from r1env.grading.numerals import CONVENTIONS, ENGLISH, read_numeral
from r1env.rewards import RewardConfig
from r1env.types import Task, task_id

MGSM = "juletxara/mgsm"
"""MGSM on the hub (Shi et al. 2022): a configuration for each language, 250 questions in `test`."""


class MultilingualEnv(ReasoningEnv):
    """Word problems in the languages of MGSM, to be reasoned about in the language they are asked in.

    ## Description
    With `source="generated"` a task counts things in one of eleven languages, by level: `one_step` (one sum,
    difference or product, up to 20), `two_step`, `large` (four to six digits, with the language's separators).
    The working is in words. Otherwise `source` is `mgsm` (the hub), a directory with `mgsm_<language>.tsv`, or
    one file. Each task names its language, so `language` is measured on every response.

    ## Observation space
    The problem as text, e.g. `Äpfel: 5. Dazu kommen: 3. Wie viele sind es jetzt?`

    ## Action space
    The whole response as text.

    ## Rewards
    `accuracy`: the answer is one number, read as the task's language writes it (`r1env.grading.numerals`: `1.234`
    is 1234 in German), alone or with the unit of what is counted. `language`: the share of the reasoning's words that are in the task's language, weight 0
    unless asked for. `format` and `tags`: `r1env.rewards`.

    ## Episode end
    After one response.

    ## Arguments
    Those of `ReasoningEnv`, and:

    - `languages`: one ISO 639-1 code or several, drawn evenly; all eleven by default.
    - `source`: `generated`, `mgsm`, a directory, or a file: question, tab, answer on each line of a `.tsv`
      (the language is the end of its name, `…_de.tsv`, or the only one of `languages`); or `.jsonl`, `.json`,
      `.csv` with `languages` naming one. It is divided by row number, a fifth held out, so that a problem and
      its translations are in one split.
    - `test_source`: the same; its rows are the test split, and all of `source` is the train split. So
      `test_source="mgsm"` trains on generated tasks and evaluates on all of MGSM.
    - `columns`: which columns of a `.jsonl`, `.json` or `.csv` hold `question` and `answer`.
    - `instruct`: whether a line that asks to think in the language ends the prompt.

    ## Version history
    - v0: first version.

    Raises:
        ConfigError: an argument that does not exist or does not fit the source.
    """

    levels: ClassVar[tuple[str, ...]] = ("one_step", "two_step", "large")
    grader_version: ClassVar[str] = "2"

    def __init__(
        self,
        *,
        source: str = "generated",
        test_source: str | None = None,
        languages: str | Sequence[str] | None = None,
        columns: Mapping[str, str] | None = None,
        instruct: bool = False,
        split: Split = "train",
        level: str | Sequence[str] | None = None,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(split=split, level=level, reward=reward, render_mode=render_mode)
        self.languages = _known_languages(languages)
        self.source = source
        self.test_source = test_source
        self.columns = None if columns is None else dict(columns)
        self.instruct = instruct
        if level is not None and source != "generated":
            raise ConfigError(f"level {level!r} is for source 'generated'; leave it out with source {source!r}")
        self._rows: dict[Split, list[Ingredients]] = {}

    def generate(self, rng: np.random.Generator, level: str | None) -> Ingredients:
        """Draws a problem; `meta` holds its language, its numbers, and the operations between them in order."""
        language = self.languages[rng.integers(len(self.languages))]
        said = phrases.LANGUAGES[language]
        write = CONVENTIONS.get(language, ENGLISH).write if level == "large" else str
        numbers, operations = _draw(rng, level or self.levels[0])
        things = said.things[rng.integers(len(said.things))]
        first, *rest = numbers
        if operations[0] == "*":
            sentences = [said.boxes.format(a=write(first), b=write(rest[0]), things=things)]
        else:
            sentences = [said.start.format(a=write(first), things=things)]
        for symbol, number in zip(operations, rest, strict=True):
            if symbol != "*":
                sentences.append((said.more if symbol == "+" else said.fewer).format(b=write(number)))
        question = said.space.join([*sentences, said.ask])
        meta = {"language": language, "numbers": numbers, "operations": operations}
        value = _results(numbers, operations)[-1]
        return self._asked(question, language), {"value": str(value), "language": language}, meta

    def _asked(self, question: str, language: str) -> str:
        return f"{question}\n{phrases.LANGUAGES[language].think}" if self.instruct else question

    def rows(self, split: Split) -> Sequence[Ingredients] | None:
        """The dataset's rows, language after language; None for generated tasks.

        Raises:
            DataError: a dataset cannot be read, an answer is not a number, or the split is empty.
        """
        source = self.test_source if split == "test" and self.test_source else self.source
        if source == "generated":
            return None
        if split not in self._rows:
            found = [row for language in self._spoken(source) for row in self._read(source, language)]
            if self.test_source is None:
                found = [row for row in found if _split_of_row(row[2]["row"], self.test_share) == split]
            if not found:
                raise DataError(f"split {split!r} of {source} is empty; give a larger file, or a test_source")
            self._rows[split] = found
        return self._rows[split]

    def _spoken(self, source: str) -> tuple[str, ...]:
        """The languages of a source: those asked for, or the one that a file's name ends in."""
        if source == "mgsm" or Path(source).expanduser().is_dir() or len(self.languages) == 1:
            return self.languages
        language = Path(source).stem.rpartition("_")[2]
        if source.endswith(".tsv") and language in self.languages:
            return (language,)
        raise DataError(f"{source} does not say its language; give languages=CODE, or name it …_de.tsv")

    def _read(self, source: str, language: str) -> list[Ingredients]:
        rows: list[Ingredients] = []
        for number, (question, written) in enumerate(_pairs(source, language, self.columns)):
            # MGSM writes all its answers in one way, the English one.
            value = read_numeral(written, "en")
            if not question or value is None:
                raise DataError(
                    f"{source}, {language}, row {number + 1}: the answer {written!r} to {question[:40]!r} "
                    "is not a number; write it as 1234 or 1,234.5"
                )
            answer = {"value": _decimal(value), "language": language}
            rows.append((self._asked(question, language), answer, {"language": language, "row": number}))
        return rows

    def language(self, task: Task) -> str | None:
        """The language asked for, or else the task's own; None for a task whose answer is malformed."""
        own = task.answer.get("language") if isinstance(task.answer, Mapping) else None
        return super().language(task) or (own if own in MGSM_LANGUAGES else None)

    def check(self, task: Task, answer: str) -> Judgement:
        """Whether the answer is the task's number, as its language writes numbers.

        Raises:
            GraderError: the task's own answer is not `{"value": …, "language": …}`.
        """
        gold, language = _spelt(task)
        value = read_numeral(answer, language, _without_numbers(prompt_text(task), language))
        if value is None:
            return "wrong", "the answer is not one number written out"
        return value == gold

    def solve(self, task: Task) -> str:
        """The answer, with separators where the task's numbers have them."""
        _, language = _spelt(task)
        value = str(task.answer["value"])
        separated = task.meta.get("level") == "large" or "." in value
        return CONVENTIONS.get(language, ENGLISH).write(value) if separated else value

    def reason(self, task: Task) -> str:
        """The calculation in words of the task's language, one operation a line; numbers above 20 in digits."""
        _, language = _spelt(task)
        return "\n".join(_line(task, language, place) for place in range(_lines_of(task)))

    def reason_mixed(self, task: Task, rng: np.random.Generator) -> str | None:
        """`reason` with some lines in other languages of the environment, the last in the task's own; a single line is
        preceded by its translation."""
        _, language = _spelt(task)
        others = [other for other in self.languages if other != language]
        if not others:
            return None
        count = _lines_of(task)
        lines = range(count) if count > 1 else (0, 0)
        foreign = int(rng.integers(1, len(lines)))
        spoken = [others[rng.integers(len(others))] if n < foreign else language for n in range(len(lines))]
        return "\n".join(_line(task, *at) for at in zip(spoken, lines))

    def warm_up(self) -> None:
        """Loads the identifier of languages, which every task needs."""
        for language in self.languages:
            load_identifier(self.reward_config.language or language)


def _known_languages(languages: str | Sequence[str] | None) -> tuple[str, ...]:
    codes = MGSM_LANGUAGES if languages is None else (languages,) if isinstance(languages, str) else languages
    if not codes:
        raise ConfigError("languages is an empty list; name at least one, or leave it out for all")
    for code in codes:
        if code not in MGSM_LANGUAGES:
            raise ConfigError(f"language {code!r} is not one of MGSM's{nearest(str(code), MGSM_LANGUAGES)}")
    return tuple(dict.fromkeys(codes))


def _draw(rng: np.random.Generator, level: str) -> tuple[list[int], list[str]]:
    """Numbers, and the operations between them from left to right; no result is negative."""

    def number(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    if level == "large":
        low, high = sorted((number(1_000, 999_999), number(1_000, 999_999)))
        return ([high, low], ["-"]) if rng.random() < 0.5 else ([low, high], ["+"])
    small = level == "one_step"
    limit = 10 if small else 50
    shape = rng.random()
    if shape < (0.15 if small else 0.5):
        numbers, operations = [number(2, 4), number(2, 5)] if small else [number(2, 9), number(2, 9)], ["*"]
    elif small and shape < 0.55:
        taken = number(1, limit)
        return [taken + number(0, limit), taken], ["-"]
    else:
        numbers, operations = [number(1, limit), number(1, limit)], ["+"]
    if small:
        return numbers, operations
    so_far = _results(numbers, operations)[-1]
    if rng.random() < 0.5:
        return [*numbers, number(1, limit)], [*operations, "+"]
    return [*numbers, number(1, so_far)], [*operations, "-"]


def _results(numbers: Sequence[int], operations: Sequence[str]) -> list[int]:
    """The value after each operation, from left to right."""
    value, results = numbers[0], []
    for symbol, number in zip(operations, numbers[1:], strict=True):
        value = value + number if symbol == "+" else value - number if symbol == "-" else value * number
        results.append(value)
    return results


def _lines_of(task: Task) -> int:
    """Of the working: one for each operation, and one where none is known."""
    return len(task.meta.get("operations", [None]))


def _line(task: Task, language: str, place: int) -> str:
    """One line of the working in words."""
    said = phrases.LANGUAGES[language]
    if "operations" not in task.meta:
        return said.given
    numbers, operations = task.meta["numbers"], task.meta["operations"]
    values = [numbers[0], *_results(numbers, operations)]
    form = {"+": said.plus, "-": said.minus, "*": said.times}[operations[place]]
    a, b, c = (_in_words(n, language) for n in (values[place], numbers[place + 1], values[place + 1]))
    return form.format(a=a, b=b, c=c)


def _in_words(number: int, language: str) -> str:
    names = phrases.LANGUAGES[language].numbers
    return names[number] if number < len(names) else CONVENTIONS.get(language, ENGLISH).write(number)


def _without_numbers(question: str, language: str) -> str:
    """A question without its numbers: "4 ten" is no four, not even where the question has a "ten"."""
    names = sorted(phrases.LANGUAGES[language].numbers, key=len, reverse=True)
    joined = "|".join(map(re.escape, names))
    spaced = phrases.LANGUAGES[language].space == " " and language != "th"
    return re.sub(rf"(?<!\w)(?:{joined})(?!\w)" if spaced else joined, " ", question, flags=re.IGNORECASE)


def _spelt(task: Task) -> tuple[Fraction, str]:
    try:
        gold, language = Fraction(str(task.answer["value"])), task.answer["language"]
    except (TypeError, KeyError, ValueError, ZeroDivisionError) as error:
        raise GraderError('the task\'s answer must be {"value": "18", "language": "de"}') from error
    if language not in MGSM_LANGUAGES:
        raise GraderError(f"the task's language {language!r} is not one of MGSM's")
    return gold, language


def _decimal(value: Fraction) -> str:
    return format(Decimal(value.numerator) / Decimal(value.denominator), "f")


def _split_of_row(row: int, test_share: float) -> Split:
    return split_of(task_id("row", (), row), test_share)


def _pairs(source: str, language: str, columns: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Questions with their answers as they are written."""
    if source == "mgsm":
        named = {"question": "question", "answer": "answer_number"}
        rows, _ = sources.load(f"{MGSM}:{language}", split="test", columns=named)
    elif Path(source).expanduser().is_dir():
        return _tsv(Path(source).expanduser() / f"mgsm_{language}.tsv")
    elif source.endswith(".tsv"):
        return _tsv(Path(source).expanduser())
    else:
        rows, _ = sources.load(source, split="test", columns=columns)
    return [(row.question, row.answer) for row in rows]


def _tsv(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}); give a directory with mgsm_<language>.tsv"
        ) from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        question, tab, answer = line.rpartition("\t")
        if line.strip() and not tab:
            raise DataError(f"{path}, line {number} has no tab; write the question, a tab and the answer")
        if line.strip():
            pairs.append((question.strip(), answer.strip()))
    return pairs
