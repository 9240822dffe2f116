"""Training prompts that share words with a benchmark are left out: R1's 10-gram rule (arXiv 2501.12948 v1 § 3).

Words are lower case and without punctuation; a Chinese character, a kana or a Thai letter is a word by itself. A prompt
is contaminated if ten of its words in a row stand in any text of a benchmark, questions and solutions alike, or if it
is a whole text of one, signs of calculation included, however short. Ten in a row without a letter among them, a run of
numbers, are shared by chance and do not count.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.config import DecontaminateConfig
from r1env import sources
from r1env.errors import DataError

PLAIN = (".txt", ".md")
"""Files of plain text; a text is what stands between blank lines."""

_ALONE = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_WORD = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")
_WORD_OR_SIGN = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+|[-+*/=^<>×÷·−]")
_BLANK_LINE = re.compile(r"\n\s*\n")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Benchmarks:
    """What prompts are compared with."""

    size: int
    """Words of an n-gram."""
    ngrams: frozenset[str]
    """Every n-gram of every text."""
    wholes: frozenset[str]
    """Every text as a whole."""
    files: tuple[str, ...]
    """The files that were read."""

    def shared(self, text: str) -> str | None:
        """The first n-gram that the text shares with a benchmark, or the whole text; None where it is clean."""
        whole = _whole(text)
        if whole in self.wholes:
            return whole
        return next((ngram for ngram in _ngrams(words(text), self.size) if ngram in self.ngrams), None)


def load(config: DecontaminateConfig) -> Benchmarks:
    """Reads the benchmark texts of `decontaminate.sources`.

    Raises:
        DataError: a source that is missing, damaged or of no known kind, holds no text, or lacks the columns.
    """
    ngrams: set[str] = set()
    wholes: set[str] = set()
    files = [file for source in config.sources for file in _files(Path(source).expanduser())]
    for file in files:
        for text in _texts(file, config.columns):
            wholes.add(_whole(text))
            ngrams.update(_ngrams(words(text), config.words))
    return Benchmarks(
        size=config.words,
        ngrams=frozenset(ngrams),
        wholes=frozenset(wholes - {""}),
        files=tuple(str(file) for file in files),
    )


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(_plain(text))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _whole(text: str) -> str:
    """A text in a form that survives changes of case and punctuation, but not of a calculation."""
    return " ".join(_WORD_OR_SIGN.findall(_plain(text)))


def _ngrams(found: Sequence[str], size: int) -> Iterator[str]:
    for start in range(len(found) - size + 1):
        ngram = found[start : start + size]
        if any(character.isalpha() for word in ngram for character in word):
            yield " ".join(ngram)


# --- files -------------------------------------------------------------------------------------------


def _files(source: Path) -> list[Path]:
    """The readable files of a source: itself, or all below it."""
    if source.is_dir():
        found = sorted(path for path in source.rglob("*") if path.is_file() and _is_readable(path))
        if not found:
            raise DataError(
                f"decontaminate.sources: {source} holds no file that is read ({', '.join((*sources.SUFFIXES, *PLAIN))})"
            )
        return found
    if not source.exists():
        raise DataError(f"decontaminate.sources: {source} does not exist; check the path")
    if not _is_readable(source):
        raise DataError(
            f"decontaminate.sources: {source} is of a kind that is not read; give one of "
            f"{', '.join((*sources.SUFFIXES, *PLAIN))}"
        )
    return [source]


def _is_readable(path: Path) -> bool:
    return path.suffix in PLAIN or path.name.removesuffix(".gz").endswith(sources.SUFFIXES)


def _texts(file: Path, columns: Sequence[str]) -> Iterator[str]:
    """The texts of a file: paragraphs, or what the columns of its rows hold."""
    if file.suffix in PLAIN:
        try:
            yield from _BLANK_LINE.split(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read: {error}; check that it is whole and UTF-8") from error
        return
    for number, row in enumerate(sources.read_file(file), start=1):
        if missing := [column for column in columns if column not in row]:
            raise DataError(
                f"{file} row {number} has no column {missing[0]!r}; it has {', '.join(map(str, row))}: change "
                "decontaminate.columns"
            )
        yield from _strings(row[column] for column in columns) if columns else _strings(row.values())


def _strings(values: Iterable[Any]) -> Iterator[str]:
    """Every text in JSON values, however deep."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from _strings(value.values())
        elif isinstance(value, list):
            yield from _strings(value)
