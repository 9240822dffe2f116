"""Language consistency (arXiv 2501.12948 §2.3): the share of a text's words that are in the target language.

A text is taken sentence by sentence, each weighing its number of words (`r1env.grading.scripts`: what a word
is), after formulae, code, links and digits are dropped. A sentence's script decides where only one of the
candidate languages is written in it; kana tells Japanese from Chinese; what is left, mostly the languages in
Latin letters, is told apart by py3langid restricted to the candidates, or where that is not installed by
`r1env.grading.stopwords`.

py3langid also says where a sentence is in none of them: Dutch is not German. The languages of a script are so
many that chance makes one of them fit a short sentence best, so another language gets a sentence only on
evidence: its lead in log-likelihood over the likeliest candidate grows with a text's length where the text is in
it, and with the root of the length where it is noise. The sentences around count as evidence too.

Up to two foreign words in a row are names or units and count with their sentence. A sentence too short to be
identified is read together with the next of its script.

Everything is linear in the text's length; of a very long text `MAX_SENTENCES` sentences, evenly spaced, are
read. Nothing is shared between calls but identifiers that are built once under a lock and only read
afterwards, so any number of threads may call.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import re
import threading
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from r1env.errors import ConfigError, nearest
from r1env.grading import scripts, stopwords

MGSM_LANGUAGES = ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
"""The languages of MGSM (Shi et al. 2022), as ISO 639-1 codes."""

MAX_SENTENCES = 1_000
"""Of longer texts this many sentences are read, evenly spaced."""

MAX_SENTENCE_CHARS = 500
"""Longer sentences are cut into pieces of this length."""

MAX_FORMULA_CHARS = 2_000
"""Delimiters further apart than this do not belong together."""

MAX_LOAN_WORDS = 2
"""This many words of another script in a row count with the sentence they stand in."""

_ENOUGH = {"han": 8}
_ENOUGH_WORDS = 3
_KANA_SHARE = 0.1

_EVIDENCE = 2.5
"""Lead over the candidates, in nats by the root of a byte, that gives a sentence with those around it to another
language, or twice as much for the sentence alone. In 250 texts of each of MGSM's languages nothing has more against
it than 2.3; sentences of other languages have 2 to 20."""
_AROUND = 3
"""So many sentences before and after a sentence stand around it."""

_SENTENCE_END = re.compile(r"[。！？｡．।॥…\n\r\u2028؟۔]+|[.!?](?=[\"'”’»)\]]*(?:\s|$))")
_DOLLARS = re.compile(r"\$(?=\S)([^$\n]{1,300})(?<=\S)\$(?!\d)")
_PROSE = re.compile(r"[^\W\d_]{3}")
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,40}>")
_END = re.compile(r"\\end\{[^{}]{0,40}\}")
_COMMAND = re.compile(r"\\[A-Za-z]+\*?|\\.|[{}]", re.DOTALL)
_LETTERS = re.compile(r"[^\W\d_]{2}")
_OPERATOR = re.compile(r"[-+*/=^<>×÷·−–≤≥≈≠√∑∞±→⇒]")
_DIGITS = re.compile(r"\d+")


def check_language(code: str) -> str:
    """The code itself, where it is one that can be asked for.

    Raises:
        ConfigError: it is not in `r1env.grading.scripts.LANGUAGES`.
    """
    if not isinstance(code, str) or code not in scripts.LANGUAGES:
        raise ConfigError(
            f"language {code!r} cannot be told apart; give an ISO 639-1 code such as 'de'"
            f"{nearest(str(code), tuple(scripts.LANGUAGES))}"
        )
    return code


def consistency(text: str, target: str, languages: Sequence[str] = MGSM_LANGUAGES) -> float | None:
    """The share of the text's words that are in the target language, in [0, 1].

    Args:
        text: Any text, such as a chain of thought.
        target: ISO 639-1 code of the language that is wanted.
        languages: The candidates; the target is one of them even where it is not listed.

    Returns:
        The share; None where the text holds no words.

    Raises:
        ConfigError: a language that is not known.
    """
    tally = _tally(text, (*languages, target))
    total = sum(tally.values())
    return tally[target] / total if total else None


def identify(text: str, languages: Sequence[str] = MGSM_LANGUAGES) -> str | None:
    """The language that most of the text's words are in; None where it holds none of the candidates'.

    Raises:
        ConfigError: a language that is not known.
    """
    tally = _tally(text, tuple(languages))
    found = [(count, language) for language, count in tally.items() if language is not None]
    return max(found)[1] if found else None


def load(target: str, languages: Sequence[str] = MGSM_LANGUAGES) -> None:
    """Loads what `consistency` needs, which takes some tenths of a second, before any deadline runs."""
    for script in set(scripts.LANGUAGES.values()):
        if told := _to_be_told(script, _candidates((*languages, target))[script]):
            _identifier(told)


def sentences(text: str) -> list[str]:
    """The text's sentences without code, formulae, links and tags, none longer than `MAX_SENTENCE_CHARS`."""
    found = []
    for sentence in _SENTENCE_END.split(_prose(text)):
        for start in range(0, len(sentence), MAX_SENTENCE_CHARS):
            found.append(sentence[start : start + MAX_SENTENCE_CHARS])
    return [sentence for sentence in found if sentence.strip()]


def _tally(text: str, languages: tuple[str, ...]) -> Counter[str | None]:
    """Words by language; None counts those in none of the languages."""
    candidates = _candidates(languages)
    units: dict[str, list[list[_Piece]]] = {}
    waiting: dict[str, list[_Piece]] = {}
    for script, piece in _pieces(text):
        read = waiting.setdefault(script, [])
        read.append(piece)
        if _words(read) >= _ENOUGH.get(script, _ENOUGH_WORDS):
            units.setdefault(script, []).append(waiting.pop(script))
    for script, read in waiting.items():  # too short alone: read with what came before
        before = units.setdefault(script, [])
        before[-1:] = [[*(before[-1] if before else []), *read]]
    tally: Counter[str | None] = Counter()
    for script, texts in units.items():
        for language, pieces in zip(_languages(script, texts, candidates.get(script, ())), texts, strict=True):
            tally[language] += _words(pieces)
    return tally


_Piece = tuple[str, int, int]
"""Text of a sentence in one script, its number of words, and how many of them are kana."""


def _pieces(text: str) -> Iterator[tuple[str, _Piece]]:
    found = sentences(text)
    if len(found) > MAX_SENTENCES:
        found = [found[number * len(found) // MAX_SENTENCES] for number in range(MAX_SENTENCES)]
    for sentence in found:
        # Sentence by sentence: the time for normalising grows with the square of a run of combining marks.
        yield from _by_script(_without_formulae(unicodedata.normalize("NFC", sentence)))


def _by_script(sentence: str) -> Iterator[tuple[str, _Piece]]:
    """A sentence's text by script, with short foreign runs counted to the script of most words."""
    runs: list[list[tuple[str, int, int]]] = []
    counts: Counter[str] = Counter()
    kana = 0
    for name, start, end in scripts.words(sentence):
        script = "han" if name == "kana" else name
        kana += name == "kana"
        counts[script] += 1
        if runs and runs[-1][0][0] == script:
            runs[-1].append((script, start, end))
        else:
            runs.append([(script, start, end)])
    if not runs:
        return
    main = counts.most_common(1)[0][0]
    texts: dict[str, list[str]] = {}
    for run in runs:
        script = run[0][0]
        if script != main and len(run) <= MAX_LOAN_WORDS:
            counts[script] -= len(run)
            counts[main] += len(run)
        else:
            texts.setdefault(script, []).append(sentence[run[0][1] : run[-1][2]])
    for script, parts in texts.items():
        yield script, (" ".join(parts), counts[script], kana if script == "han" else 0)


def _words(pieces: Sequence[_Piece]) -> int:
    return sum(piece[1] for piece in pieces)


def _languages(script: str, units: Sequence[Sequence[_Piece]], among: tuple[str, ...]) -> list[str | None]:
    """The language of each unit of text, out of the candidates of its script; None for another."""
    told = _to_be_told(script, among)
    found: list[_Reading] = []
    for pieces in units:
        # Chinese is written without kana, a Japanese sentence hardly ever.
        kana = script == "han" and sum(piece[2] for piece in pieces) >= _KANA_SHARE * _words(pieces)
        if told and not kana:
            found.append(_identifier(told)(_DIGITS.sub(" ", " ".join(piece[0] for piece in pieces))))
        else:
            found.append(_Reading(("ja" if "ja" in among else None) if kana else among[0] if among else None))
    around = (found[max(at - _AROUND, 0) : at] + found[at + 1 : at + 1 + _AROUND] for at in range(len(found)))
    return [
        None if reading.is_foreign(others) else reading.language
        for reading, others in zip(found, around, strict=True)
    ]


def _to_be_told(script: str, among: tuple[str, ...]) -> tuple[str, ...]:
    """The candidates where they must be told apart, from one another or from others of their script."""
    if script == "han":
        return ("zh",) if "zh" in among else ()
    return among if len(among) > 1 or (among and script in scripts.RELATIVES) else ()


@functools.lru_cache(maxsize=64)
def _candidates(languages: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """The languages, by script and in order."""
    found: dict[str, tuple[str, ...]] = dict.fromkeys(scripts.LANGUAGES.values(), ())
    for language in sorted({check_language(language) for language in languages}):
        found[scripts.LANGUAGES[language]] += (language,)
    return found


# Telling apart languages of one script.


@dataclasses.dataclass(frozen=True, slots=True)
class _Reading:
    """What a text was identified as."""

    language: str | None
    """The likeliest of the candidates."""
    lead: float = 0.0
    """Log-likelihood of the likeliest other language over it, in nats; mostly negative."""
    size: int = 0
    """The text's length in bytes; 0 where no other language was considered."""

    def is_foreign(self, around: Sequence[_Reading]) -> bool:
        """Whether it is in another language after all, given what stands around it."""
        if not self.size:
            return False
        alone = self.lead / math.sqrt(self.size)
        read = (self, *around)
        together = sum(one.lead for one in read) / math.sqrt(sum(one.size for one in read))
        return alone > 2 * _EVIDENCE or (alone > 0 and together > _EVIDENCE)


_Identify = Callable[[str], _Reading]
_identifiers: dict[tuple[str, ...], _Identify] = {}
_identifiers_lock = threading.Lock()
_model: Any = None
_said_missing = False


def _identifier(languages: tuple[str, ...]) -> _Identify:
    """What names the language of a text, out of one or several of one script; built once, then only read."""
    with _identifiers_lock:
        if languages not in _identifiers:
            _identifiers[languages] = _by_py3langid(languages) or functools.partial(
                _by_stopwords, languages=languages
            )
        return _identifiers[languages]


def _by_stopwords(text: str, languages: tuple[str, ...]) -> _Reading:
    # It knows few languages: of those that it does not, none gets a text that is asked for in one that it does.
    known = [language for language in languages if language in MGSM_LANGUAGES] or languages
    return _Reading(stopwords.guess(text, known))


def _by_py3langid(languages: tuple[str, ...]) -> _Identify | None:
    global _model, _said_missing
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        # An instance of its own: set_languages on the module's would change it for everybody in the process.
        _model = _model or LanguageIdentifier.from_model_file(MODEL_FILE)
    except (ImportError, AttributeError) as error:
        if not _said_missing:
            _said_missing = True
            warnings.warn(
                f"languages are identified by stop words only, because py3langid cannot be used ({error}); "
                "pip install 'py3langid>=0.4'",
                RuntimeWarning,
                stacklevel=2,
            )
        return None
    identifier = copy.copy(_model)
    relatives = set(scripts.RELATIVES.get(scripts.LANGUAGES[languages[0]], ())) & set(identifier.labels)
    others = relatives - set(languages)
    identifier.set_languages([*languages, *others])

    def read(text: str) -> _Reading:
        ranked = identifier.rank(text)  # the likeliest first
        language, likelihood = next(one for one in ranked if one[0] in languages)
        lead = next((one[1] - likelihood for one in ranked if one[0] in others), None)
        return (
            _Reading(language) if lead is None else _Reading(language, lead, len(text.encode(errors="replace")))
        )

    return read


# What is no prose.


def _prose(text: str) -> str:
    text = _cut(text, "```", "```", len(text)).partition("```")[0]
    text = _END.sub(r"\\end{}", text.replace("\\\\", " ").replace("\\$", " "))
    for opening, closing in (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("\\begin{", "\\end{}")):
        text = _cut(text, opening, closing, MAX_FORMULA_CHARS)
    for pattern in (_CODE, _LINK, _TAG):
        text = pattern.sub(" ", text)
    return _without_commands(_DOLLARS.sub(_formula_or_price, text))


def _cut(text: str, opening: str, closing: str, longest: int) -> str:
    """The text without what stands between the delimiters, where they are no further apart than `longest`."""
    kept, at, end = [], 0, -1
    start = text.find(opening)
    while start >= 0:
        inside = start + len(opening)
        if end < inside:
            end = text.find(closing, inside)
            if end < 0:
                break
        if end - inside <= longest:
            kept += [text[at:start], " "]
            at = end + len(closing)
            start = text.find(opening, at)
        else:
            start = text.find(opening, inside)
    return "".join([*kept, text[at:]])


def _formula_or_price(match: re.Match[str]) -> str:
    content = match[1]
    price = _PROSE.search(content) and not set(content) & set("\\=^_{")
    return match[0] if price else " "


def _without_commands(text: str) -> str:
    r"""The text without LaTeX commands and their arguments, `\boxed{…}` among them."""
    kept, at, depth, armed, opened = [], 0, 0, -1, 0
    for match in _COMMAND.finditer(text):
        token, start, end = match[0], match.start(), match.end()
        if token == "{":
            if depth or start == armed:
                depth += 1
        elif token == "}":
            if depth:
                depth -= 1
                if not depth:
                    at = armed = end
        elif not depth:
            kept += [text[at:start], " "]
            at = end
            armed = end
        if depth == 1 and token == "{":
            opened = end
    if depth:  # never closed: what follows the command is text after all
        kept.append(_COMMAND.sub(" ", text[opened:]))
        at = len(text)
    return "".join([*kept, text[at:]])


def _without_formulae(sentence: str) -> str:
    """The sentence without bare calculations such as `12 x 3 = 36 = N`."""
    tokens = sentence.split()
    bare = [not _LETTERS.search(token) for token in tokens]
    operates = [short and bool(_OPERATOR.search(token)) for short, token in zip(bare, tokens)]
    counts = [short and bool(_DIGITS.search(token)) for short, token in zip(bare, tokens)]
    last = len(tokens) - 1
    kept = []
    for at, token in enumerate(tokens):
        if operates[at] or counts[at]:
            continue
        before, after = max(at - 1, 0), min(at + 1, last)
        variable = bare[at] and token.isalpha() and token.isascii()
        if variable and (operates[before] or operates[after] or (counts[before] and counts[after])):
            continue
        kept.append(token)
    return " ".join(kept)
