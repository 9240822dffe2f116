r"""Words that change the number beside them, in the languages of MGSM: one table for all graders.

Number words, multipliers and fractions (`5 million`, `5 Dutzend`), alternatives (`5 or six`), denials (`5 nicht`) and
operations (`5 less two`). Words that merely judge what is counted (`5 wrong answers`) are not among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LATIN: Mapping[str, str] = {
    "en": """
        zero one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety
        ones twos threes fours fives sixes sevens eights nines tens twelves twenties
        hundred hundreds thousand thousands grand grands dozen dozens score gross myriad myriads lakh lakhs crore crores googol
        googols googolplex k kilo mega giga bn tn mn mln mrd half halves third thirds quarter twice thrice once basis bps
        ppm ppb permil permille
        or and but not no none never nor neither nope isn aren wasn weren don doesn cannot if then else unless except instead
        rather versus vs alias maybe perhaps possibly probably either otherwise always sometimes yes ignore
        is are was were be been being has does equals makes gives becomes fails works means
        than least most between from through to plus minus over divided multiplied by squared cubed factorial sqrt mod modulo
        infinity infty""",
    "de": """
        null ein eins eine einen zwei drei vier fünf fuenf sechs sieben acht neun zehn elf zwölf zwoelf dreißig dreissig
        hundert hunderte tausend tausende tsd mio mrd million millionen milliarde milliarden dutzend dutzende halb halbe hälfte
        drittel viertel doppelt dreifach
        oder und aber sondern statt sonst wenn falls vielleicht eventuell möglicherweise beziehungsweise bzw weder noch entweder
        nicht nichts nein nie niemals kein keine keiner falsch ist sind war mal durch geteilt hoch weniger als bis""",
    "es": """
        cero uno una dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince veinte treinta cuarenta
        cincuenta sesenta setenta ochenta noventa cien ciento cientos mil millar millares millón millon millones docena docenas
        mils decena decenas medio medios medias tercio tercios cuarto cuartos mitad mitades
        o u y e ni pero sino si quizás quizas tal vez acaso no nunca jamás jamas falso es más mas menos por entre sobre hasta""",
    "fr": """
        zéro un une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize vingt trente quarante
        cinquante soixante mille millier milliers dizaine dizaines douzaine douzaines vingtaine centaine centaines demi demis
        demie demies tiers moitié
        ou et mais ni sinon soit peut être sans ne pas jamais faux sauf est sont plus moins fois sur par entre""",
    "sw": """
        sifuri moja mbili tatu nne tano sita saba nane tisa kumi ishirini thelathini arobaini hamsini sitini sabini themanini
        tisini mia elfu laki milioni bilioni dazeni nusu theluthi robo
        au ama na lakini labda pengine si sio siyo hapana kamwe hakuna ni mara jumlisha toa gawanya kasoro""",
}  # fmt: skip
"""Words of the languages that share the Latin letters, which are looked for in any of them."""

SPACED: Mapping[str, str] = {
    "ru": """
        ноль один одна одно два две три четыре пять шесть семь восемь девять десять двадцать тридцать сорок пятьдесят девяносто
        сто двести триста тысяча тысячи тысяч тыс миллион миллиона миллионов млн миллиард миллиарда миллиардов млрд триллион
        триллиона триллионов дюжина дюжины дюжин десяток десятка десятков сотня сотни сотен половина половины треть трети
        четверть четверти или либо и а но иначе возможно может быть не нет ни никогда неверно есть плюс минус раз на от до""",
    "bn": """
        শূন্য এক দুই তিন চার পাঁচ ছয় সাত আট নয় দশ এগারো বারো শত শো হাজার লাখ লক্ষ কোটি ডজন অর্ধেক আধা বা অথবা কিংবা এবং ও
        কিন্তু হয়তো না নয় নেই যোগ বিয়োগ গুণ ভাগ""",
    "te": """
        సున్నా ఒకటి రెండు మూడు నాలుగు ఐదు ఆరు ఏడు ఎనిమిది తొమ్మిది పది వంద వందలు వేల వేలు వెయ్యి లక్ష లక్షలు కోటి కోట్లు డజను
        డజన్ల సగం లేదా మరియు కానీ కాదు లేదు""",
}
"""Words of languages that are written with spaces in letters of their own."""

JOINED = (
    *"零〇一二两兩三四五六七八九十百千万萬亿億兆半割成打不没沒無无非未错錯误誤否以",
    *"หรือ ไม่ ศูนย์ หนึ่ง สอง สาม สี่ ห้า หก เจ็ด แปด เก้า สิบ ร้อย พัน หมื่น แสน ล้าน โหล ครึ่ง".split(),  # noqa: SIM905
)
"""Signs and words of languages that are written without spaces: Chinese, Japanese, Thai."""

_HARMLESS = re.compile("千(?:克|米|瓦|卡)|成人")
_FAMILIES = re.compile(
    r"[a-z]*illi(?:on|ard)(?:s|e|en|es)?|[a-z]*ill(?:ó|o)n(?:es)?"
    r"|(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)tie|hundred|thousand|[a-z]+illion)ths?"
    r"|(?:thir|four|fif|six|seven|eigh|nine)teens?|(?:thir|for|fif|six|seven|eigh|nine)ties"
    r"|[a-zäöüß]*(?:zehn|zig|ßig|hundert|tausend)(?:stel|tel)?|(?:fünf|fuenf|sechs|sieb|ach|neun)tel"
    r"|(?:dieci|veinti)[a-zéíó]+|[a-z]+cient[oa]s"
)
_KNOWN = frozenset(word for texts in (LATIN, SPACED) for text in texts.values() for word in text.split())
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f\u0900-\u0dff'’])*")


def split(text: str) -> list[str]:
    """The words of a text without case; of `isn't` both sides of the apostrophe."""
    return [part for word in _WORD.findall(text.casefold()) for part in re.split("['’]", word) if part]


def changes_number(text: str) -> bool:
    """Whether a word of the text may change a number beside it, or offers another one."""
    if any(word in _KNOWN or _FAMILIES.fullmatch(word) for word in split(text)):
        return True
    return not text.isascii() and any(sign in _HARMLESS.sub("", text) for sign in JOINED)
