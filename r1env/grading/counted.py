"""What may stand after a number in an answer without changing it: the unit of what is counted.

Words that change a number (`5 Millionen`, `5 oder sechs`, `5 nicht`) have no end, so a unit has to be known: a
currency, a unit of measure, or a word of the question, inflected as it may be (`яблоки` in the question, `5 яблок` in
the answer). Of the question's words those do not count that are no unit in any question: multipliers, "or", "not".
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping

MAX_WORDS = 3
MAX_QUESTION_CHARS = 4_000
"""Of longer questions the end is looked at."""

_UNITS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "": """mm cm dm m km mm² cm² m² km² ha cm³ m³ ml cl l mg g kg t ms s min h in ft yd mi lb lbs oz mph kmh km/h m/s
            usd eur gbp us u.s""",
        "en": """dollar dollars euro euros pound pounds yen yuan rupee rupees percent second seconds minute minutes hour
            hours day days week weeks month months year years old meter meters metre metres kilometers kilometres
            kilogram kilograms gram grams liter liters litre litres mile miles inch inches foot feet yard yards gallon
            gallons ounce ounces""",
        "de": """dollar euro prozent sekunde sekunden minute minuten stunde stunden tag tage tagen woche wochen monat
            monate monaten jahr jahre jahren alt meter kilometer kilogramm gramm liter meile meilen uhr stück""",
        "es": """dólar dólares euro euros peso pesos segundo segundos minuto minutos hora horas día días semana semanas
            mes meses año años metro metros kilómetro kilómetros kilogramo kilogramos gramo gramos litro litros milla
            millas""",
        "fr": """dollar dollars euro euros seconde secondes minute minutes heure heures jour jours semaine semaines mois
            an ans année années mètre mètres kilomètre kilomètres kilogramme kilogrammes gramme grammes litre litres
            mile miles""",
        "ru": """доллар доллара долларов руб рубль рубля рублей евро процент процента процентов секунда секунды секунд
            минута минуты минут час часа часов день дня дней неделя недели недель месяц месяца месяцев год года лет
            метр метра метров километр километра километров килограмм килограмма килограммов грамм литр литра литров
            миля мили миль штука штуки штук шт м км кг г л""",
        "sw": """dola shilingi asilimia sekunde dakika saa siku wiki mwezi miezi mwaka miaka mita kilomita kilo gramu lita
            maili""",
        "bn": "টি টা জন খানা গুলি টাকা ডলার শতাংশ সেকেন্ড মিনিট ঘণ্টা ঘন্টা দিন সপ্তাহ মাস বছর মিটার কিলোমিটার কেজি গ্রাম লিটার মাইল",
        "te": """డాలర్లు డాలర్ రూపాయలు రూపాయి శాతం సెకన్లు నిమిషాలు నిమిషం గంటలు గంట రోజులు రోజు వారాలు వారం నెలలు నెల సంవత్సరాలు సంవత్సరం
            మీటర్లు కిలోమీటర్లు కిలోలు గ్రాములు లీటర్లు మైళ్ళు మైళ్లు మంది""",
        "th": """บาท ดอลลาร์ ดอลล่าร์ เปอร์เซ็นต์ วินาที นาที ชั่วโมง วัน สัปดาห์ เดือน ปี เมตร กิโลเมตร กิโลกรัม กรัม ลิตร ไมล์ คน ตัว ชิ้น อัน ใบ ลูก ฟอง
            เล่ม ต้น คัน""",
        "ja": """円 分 分間 ドル ユーロ パーセント 秒 時間 日 日間 週間 週 か月 ヶ月 カ月 年 年間 歳 才 メートル キロ キログラム グラム リットル マイル 個 人 本 枚 匹 頭 台
            冊 回 つ 羽 足 箱 袋 杯 点 ページ""",
        "zh": """元 块 美元 欧元 秒 分钟 小时 天 日 周 星期 个月 年 岁 米 公里 千克 公斤 克 升 英里 个 個 人 本 只 隻 张 次 件 条 名 位 辆 头 颗 朵 支 枚 盒 袋 杯 页""",
    }.items()
}

_NO_UNITS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": """hundred hundreds thousand thousands million millions billion billions trillion dozen dozens half halves
            third thirds quarter quarters tenth tenths score and plus minus times or nor vs versus but not no never
            wrong negative except k bn mn""",
        "de": """hundert tausend million millionen milliarde milliarden mio mrd tsd dutzend halb halbe halben hälfte
            drittel viertel zehntel und mal plus minus oder beziehungsweise bzw aber nicht kein keine keinen falsch
            doppelt""",
        "es": """cien ciento cientos mil millón millones docena docenas medio media mitad tercio tercios cuarto cuartos y
            e más menos por veces o u pero no ni nunca doble""",
        "fr": """cent cents mille million millions milliard milliards douzaine douzaines demi demie moitié tiers quart
            quarts et plus moins fois ou mais ne pas non ni jamais double""",
        "ru": """сто тысяча тысячи тысяч тыс миллион миллиона миллионов млн миллиард миллиарда миллиардов млрд дюжина
            дюжины дюжин половина половины половину треть трети четверть четверти и плюс минус раз раза или либо но
            не нет вдвое""",
        "sw": "mia elfu laki milioni bilioni dazeni nusu theluthi robo na au ama mara si sio hapana lakini",
        "bn": "শত শো হাজার লাখ লক্ষ কোটি ডজন অর্ধেক এবং ও আর বা অথবা কিন্তু না নয় গুণ দ্বিগুণ",
        "te": "వంద వందలు వేల వేలు వెయ్యి లక్ష కోటి కోట్లు డజను డజన్ల డజన్లు సగం మరియు లేదా కానీ కాదు లేదు రెట్లు",
    }.items()
}
# In scripts where words have no ends, what is counted may follow without a space.
_BEGINNINGS: Mapping[str, tuple[str, ...]] = {
    language: tuple(words.split())
    for language, words in {
        "bn": "শত শো হাজার লাখ লক্ষ কোটি ডজন অর্ধেক",
        "te": "వంద వేల వేలు వెయ్యి లక్ష కోటి కోట్లు డజను డజన్ల సగం",
        "th": "สิบ ร้อย พัน หมื่น แสน ล้าน โหล ครึ่ง เท่า และ หรือ กับ แต่ ไม่",
        "ja": "十 百 千 万 億 兆 半 割 倍 ダース か と や または あるいは もしくは で でない ない",
        "zh": "十 百 千 万 萬 億 亿 兆 半 成 分之 倍 打 点 點 或 和 还是 還是 与 不 非 没",
    }.items()
}
_UNSPACED = ("ja", "th", "zh")
_WORD = re.compile(r"(?:[^\W\d_]|[\u0300-\u036f\u0900-\u0dff\u0e31-\u0e4e'’²³/])+")


def is_unit(text: str, language: str, question: str = "") -> bool:
    """Whether a text after a number says what is counted and no more; true of an empty one.

    Args:
        text: What follows the number.
        language: ISO 639-1 code.
        question: Whose words may be meant.
    """
    words = [word.rstrip(".") for word in text.casefold().split()]
    if len(words) > MAX_WORDS:
        return False
    return all(_is_unit(word, language, question[-MAX_QUESTION_CHARS:]) for word in words)


def _is_unit(word: str, language: str, question: str) -> bool:
    if not _WORD.fullmatch(word) or word in _NO_UNITS["en"] | _NO_UNITS.get(language, frozenset()):
        return False
    if any(word in _UNITS.get(known, ()) for known in ("", "en", language)):
        return True
    if word.startswith(_BEGINNINGS.get(language, ("\0",))):
        return False
    if language not in _UNSPACED:
        return any(_related(_bare(word), other) for other in _words(question))
    if word in question.casefold():
        return True
    # "5个苹果": what one counts by, and what is counted.
    parts = (word[len(unit) :] for unit in _UNITS[language] if word.startswith(unit))
    return any(_is_unit(part, language, question) for part in parts)


@functools.lru_cache(maxsize=64)
def _words(question: str) -> frozenset[str]:
    return frozenset(_bare(word) for word in _WORD.findall(question.casefold()))


def _bare(word: str) -> str:
    """Without accents: `Äpfel` are made of `Apfel`."""
    return "".join(c for c in unicodedata.normalize("NFD", word) if not "\u0300" <= c <= "\u036f")


def _related(word: str, other: str) -> bool:
    """Whether two words are forms of one: they begin alike, or end alike as where prefixes inflect."""
    if word == other:
        return True
    for one, two in ((word, other), (word[::-1], other[::-1])):
        alike = next(
            (at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two))
        )
        if alike >= 3 and alike >= 0.6 * max(len(word), len(other)):
            return True
    return False
