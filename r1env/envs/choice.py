"""`r1env/Choice-v0`: multiple-choice questions in science, generated or from a dataset."""

from __future__ import annotations

import collections
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from r1env import prompts, sources
from r1env.env import Ingredients, Judgement, ReasoningEnv, Split, split_of
from r1env.envs import stem
from r1env.errors import ConfigError, DataError, nearest
from r1env.grading.choice import LETTERS, MAX_OPTIONS, letter, read_choice, same_text
from r1env.grading.extract import answer_phrase, final_answer
from r1env.rewards import RewardConfig
from r1env.types import Task

Extraction = Literal["tagged", "summary", "lenient"]
EXTRACTIONS: tuple[Extraction, ...] = ("tagged", "summary", "lenient")
COLUMNS = ("question", "options", "answer")

# Options that speak of the others by letter or place lose their meaning in another order.
_REFERS = re.compile(
    r"\b(?:all|none|any|both|some|either|neither)(?: of)?(?: the)? (?:above|these|them|options|choices|answers)\b"
    r"|\boptions? [A-Z]\b"
    r"|^\s*(?:both |neither |either )?\(?[A-Za-z]\)?(?:, \(?[A-Za-z]\)?)*,? (?:and|or|nor|&) \(?[A-Za-z]\)?\W*$",
    re.IGNORECASE,
)


class ChoiceEnv(ReasoningEnv):
    """Multiple-choice questions with one right option, answered by its letter.

    ## Description
    With `source="generated"` the questions are made by rule, the wrong options from typical mistakes, by level:
    `arithmetic` (one sum or difference, five options), `units`, `physics`, `chemistry`, `sequences` (four options).
    Each of a question's options is the answer to another, so that without the question none is the better guess.
    A held-out one is another question or the same with other options: what is held out is a prompt.
    Otherwise `source` is a dataset in MMLU-Pro's format (`TIGER-Lab/MMLU-Pro` on the hub), or any with `columns`:
    a file, a directory with `train` and `test` files, or a hub name.

    A dataset's options are put into an order that follows from the row and `shuffle_seed` alone, so that a task's
    index always gives the same prompt; rows where an option speaks of the others ("none of the above",
    "both A and B") keep theirs. Which split a row falls to follows from its question alone: neither the
    shuffle nor another set of options carries a question over to the other split.

    ## Observation space
    The question, then the options as `A) …`, `B) …`; a generated task is one line, `7 + 5 = ? A) 11 B) 12 C) 21`.

    ## Action space
    The whole response as text.

    ## Rewards
    `accuracy`: the answer names the right option and no other (`r1env.grading.choice.read_choice`): its letter,
    its letter with its text, or its text. `format` and `tags`: `r1env.rewards`.

    ## Episode end
    After one response.

    ## Arguments
    Those of `ReasoningEnv`, and:

    - `source`: `generated`, or a dataset (`r1env.sources.load_records`). A dataset without splits of its own is
      divided by its questions' content, a fifth held out.
    - `test_source`: a dataset whose rows are the test split; then all of `source` is the train split.
    - `columns`: which columns hold `question`, `options` (one that holds a list, or several, separated by commas)
      and `answer` (a letter, an index from 0, an option's text, or one of the option columns). GPQA's: `{question:
      Question, options: "Correct Answer, Incorrect Answer 1, Incorrect Answer 2, Incorrect Answer 3", answer:
      Correct Answer}`.
    - `categories`: only rows whose `category` is one of these.
    - `shuffle_seed`: seed of the options' order; None keeps the dataset's.
    - `extraction`: `tagged`, where only `<answer>`, a box, or under preset r1 an answer phrase counts;
      `lenient`, where a phrase anywhere and the last line of the text count too; or `summary`, which is lenient
      with what follows the reasoning and reads nothing out of a reasoning that was cut off.

    Rows that ask nothing are left out and counted in `left_out`: those with a single option, and those where
    another option has the right one's text. Any other flaw of a row is an error that names it.

    ## Version history
    - v0: first version.

    Raises:
        ConfigError: an argument that does not exist or does not fit the source.
    """

    levels: ClassVar[tuple[str, ...]] = stem.NAMES
    grader_version: ClassVar[str] = "2"

    def __init__(
        self,
        *,
        source: str = "generated",
        test_source: str | None = None,
        columns: Mapping[str, str | Sequence[str]] | None = None,
        categories: Sequence[str] | None = None,
        shuffle_seed: int | None = 0,
        extraction: Extraction = "tagged",
        split: Split = "train",
        level: str | Sequence[str] | None = None,
        reward: RewardConfig | Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(split=split, level=level, reward=reward, render_mode=render_mode)
        self.generated = sources.is_generated(
            source, level, test_source=test_source, columns=columns, categories=categories
        )
        if columns is not None and set(columns) != set(COLUMNS):
            raise ConfigError(
                f"columns has the keys {sorted(columns)}; give 'question', 'options' and 'answer'"
            )
        if isinstance(categories, str) or (categories is not None and not categories):
            raise ConfigError(f"categories={categories!r} must be a list of names, e.g. [physics, chemistry]")
        if shuffle_seed is not None and (not isinstance(shuffle_seed, int) or shuffle_seed < 0):
            raise ConfigError(f"shuffle_seed={shuffle_seed!r} must be a whole number from 0 on, or null")
        if extraction not in EXTRACTIONS:
            raise ConfigError(
                f"extraction {extraction!r} does not exist{nearest(str(extraction), EXTRACTIONS)}"
            )
        self.source = source
        self.test_source = test_source
        self.columns = None if columns is None else dict(columns)
        self.categories = None if categories is None else tuple(categories)
        self.shuffle_seed = shuffle_seed
        self.extraction = extraction
        self.left_out: dict[Split, dict[str, int]] = {}
        """By split that was read: how many rows ask nothing, by reason."""
        self._rows: dict[Split, list[Ingredients]] = {}

    def generate(self, rng: np.random.Generator, level: str | None) -> Ingredients:
        """Draws a question; its calculation stands in `meta["working"]`."""
        question = stem.generate(rng, level or self.levels[0])
        listed = " ".join(_lettered(question.options))
        answer = {"right": question.right, "options": list(question.options)}
        return f"{question.text} {listed}", answer, {"working": question.working}

    def rows(self, split: Split) -> Sequence[Ingredients] | None:
        """The dataset's rows, read when first asked for; None for generated questions.

        Raises:
            DataError: the dataset cannot be read, a row is flawed, or the split is empty.
        """
        if self.generated:
            return None
        if split not in self._rows:
            self._load(split)
        return self._rows[split]

    def _load(self, split: Split) -> None:
        source = self.test_source if split == "test" and self.test_source else self.source
        records, has_splits = sources.load_records(source, split=split)
        read = _Reader(source, records, self.columns, self.categories)
        divided = not has_splits and self.test_source is None
        rows = [
            _ingredients(row, self.shuffle_seed)
            for row in read.rows
            if not divided or split_of(_question_hash(row.question), self.test_share) == split
        ]
        if not rows:
            raise DataError(
                f"split {split!r} of {source} is empty: none of its {len(records)} rows is left"
                + (f" of the categories {', '.join(self.categories)}" if self.categories else "")
                + "; give a larger dataset, a test_source, or other categories"
            )
        self.left_out[split] = dict(read.left_out)
        self._rows[split] = rows

    def extract(self, task: Task, response: str) -> str | None:
        """The final answer that the response states, as `extraction` reads it."""
        parsed = prompts.parse(response)
        found = final_answer(parsed, preset=self.reward_config.preset)
        if found is not None or self.extraction == "tagged":
            return found
        text = parsed.summary or ("" if self.extraction == "summary" else parsed.text)
        return answer_phrase(text) or text.strip().rpartition("\n")[2]

    def check(self, task: Task, answer: str) -> Judgement:
        """Whether the answer names the right option and no other."""
        chosen = read_choice(answer, task.answer["options"])
        if chosen is None:
            return "wrong", "the answer does not name one of the options, and one only"
        return bool(chosen == task.answer["right"])

    def solve(self, task: Task) -> str | None:
        """The right option's letter."""
        return letter(task.answer["right"])

    def reason(self, task: Task) -> str:
        """The calculation, and the options one by one up to the right one, where the task holds a calculation."""
        working = task.meta.get("working")
        if not working:
            return super().reason(task)
        options, right = task.answer["options"], task.answer["right"]
        looked_at = [f"{letter(at)} {options[at]} no" for at in range(right)]
        return f"{working}. " + ", ".join([*looked_at, f"{letter(right)} {options[right]} yes"])


class _Row:
    """A dataset's row, read and found sound."""

    def __init__(
        self, number: int, question: str, options: list[str], right: int, meta: dict[str, Any]
    ) -> None:
        self.number, self.question, self.options, self.right, self.meta = number, question, options, right, meta


class _Reader:
    """Reads and validates the rows of a dataset; leaves out those that ask nothing."""

    def __init__(
        self,
        source: str,
        records: Sequence[Mapping[str, Any]],
        columns: Mapping[str, str | Sequence[str]] | None,
        categories: Sequence[str] | None,
    ) -> None:
        if not records:
            raise DataError(f"{source} holds no rows; give a dataset with at least one")
        self.source = source
        self.left_out: collections.Counter[str] = collections.Counter()
        self.rows: list[_Row] = []
        self._columns = self._known_columns(records[0], columns)
        if categories is not None:
            present = sorted({str(record.get("category")) for record in records})
            for name in categories:
                if name not in present:
                    raise DataError(f"{source} has no category {name!r}{nearest(name, present)}")
        for number, record in enumerate(records):
            if categories is None or record.get("category") in categories:
                self._read(number, record)

    def _known_columns(
        self, record: Mapping[str, Any], columns: Mapping[str, str | Sequence[str]] | None
    ) -> tuple[str, list[str], str]:
        if columns is None:
            listed = "choices" if "choices" in record and "options" not in record else "options"
            columns = {"question": "question", "options": listed, "answer": "answer"}
        given = columns["options"]
        names = [name.strip() for name in given.split(",")] if isinstance(given, str) else list(given)
        question, answer = str(columns["question"]), str(columns["answer"])
        for name in (question, answer, *names):
            if name not in record:
                raise DataError(
                    f"{self.source} has no column {name!r}; it has {', '.join(map(str, record))}; "
                    "say which to use: columns={question: …, options: …, answer: …}"
                )
        return question, names, answer

    def _read(self, number: int, record: Mapping[str, Any]) -> None:
        question_column, option_columns, answer_column = self._columns
        question = str(record.get(question_column) or "").strip()
        if not question:
            raise self._flaw(number, f"{question_column!r} is empty")
        options = self._options(number, record, option_columns)
        if len(options) == 1:
            self.left_out["a single option"] += 1
            return
        if len(option_columns) > 1 and answer_column in option_columns:
            right = option_columns.index(answer_column)
        else:
            # MMLU-Pro states it twice; otherwise an "answer_index" may be anything.
            index = record.get("answer_index") if answer_column == "answer" else None
            right = self._right(number, record[answer_column], options, index)
        if sum(same_text(option, options[right]) for option in options) > 1:
            self.left_out["the right option twice"] += 1
            return
        meta = {key: record[key] for key in ("category", "src", "question_id") if key in record}
        self.rows.append(_Row(number, question, options, right, meta))

    def _options(self, number: int, record: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
        cells: Any = [record.get(name) for name in columns] if len(columns) > 1 else record.get(columns[0])
        if isinstance(cells, str) and cells.lstrip().startswith("["):  # a list in a CSV file
            try:
                cells = json.loads(cells)
            except ValueError as error:
                raise self._flaw(number, f"{columns[0]!r} is not a JSON list: {error}") from error
        if not isinstance(cells, (list, tuple)):
            raise self._flaw(number, f"{columns[0]!r} is {type(cells).__name__}, not a list of options")
        options = [" ".join(str(cell).split()) if cell is not None else "" for cell in cells]
        if not 1 <= len(options) <= MAX_OPTIONS or not all(options):
            raise self._flaw(number, f"{len(options)} options, {options.count('')} of them empty")
        return options

    def _right(self, number: int, answer: Any, options: Sequence[str], index: Any) -> int:
        """Index of the right option, from an index, a letter or a text; a second statement must agree."""
        if isinstance(answer, int) and not isinstance(answer, bool):
            if 0 <= answer < len(options):
                return answer
            raise self._flaw(number, f"the answer {answer} is not an index of its {len(options)} options")
        text = str(answer or "").strip()
        by_text = [index for index, option in enumerate(options) if same_text(option, text)]
        by_letter = LETTERS.find(text) if len(text) == 1 else -1
        if isinstance(index, int):
            if 0 <= index < len(options) and (index == by_letter or index in by_text):
                return index
            raise self._flaw(number, f"the answer is {text[:60]!r}, but answer_index is {index}")
        if 0 <= by_letter < len(options):
            if by_text and by_letter not in by_text:
                raise self._flaw(
                    number, f"the answer {text!r} is the letter of one option and the text of another"
                )
            return by_letter
        if by_text:
            return by_text[0]
        raise self._flaw(
            number, f"the answer {text[:60]!r} is no letter and no text of its {len(options)} options"
        )

    def _flaw(self, number: int, what: str) -> DataError:
        return DataError(f"{self.source} row {number + 1}: {what}; fix or remove it")


def _lettered(options: Sequence[str]) -> list[str]:
    return [f"{letter(index)}) {option}" for index, option in enumerate(options)]


def _question_hash(question: str) -> str:
    """Hash of a question whatever its spacing, case and options."""
    return hashlib.sha256(" ".join(question.casefold().split()).encode()).hexdigest()


def _ingredients(row: _Row, shuffle_seed: int | None) -> Ingredients:
    order = list(range(len(row.options)))
    if shuffle_seed is not None and not any(_REFERS.search(option) for option in row.options):
        content = json.dumps([row.question, row.options], ensure_ascii=False)
        seed = int(hashlib.sha256(content.encode()).hexdigest()[:16], 16)
        order = [int(place) for place in np.random.default_rng([shuffle_seed, seed]).permutation(len(order))]
    options = [row.options[place] for place in order]
    question = "\n".join([row.question, *_lettered(options)])
    return question, {"right": order.index(row.right), "options": options}, {"row": row.number, **row.meta}
