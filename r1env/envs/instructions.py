"""Generated instructions with verifiable constraints, and texts that meet them.

`compose` writes a text for a list of constraints (`r1env.grading.constraints`), or gives up. A generated task
is only ever one that `compose` solves, and that neither its own prompt nor idle text solves.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from r1env.errors import GraderError
from r1env.grading.constraints import LEAST, LESS, MIN_WORDS_TO_IDENTIFY, check, count_words

Constraint: TypeAlias = "Sequence[Any]"
"""`[id, arguments]` of one instruction, as JSON holds it."""

NAMES: tuple[str, ...] = ("one", "two", "three")
"""Levels, the default first: how many constraints a task has, not counting a word that has to be used."""

TOPICS = (
    "rain", "snow", "wind", "sun", "moon", "stars", "sea", "river", "lake", "island", "forest", "garden", "tree",
    "grass", "flower", "bread", "milk", "honey", "apple", "salt", "horse", "dog", "cat", "bird", "fish", "wolf",
    "bridge", "road", "train", "boat", "house", "tower", "lamp", "clock", "book", "paper", "glass", "stone", "gold",
    "music", "dance", "paint", "winter", "summer", "morning", "night",
)  # fmt: skip

# Common words in an order that reads as English, so that a language can be told from them.
_ENGLISH = (
    "the sun is warm and the sea is calm so we walk along the old road and talk about all the good things that "
    "you can find there when it is not too late to look for them with a friend who knows how to get home again"
)

_IDLE = (
    "A B C D",
    "a b c d",
    "1",
    "0",
    "-",
    "yes",
    "I cannot help with that.",
    "x " * 50,
    "Sure! Here it is.",
    "***",
    # Most forms at once.
    '"<<sun>>\n- sun\n- sun\n[a] [b] [c] [d]\n*hi* *ho* *ha* *he*\nqqqqqqqq jjjjjjjj vvvvvvvv zzzzzzzz\nP.S. sun sun sun sun"',
)


@dataclasses.dataclass(frozen=True, slots=True)
class Instruction:
    """One generated task."""

    prompt: str
    """What the policy reads."""
    constraints: list[Constraint]
    """What its response must meet."""
    topic: str
    """What it is about; no rule checks that."""


def generate(rng: np.random.Generator, level: str) -> Instruction:
    """Draws an instruction.

    Args:
        rng: Where all randomness comes from.
        level: One of `NAMES`.
    """
    extras = NAMES.index(level)
    while True:
        topic, other = (TOPICS[i] for i in rng.choice(len(TOPICS), size=2, replace=False))
        drawn = [_DEMANDS[int(rng.integers(len(_DEMANDS)))](rng, topic, other)]
        if drawn[0][1][0] in _UNTIED:
            drawn.append((f'Say "{other}".', ["keywords:existence", {"keywords": [other]}]))
        for place in rng.choice(len(_LIMITS), size=extras, replace=False):
            drawn.append(_LIMITS[place](rng, topic, other))
        constraints: list[Constraint] = [constraint for _, constraint in drawn]
        prompt = " ".join([f"Write about {topic}.", *(wording for wording, _ in drawn)])
        if len({id for id, _ in constraints}) < len(constraints):
            continue
        # Which tasks there are must not depend on what identifies languages here: the case alone is checked, and
        # texts that would need more are avoided.
        cases: list[Constraint] = [[_CASES.get(id, id), arguments] for id, arguments in constraints]
        text = _Writer(_by_id(constraints), topic).write()
        if not _meets_all(cases, text) or (cases != constraints and count_words(text) >= MIN_WORDS_TO_IDENTIFY):
            continue  # they contradict each other, or cannot be met in a few words
        if not any(_meets_all(cases, idle) for idle in (prompt, *_IDLE)):
            return Instruction(prompt, constraints, topic)


_CASES = {"change_case:english_capital": "capital", "change_case:english_lowercase": "lowercase"}


def _meets_all(constraints: Sequence[Constraint], text: str) -> bool:
    for id, arguments in constraints:
        if id in _CASES.values():
            if not (text.isupper() if id == "capital" else text.islower()):
                return False
        elif not check(id, arguments, text):
            return False
    return True


# What a text must have: none of these is met by chance, nor by copying the prompt.

Drawn: TypeAlias = "tuple[str, Constraint]"
Draw: TypeAlias = Callable[[np.random.Generator, str, str], Drawn]


def _count(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _say(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n = _count(rng, 2, 4)
    arguments = {"relation": LEAST, "keyword": other, "frequency": n}
    return f'Say "{other}" at least {n} times.', ["keywords:frequency", arguments]


def _end(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    return f'End with "so much {other}".', ["startend:end_checker", {"end_phrase": f"so much {other}"}]


def _quote(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    return "Put all of it in double quotes.", ["startend:quotation", {}]


def _bullets(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n = _count(rng, 2, 4)
    return f'Write {n} lines with "-" bullets.', ["detectable_format:number_bullet_lists", {"num_bullets": n}]


def _title(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    return "Give it a title in << >>.", ["detectable_format:title", {}]


def _placeholders(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n = _count(rng, 2, 4)
    arguments = {"num_placeholders": n}
    return f"Use at least {n} placeholders in [ ].", ["detectable_content:number_placeholders", arguments]


def _highlight(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n = _count(rng, 2, 4)
    arguments = {"num_highlights": n}
    return f"Highlight at least {n} words with * *.", [
        "detectable_format:number_highlighted_sections",
        arguments,
    ]


def _letters(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n, letter = _count(rng, 3, 8), "jqvz"[_count(rng, 0, 3)]
    arguments = {"let_relation": LEAST, "letter": letter, "let_frequency": n}
    return f"Use the letter {letter} at least {n} times.", ["keywords:letter_frequency", arguments]


def _nth_paragraph(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n = _count(rng, 2, 3)
    arguments = {"num_paragraphs": n, "nth_paragraph": n, "first_word": other}
    wording = f'{n} paragraphs; begin the last with "{other}".'
    return wording, ["length_constraints:nth_paragraph_first_word", arguments]


def _repeat(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    return f'First repeat "all about {other}".', [
        "combination:repeat_prompt",
        {"prompt_to_repeat": f"all about {other}"},
    ]


_DEMANDS: tuple[Draw, ...] = (
    _say, _end, _quote, _bullets, _title, _placeholders, _highlight, _letters, _nth_paragraph, _repeat
)  # fmt: skip


# One text could meet these in all tasks; a word from the task comes with them.
_UNTIED = (
    "startend:quotation",
    "detectable_format:title",
    "detectable_format:number_bullet_lists",
    "detectable_content:number_placeholders",
    "detectable_format:number_highlighted_sections",
    "keywords:letter_frequency",
)


# What narrows it further.


def _no_commas(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    return "Use no commas.", ["punctuation:no_comma", {}]


def _forbid(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    word = ("very", "thing", "is", "and", "the")[_count(rng, 0, 4)]
    return f'Never use the word "{word}".', ["keywords:forbidden_words", {"forbidden_words": [word]}]


def _include(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    word = ("blue", "quick", "quiet", "round", "small", "bright")[_count(rng, 0, 5)]
    return f'Use the word "{word}".', ["keywords:existence", {"keywords": [word]}]


def _few_words(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n = _count(rng, 12, 30)
    return f"Use fewer than {n} words.", ["length_constraints:number_words", {"relation": LESS, "num_words": n}]


def _many_words(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n = _count(rng, 5, 9)
    return f"Use at least {n} words.", ["length_constraints:number_words", {"relation": LEAST, "num_words": n}]


def _sentences(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n, relation = _count(rng, 2, 4), (LESS, LEAST)[_count(rng, 0, 1)]
    bound = "fewer than" if relation == LESS else "at least"
    arguments = {"relation": relation, "num_sentences": n}
    return f"Use {bound} {n} sentences.", ["length_constraints:number_sentences", arguments]


def _small_letters(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    return "In English and small letters only.", ["change_case:english_lowercase", {}]


def _capital_letters(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    return "In English and capital letters only.", ["change_case:english_capital", {}]


def _capital_words(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n = _count(rng, 2, 4)
    arguments = {"capital_relation": LEAST, "capital_frequency": n}
    return f"Write at least {n} words in capitals.", ["change_case:capital_word_frequency", arguments]


def _rare_letter(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    n, letter = _count(rng, 1, 3), "bcfgpu"[_count(rng, 0, 5)]
    arguments = {"let_relation": LESS, "letter": letter, "let_frequency": n}
    wording = f"Use the letter {letter} less than {n} times." if n > 1 else f"Never use the letter {letter}."
    return wording, ["keywords:letter_frequency", arguments]


def _postscript(rng: np.random.Generator, topic: str, other: str) -> Drawn:
    return "Add a postscript with P.S.", ["detectable_content:postscript", {"postscript_marker": "P.S."}]


_LIMITS: tuple[Draw, ...] = (
    _no_commas, _forbid, _include, _few_words, _many_words, _sentences, _small_letters, _capital_letters,
    _capital_words, _rare_letter, _postscript,
)  # fmt: skip


def plan(constraints: Sequence[Constraint]) -> str:
    """What a text needs, in a few words: the working of a generated task."""
    return ", ".join(_in_short(id, arguments) for id, arguments in constraints)


def _in_short(id: str, arguments: Mapping[str, Any]) -> str:
    name = id.partition(":")[2].removeprefix("number_").removesuffix("_lists").removesuffix("_sections")
    values = []
    for value in arguments.values():
        shown = " ".join(value) if isinstance(value, list) else str(value)
        values.append({LEAST: "from", LESS: "below"}.get(shown, shown))
    return " ".join([name.replace("_", " "), *values])


# Texts that meet constraints.


def compose(constraints: Sequence[Constraint], topic: str = "") -> str | None:
    """A text that meets all constraints; None where this writer finds none.

    Args:
        constraints: `[id, arguments]` each.
        topic: A word to begin with, where nothing speaks against it.
    """
    text = _Writer(_by_id(constraints), topic).write()
    try:
        return text if text.strip() and _meets_all(constraints, text) else None
    except GraderError:
        return None


def _by_id(constraints: Sequence[Constraint]) -> dict[str, Mapping[str, Any]]:
    return {str(id): arguments for id, arguments in constraints}


class _Writer:
    """Puts a text together part by part; `compose` checks the whole."""

    def __init__(self, wanted: Mapping[str, Mapping[str, Any]], topic: str) -> None:
        self.wanted = wanted
        # The rarest letters of a limit and unwanted words stay out of everything that can be chosen.
        self.fillers = [word for word in _ENGLISH.split() if self._allowed(word)] or ["a"]
        self.topic = topic if topic and self._allowed(topic) else self.fillers[0]

    def _argument(self, id: str, name: str) -> Any:
        return self.wanted.get(id, {}).get(name)

    def _at_least(self, id: str, relation: str, name: str) -> int:
        return int(self.wanted[id][name]) if self._argument(id, relation) == LEAST else 0

    def _allowed(self, word: str) -> bool:
        letters = self.wanted.get("keywords:letter_frequency", {})
        if letters.get("let_relation") == LESS and letters["letter"].lower() in word:
            return False
        keyword = self.wanted.get("keywords:frequency", {})
        if keyword.get("relation") == LESS and keyword["keyword"].lower() in word:
            return False
        forbidden = self._argument("keywords:forbidden_words", "forbidden_words") or ()
        return word not in [banned.lower() for banned in forbidden]

    def write(self) -> str:
        text = self._text(0)
        # Whatever else the text needs, more words are added to its body until there are enough.
        missing = self._at_least("length_constraints:number_words", "relation", "num_words") - count_words(text)
        if missing > 0:
            text = self._text(missing)
        if "change_case:english_capital" in self.wanted:
            text = text.upper()
        if "change_case:english_lowercase" in self.wanted:
            text = text.lower()
        return text

    def _text(self, more: int) -> str:
        words = self._words() + [self.fillers[i % len(self.fillers)] for i in range(more)]
        parts = [*self._opening(), self._body(words), *self._closing()]
        text = "\n".join(part for part in parts if part)
        if "combination:two_responses" in self.wanted:
            text = f"{text}\n******\n{self.fillers[-1]}"
        if "detectable_format:json_format" in self.wanted:
            text = json.dumps({self.topic: text}, ensure_ascii=False)
        return f'"{text}"' if "startend:quotation" in self.wanted else text

    def _words(self) -> list[str]:
        words = [self.topic, *(self._argument("keywords:existence", "keywords") or ())]
        keyword = self._argument("keywords:frequency", "keyword")
        times = self._at_least("keywords:frequency", "relation", "frequency")
        words += [keyword] * max(0, times - sum(word == keyword for word in words))
        letters = self._at_least("keywords:letter_frequency", "let_relation", "let_frequency")
        words += [self._argument("keywords:letter_frequency", "letter") * letters] if letters else []
        capitals = self._at_least("change_case:capital_word_frequency", "capital_relation", "capital_frequency")
        words += [self.topic.upper()] * capitals
        words += [f"[{self.topic}]"] * (
            self._argument("detectable_content:number_placeholders", "num_placeholders") or 0
        )
        marks = self._argument("detectable_format:number_highlighted_sections", "num_highlights") or 0
        return words + [f"*{self.topic}*"] * marks

    def _opening(self) -> list[str]:
        title = f"<<{self.topic}>>" if "detectable_format:title" in self.wanted else ""
        return [self._argument("combination:repeat_prompt", "prompt_to_repeat") or "", title]

    def _body(self, words: list[str]) -> str:
        sentences = self._at_least("length_constraints:number_sentences", "relation", "num_sentences")
        if sentences > 1:
            words = words + [self.fillers[0]] * (sentences - len(words))
            shares = np.array_split(np.array(words, dtype=object), sentences)
            return self._parted([" ".join(share).capitalize() + "." for share in shares])
        return self._parted([" ".join(words)])

    def _parted(self, sentences: list[str]) -> str:
        """The sentences in as many paragraphs, sections and bullets as are wanted."""
        text = " ".join(sentences)
        spare = self.topic
        if stars := self._argument("length_constraints:number_paragraphs", "num_paragraphs"):
            text = "\n\n***\n\n".join([*[spare] * (stars - 1), text])
        nth = self.wanted.get("length_constraints:nth_paragraph_first_word")
        if nth:
            pieces = [text, *[spare] * (nth["num_paragraphs"] - 1)]
            place = nth["nth_paragraph"] - 1
            if place < len(pieces):
                pieces[place] = f"{nth['first_word']} {pieces[place]}"
            text = "\n\n".join(pieces)
        sections = self.wanted.get("detectable_format:multiple_sections")
        if sections:
            heads = [f"{sections['section_spliter']} {i + 1}\n{spare}" for i in range(sections["num_sections"])]
            text = "\n".join([text, *heads])
        bullets = self._argument("detectable_format:number_bullet_lists", "num_bullets") or 0
        return "\n".join([text, *[f"- {spare}"] * bullets])

    def _closing(self) -> list[str]:
        answer = "My answer is yes." if "detectable_format:constrained_response" in self.wanted else ""
        marker = self._argument("detectable_content:postscript", "postscript_marker")
        postscript = f"{marker} {self.topic}" if marker else ""
        return [answer, postscript, self._argument("startend:end_checker", "end_phrase") or ""]
