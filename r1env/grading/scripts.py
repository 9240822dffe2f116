"""Writing systems: which one a word is written in, and which languages are written in it.

What is a word: a run of letters of one script. A Chinese character and a Japanese kana each count as one. In
Indic scripts and Thai a vowel sign ends a run, as it does for Python's `\\w`: words there are long, or have no
spaces between them, and so weigh by their length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

_RANGES: Mapping[str, Sequence[tuple[int, int]]] = {
    "latin": ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0x24F), (0x1E00, 0x1EFF)),
    "greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "cyrillic": ((0x400, 0x52F),),
    "armenian": ((0x531, 0x587),),
    "hebrew": ((0x5D0, 0x5F2),),
    "arabic": ((0x620, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)),
    "devanagari": ((0x900, 0x97F),),
    "bengali": ((0x980, 0x9FF),),
    "gurmukhi": ((0xA00, 0xA7F),),
    "gujarati": ((0xA80, 0xAFF),),
    "tamil": ((0xB80, 0xBFF),),
    "telugu": ((0xC00, 0xC7F),),
    "kannada": ((0xC80, 0xCFF),),
    "malayalam": ((0xD00, 0xD7F),),
    "thai": ((0xE00, 0xE7F),),
    "georgian": ((0x10A0, 0x10FF),),
    "hangul": ((0x1100, 0x11FF), (0xAC00, 0xD7A3)),
    "kana": ((0x3041, 0x309F), (0x30A1, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D)),
    "han": ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),
}

_ONE_BY_ONE = ("kana", "han")

_LATIN = "cs da de en es fi fr hu id it nl no pl pt ro sv sw tr vi"
LANGUAGES: Mapping[str, str] = {
    **dict.fromkeys(_LATIN.split(), "latin"),
    **dict.fromkeys(("bg", "ru", "uk"), "cyrillic"),
    **dict.fromkeys(("ar", "fa", "ur"), "arabic"),
    **dict.fromkeys(("hi", "mr", "ne"), "devanagari"),
    **dict.fromkeys(("ja", "zh"), "han"),
    "bn": "bengali",
    "el": "greek",
    "gu": "gujarati",
    "he": "hebrew",
    "hy": "armenian",
    "ka": "georgian",
    "kn": "kannada",
    "ko": "hangul",
    "ml": "malayalam",
    "pa": "gurmukhi",
    "ta": "tamil",
    "te": "telugu",
    "th": "thai",
}
"""The languages that can be asked for, by ISO 639-1 code, and their script (`han`: kana included)."""

RELATIVES: Mapping[str, Sequence[str]] = {
    "latin": tuple(
        f"""{_LATIN} ace af an az bcl br bs ca crh cy eo et eu ext fo fuv fy ga gcf gcr gd gl gug guw ha hr ht ig is jv
        kab kik ku la lb lg lij ln lt ltg lv mg ms mt nso oc om pcm qu rw se sk sl sn so sq sr st tk tl uz vec vo wa xh
        yo zu""".split()
    ),
    "cyrillic": ("ba", "be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "tt", "uk"),
    "bengali": ("as", "bn"),
    "han": ("wuu", "yue", "zh"),
}
"""The languages of a script that a text may be in, as py3langid calls them: those that can be asked for, and more
that nobody asks for. A form of one of them (`nn` of `no`) is not here. Scripts that are not here have no more."""


def _class(name: str) -> str:
    spans = []
    for low, high in _RANGES[name]:
        letters = [code for code in range(low, high + 1) if name == "han" or chr(code).isalpha()]
        start = 0
        for at in range(1, len(letters) + 1):
            if at == len(letters) or letters[at] != letters[at - 1] + 1:
                spans.append(f"{re.escape(chr(letters[start]))}-{re.escape(chr(letters[at - 1]))}")
                start = at
    return "".join(spans)


def _word_pattern() -> re.Pattern[str]:
    classes = {name: _class(name) for name in _RANGES}
    runs = [f"(?P<{n}>[{letters}]{'' if n in _ONE_BY_ONE else '+'})" for n, letters in classes.items()]
    return re.compile("|".join([*runs, rf"(?P<other>[^\W\d_{''.join(classes.values())}]+)"]))


_WORD = _word_pattern()


def words(text: str) -> Iterator[tuple[str, int, int]]:
    """Script, start and end of every word; the script is a key of the table above, or `other`."""
    for match in _WORD.finditer(text):
        yield match.lastgroup or "other", match.start(), match.end()
