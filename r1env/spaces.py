"""A Gymnasium space of Unicode texts.

`gymnasium.spaces.Text` holds a fixed alphabet (62 characters by default, seconds to build over all of
Unicode); prompts and responses are arbitrary text in any language.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gymnasium as gym
import numpy as np

from r1env.errors import ConfigError

_SAMPLE_CHARS = 32
# First and past-the-last code points of printable blocks in several scripts: samples exercise multi-byte text.
_BLOCKS = (
    (0x20, 0x7F),  # ASCII
    (0xC0, 0x250),  # Latin
    (0x391, 0x3CA),  # Greek
    (0x410, 0x450),  # Cyrillic
    (0x905, 0x93A),  # Devanagari
    (0x4E00, 0x9FA6),  # Chinese
    (0x1F600, 0x1F640),  # emoji, beyond 16 bits
)


class TextSpace(gym.Space[str]):
    """All Unicode texts of at most `max_length` characters, the empty text included.

    Args:
        max_length: Most characters of a text.
        seed: Seed of `sample`.

    Raises:
        ConfigError: `max_length` below 0.
    """

    def __init__(self, max_length: int = 1 << 20, seed: int | np.random.Generator | None = None) -> None:
        if max_length < 0:
            raise ConfigError(f"max_length of a TextSpace is {max_length}; give 0 or more")
        self.max_length = max_length
        super().__init__(shape=None, dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Texts have no fixed numeric form."""
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A random text of at most 32 characters from several scripts.

        Raises:
            ConfigError: a mask or probabilities, which texts do not have.
        """
        if mask is not None or probability is not None:
            raise ConfigError("TextSpace.sample takes neither mask nor probability; call it without")
        length = int(self.np_random.integers(min(self.max_length, _SAMPLE_CHARS) + 1))
        blocks = self.np_random.integers(len(_BLOCKS), size=length)
        return "".join(chr(self.np_random.integers(*_BLOCKS[block])) for block in blocks)

    def contains(self, x: Any) -> bool:
        """Whether `x` is a text that is short enough."""
        return isinstance(x, str) and len(x) <= self.max_length

    def to_jsonable(self, sample_n: Iterable[str]) -> list[str]:
        """Texts are JSON already."""
        return list(sample_n)

    def from_jsonable(self, sample_n: list[Any]) -> list[str]:
        """The inverse of `to_jsonable`."""
        return [str(text) for text in sample_n]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextSpace) and other.max_length == self.max_length

    def __hash__(self) -> int:
        return hash((TextSpace, self.max_length))

    def __repr__(self) -> str:
        return f"TextSpace(max_length={self.max_length})"
