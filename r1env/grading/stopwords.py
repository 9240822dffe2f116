"""Tells languages in Latin letters apart by their commonest words and the shapes of the others; no dependency.

What `r1env.grading.language` uses where py3langid is not installed. Only the languages of `_WORDS` are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "de": """der die das den dem des ein eine einen einem einer eines und oder aber nicht kein keine ist sind war
            waren wird werden wurde hat haben hatte kann er sie es wir ihr ihre ihren sein seine seinen sich mit von
            vom zu zum zur in im auf aus bei für pro nach an am um als wie viel viele wenn dann also auch noch nur
            so mehr jede jeden jeder jedes insgesamt alle beide dass davon dazu über unter eins zwei drei vier fünf
            sechs sieben acht neun zehn elf zwölf hundert tausend mal""",
        "en": """the a an and or but not no is are was were be been has have had do does did can will would he she it
            we they i you his her its their them him with of to in on at by for from as than if then so also still
            only more each every all both that this these those there how many much what when who which per total
            zero one two three four five six seven eight nine ten eleven twelve hundred thousand left times some
            other another after before out up us""",
        "es": """el la los las un una unos unas y o pero no es son era fue fueron ha han había hay tiene tienen puede
            él ella ellos su sus se lo le les con de del a al en por para desde como que si entonces también aún
            solo más cada todos todas ambos esto este esta estos cuánto cuánta cuántos cuántas qué cuando quien
            total uno dos tres cuatro cinco seis siete ocho nueve diez once doce cien mil veces igual entre""",
        "fr": """le la les un une des du de d l et ou mais ne pas est sont était a ont avait il elle ils elles on nous
            vous son sa ses leur leurs se s c qu n y avec à au aux en par pour dans sur sous chez comme que si alors
            donc aussi encore seulement plus chaque tous toutes deux ce cet cette ces combien quel quelle quand qui
            total zéro un trois quatre cinq six sept huit neuf dix onze douze cent mille fois égale lui""",
        "sw": """na ya wa za la cha vya kwa ni si katika kila kama hii hiyo huyo hizo hao yake wake zake lake chake
            vyake yao wao zao ikiwa iwapo basi pia bado tu zaidi kuliko yote wote zote jumla ngapi wangapi mangapi
            ana ina wana kuna alikuwa ilikuwa baada kabla sasa lakini au sawa mara sifuri moja mbili tatu nne tano
            sita saba nane tisa kumi mia elfu ishirini kisha hivyo kiasi gani""",
    }.items()
}

_SHAPES: Mapping[str, re.Pattern[str]] = {
    "de": re.compile("[äöüß]|sch|(?:ung|lich|isch|cht|tz|en|er|keit|heit)$"),
    "en": re.compile("(?:ing|ed|ght|th|sh|ck|ly|ow|ee|ay|y)|^wh|^th"),
    "es": re.compile("[ñíóáú]|(?:ción|ado|ada|os|as|dad|mente)$"),
    "fr": re.compile("[çœèêâîôû]|é|(?:eau|eux|aux|ait|ent|ez|elle|que)$"),
    "sw": re.compile("^(?:wa|ki|vi|a[lnt]i|ana|una|ili|wali|ku|mi|ma|ny|mw|u)[a-z]*[aeiou]$"),
}

MAX_WORD_CHARS = 40
"""Longer words say nothing about a language."""


def guess(text: str, languages: Sequence[str]) -> str:
    """The language that fits the text best: a common word counts 1, a typical shape a third.

    Args:
        text: Words in Latin letters.
        languages: The candidates. One that is not known here never fits better than one that is.

    Returns:
        One of the candidates; of those that fit equally well English, else the first.
    """
    found = [word for word in re.findall(r"[^\W\d_]+", text.lower()) if len(word) <= MAX_WORD_CHARS]
    fit = dict.fromkeys(sorted(languages, key=lambda language: language != "en"), 0.0)
    for language in fit.keys() & _WORDS.keys():
        common, shape = _WORDS[language], _SHAPES[language]
        fit[language] = sum(1.0 if word in common else bool(shape.search(word)) / 3 for word in found)
    return max(fit, key=lambda language: fit[language])
