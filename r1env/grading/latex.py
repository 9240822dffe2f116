r"""Mathematical text as people and models write it, made plain: one spelling for each thing, then tokens.

LaTeX (`\dfrac{1}{2}`), Unicode (`½`, `√2`, `≤`), plain text (`sqrt(2)`, `**`, `<=`) and what JSON and
tokenizers do to backslashes all end in the same tokens. Every step is linear in the text's length.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from r1env.grading.units import is_letter

_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "﹣": "-", "－": "-",
        "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",
        "≤": r"\le ", "≥": r"\ge ", "≦": r"\le ", "≧": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ",
        "≠": r"\ne ", "≈": r"\approx ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ",
        "∞": r"\infty ", "±": r"\pm ", "∓": r"\mp ", "√": r"\sqrt ", "π": r"\pi ", "Π": r"\Pi ", "θ": r"\theta ",
        "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ", "μ": r"\mu ", "φ": r"\phi ",
        "ω": r"\omega ", "º": "°", "∘": "°", "％": "%", "，": ", ", "；": ";", "：": ":", "（": "(", "）": ")",
        "［": "[", "］": "]", "｛": "{", "｝": "}", "＝": "=", "＜": "<", "＞": ">", "＋": "+", "。": ".",
        "′": "'", "’": "'", "⟨": r"\langle ", "⟩": r"\rangle ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "…": r"\dots ",
        "≡": r"\equiv ", "→": r"\to ", "／": "/", "¢": " cents", "₩": "$", "₽": "$", "฿": "$", "৳": "$", "₹": "$", "€": "$", "£": "$", "¥": "$", "￥": "$", "＄": "$",
    }
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ]+")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPT_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad\x00-\x08\x0b-\x1f\x7f]")

_DOUBLED = re.compile(r"\\\\(?=[A-Za-z]{2}|[()\[\]{},%$!;])")
_CURRENCY = re.compile(
    r"\\\$|(?<!\\)\$|\\(?:euro|pounds)\b|\b(?:USD|EUR|GBP|INR|CNY|RMB|JPY|Rs\.?|US)(?=[\s$\\]*\d)"
)
_DELIMITERS = re.compile(r"\\[()\[\]]")
_SIZE = re.compile(
    r"\\(?:left|right|bigg?[lr]?|Bigg?[lr]?|displaystyle|textstyle|limits|nolimits|mathstrut)(?![A-Za-z])\s*\.?(?=[^\d]|$)"
)
_LOOKS = re.compile(
    r"\\(?:text)?color\s*(?:\[[^\[\]{}]*\]\s*)?\{[^{}]*\}"
    r"|\\(?:tiny|scriptsize|footnotesize|small|normalsize|[lL]arge|LARGE|[hH]uge|bf|it|sf|tt|em|bfseries)(?![A-Za-z])"
)
_PREAMBLE = re.compile(r"\s*\\text\{[^{}\d]*\banswer\s*(?:is\b|=)?\s*:?\s*\}", re.IGNORECASE)
_NEGATIVE = re.compile(r"^\s*(?:negative|minus)\s+(?=[\d.\\])", re.IGNORECASE)
_SPACE = re.compile(
    r"\\[hv]?phantom\s*(?:\{[^{}]*\}|[^\s{])|(?<!\\)\\[,;:! ]|\\(?:q?quad|thinspace|enspace|hspace\*?\{[^{}]*\}|hfill|newline)(?![A-Za-z])|~"
)
_SPACED_THOUSANDS = re.compile(
    r"(?<![\d.,])\d{1,3}(?:(?:\\[,;: !]|[ \u00a0\u2000-\u200a\u202f\u205f])\d{3})+(?!\d)"
)
_BRACED_COMMA = re.compile(r"(?<=\d)\s?\{\s?,\s?\}\s?(?=\d)|(?<=\d),\\!\s*(?=\d)")
_WRAPPER = re.compile(
    r"\\(?:boldsymbol|mathbf|mathit|mathsf|mathcal|mathbb|bm|vec|underline|pmb|mathnormal)\s*(?=[{A-Za-z\\])"
)
_REALS = re.compile(r"\\mathbb\s*(?:\{\s*R\s*\}|R(?![A-Za-z]))(?!\s*[\^_])")
_TEXT = re.compile(
    r"\\(?:text|textrm|textbf|textit|textnormal|textsf|texttt|mathrm|mbox|hbox|operatorname\*?|rm)\s*\{([^{}]*)\}"
)
_LONE_ROMAN = re.compile(r"\\mathrm\s+([A-Za-z])(?![A-Za-z])")
_SYNONYMS = (
    (re.compile(r"\\[dtc]frac(?![a-z])"), r"\\frac"),
    (re.compile(r"\\[dt]binom(?![a-z])"), r"\\binom"),
    (re.compile(r"\\(?:leq|leqslant)(?![a-z])|<=|=<"), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![a-z])|>=|=>"), r"\\ge "),
    (re.compile(r"\\lt(?![a-z])"), "<"),
    (re.compile(r"\\gt(?![a-z])"), ">"),
    (re.compile(r"\\neq(?![a-z])|!="), r"\\ne "),
    (re.compile(r"\\(?:simeq|sim|thickapprox|doteq)(?![a-z])"), r"\\approx "),
    (re.compile(r"\\(?:lbrace)(?![a-z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![a-z])"), r"\\}"),
    (re.compile(r"\\(?:lbrack)(?![a-z])"), "["),
    (re.compile(r"\\(?:rbrack)(?![a-z])"), "]"),
    (re.compile(r"\\(?:lvert|rvert|vert|mid)(?![a-z])"), "|"),
    (re.compile(r"\\(?:cdot|times|ast)(?![a-z])|\*(?!\*)"), "*"),
    (re.compile(r"\\div(?![a-z])"), "/"),
    (re.compile(r"\\colon(?![a-z])"), ":"),
    (re.compile(r"\\(?:varnothing)(?![a-z])"), r"\\emptyset "),
    (re.compile(r"\\(?:lor|land)(?![a-z])"), " and "),
    (re.compile(r"\\varphi(?![a-z])"), r"\\phi "),
    (re.compile(r"\^\s*\{?\s*(?:\\circ(?![a-z])|°)\s*\}?|\\degree(?![a-z])|(?<=\d)\s*degrees?(?![a-z])"), "°"),
    (re.compile(r"\\?%|(?<=[\d}])\s*(?:percent(?:age)?|pct)(?![a-z])\.?"), "%"),
    (re.compile(r"(?<![A-Za-z])([AaPp])\.\s?[Mm](?![A-Za-z])\.?"), r"\1m"),
    (re.compile(r"\^\s*\{\s*\\prime\s*\}|\^\s*\\prime(?![a-z])"), "'"),
    (re.compile(r"\\(?:lfloor|rfloor|lceil|rceil|langle|rangle)(?![a-z])"), lambda match: match[0] + " "),
)


def plain(text: str) -> str:
    r"""The text in one spelling: ASCII but for `°`, no sizes, no spacing commands, no currency.

    `\text{…}` and its kin become `\text{…}` each; `\frac`, `\le`, `*`, `%`, `°` stand for their synonyms.
    """
    text = _over_escaped(_INVISIBLE.sub("", text))
    text = "".join(str(unicodedata.decimal(c)) if c > "\x7f" and c.isdecimal() else c for c in text)
    text = _VULGAR.sub(
        lambda match: r"\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", match[0]).split("⁄")), text
    )
    text = _SUPERSCRIPT_RUN.sub(_raised, text)
    text = _SUBSCRIPT_RUN.sub(lambda match: "_{" + match[0].translate(_SUBSCRIPTS) + "}", text)
    text = text.translate(_UNICODE)
    text = _BRACED_COMMA.sub(",", text)
    text = _SPACED_THOUSANDS.sub(lambda match: re.sub(r"\\?[^\d\\]", "", match[0]), text)
    text = _LOOKS.sub(" ", _CURRENCY.sub(" ", text))
    text = _SPACE.sub(" ", _SIZE.sub(" ", _DELIMITERS.sub(" ", text)))
    text = _REALS.sub(r"(-\\infty,\\infty)", text)
    text = _WRAPPER.sub("", text).replace("**", "^")
    text = _LONE_ROMAN.sub(r" \1", text)
    text = _PREAMBLE.sub("", _TEXT.sub(_roman, text), count=1)
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    text = _NEGATIVE.sub("-", text)
    return re.sub(r"\s+", " ", text).strip(" .,;:").removeprefix("=").lstrip()


def _raised(match: re.Match[str]) -> str:
    """An exponent: one digit without braces, which `\\text{cm²}` could not hold."""
    exponent = match[0].translate(_SUPERSCRIPTS)
    return f"^{exponent} " if exponent.isdecimal() and len(exponent) == 1 else f"^{{{exponent}}}"


def _over_escaped(text: str) -> str:
    r"""Undoes doubled backslashes (`\\frac` from an escaped string), which in matrices end a row."""
    if "\\\\" in text and "\\begin" not in text.replace("\\\\begin", ""):
        return _DOUBLED.sub(r"\\", text)
    return text


def _roman(match: re.Match[str]) -> str:
    r"""`\text{ and }` is a word, `\mathrm{e}` is e, `\text{13}` is 13; other text stays text, as `12\text{ m}` does."""
    content = match[1].strip()
    if content.strip(", ") in ("and", "or", ""):
        return f" {content} "
    before = match.string[max(match.start() - 3, 0) : match.start()].rstrip()
    if len(content) == 1 and is_letter(content) and (before[-1:].isdecimal() or before.endswith("}")):
        return rf"\text{{{content}}}"
    if (len(content) == 1 and content.isascii()) or re.fullmatch(r"[-\d.,/]+|\(?[A-Za-z]\)?", content):
        return f" {content} "
    return rf"\text{{{match[1]}}}"


class Token(NamedTuple):
    """A piece of a formula."""

    kind: str
    """`number`, `name`, `command`, `text`, or `mark` for operators and brackets."""
    text: str
    """As it is spelled after `plain`; of a text its content."""
    spaced: bool
    """Whether a space stood before it."""


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |\\text\{(?P<text>[^{}]*)\}
    |(?P<number>\d+(?:\.\d+|\.(?=\s*\\(?:overline|bar)))?|\.\d+)
    |(?P<brace>\\[{}|])
    |(?P<row>\\\\)
    |\\(?P<command>[A-Za-z]+)
    |(?P<name>[A-Za-z]+)
    |(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)


def tokens(text: str) -> list[Token]:
    """The tokens of a text that went through `plain`."""
    found: list[Token] = []
    spaced = False
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "mark"
        if kind == "space":
            spaced = True
            continue
        content = match[kind]
        found.append(Token("mark" if kind in ("brace", "row") else kind, content, spaced))
        spaced = False
    return found
