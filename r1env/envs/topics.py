"""Questions of one kind, by the values that are right, so that options can be drawn before the question is.

Options alone must not give the answer away. If wrong ones were made from the right one, it would be the one that
they all resemble. So the options come first: a question's answer, its mistakes, and theirs, as far as each of them
is the right answer of some question of the same topic. Then one of them is drawn, all with the same chance, and a
question is asked whose answer it is. Whatever a policy reads in the options, it guesses with one chance in their
number.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, cast

import numpy as np

Number = int | Fraction

_TRIES = 8


def below(rng: np.random.Generator, limit: int) -> int:
    """A number from 0 to `limit` - 1."""
    return int(rng.integers(limit))


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """A question without options."""

    text: str
    """What is asked."""
    right: Number
    """Its answer."""
    mistakes: Sequence[Number]
    """What typical mistakes lead to; only those that are another question's answer become options."""
    working: str
    """The calculation that leads to the answer, on one line."""
    unit: str = ""
    """Of the answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """Questions that differ in their numbers."""

    ask: Callable[..., Draft | None]
    """Makes a question of one value from each of `spaces`; None where they make none."""
    spaces: tuple[Sequence[Any], ...]
    """What its values are drawn from."""


@dataclasses.dataclass(frozen=True)
class Topic:
    """Forms whose answers look alike: one unit."""

    forms: tuple[Form, ...]
    """Each as likely as the others."""

    @functools.cached_property
    def answers(self) -> Mapping[Number, Sequence[tuple[Form, tuple[Any, ...]]]]:
        """All questions by their right answer."""
        found: dict[Number, list[tuple[Form, tuple[Any, ...]]]] = {}
        for form in self.forms:
            for values in itertools.product(*form.spaces):
                if (draft := form.ask(*values)) is not None:
                    found.setdefault(draft.right, []).append((form, values))
        return found

    @functools.cached_property
    def ordered(self) -> Sequence[Number]:
        """The right answers, the smallest first."""
        return sorted(self.answers)

    def draw(self, rng: np.random.Generator) -> Draft:
        """Any question."""
        form = self.forms[below(rng, len(self.forms))]
        while (draft := form.ask(*(space[below(rng, len(space))] for space in form.spaces))) is None:
            pass
        return draft

    def ask(self, rng: np.random.Generator, right: Number, options: Sequence[Number]) -> Draft:
        """A question with this answer: of some, the one whose own mistakes are among the options most."""
        asked = (self._any(rng, right) for _ in range(_TRIES))
        return max(asked, key=lambda draft: len(set(draft.mistakes).intersection(options)))

    def _any(self, rng: np.random.Generator, right: Number) -> Draft:
        form, values = self.answers[right][below(rng, len(self.answers[right]))]
        return cast("Draft", form.ask(*values))  # `answers` holds no others

    def options(self, rng: np.random.Generator, count: int) -> list[Number]:
        """A right answer, its mistakes, their mistakes, and where these run out its neighbours."""
        draft = self.draw(rng)
        values = [draft.right]
        for place in range(count):
            for at in rng.permutation(len(draft.mistakes)):
                if draft.mistakes[at] in self.answers and draft.mistakes[at] not in values:
                    values.append(draft.mistakes[at])
            if place + 1 >= len(values) or len(values) >= count:
                break
            draft = self._any(rng, values[place + 1])
        start = bisect.bisect(self.ordered, values[0])
        near = self.ordered[max(0, start - count) : start + count]
        left = [near[at] for at in rng.permutation(len(near)) if near[at] not in values]
        return [*values, *left][:count]
