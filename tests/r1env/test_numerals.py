from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.grading.language import MGSM_LANGUAGES
from r1env.grading.numerals import CONVENTIONS, ENGLISH, read_numeral

READ = {
    "de": {"1.234": 1234, "1,234": "1.234", "1.234,5": "1234.5", "1'234": 1234, "1 234": 1234, "3.75": "3.75",
           "1,234,567": 1234567, "1234.567": "1234.567", "0.125": "0.125", "18 Äpfel": 18, "18,00 €": 18, "1.5": "1.5"},
    "en": {"1.234": "1.234", "1,234": 1234, "1,234.5": "1234.5", "$18": 18, r"\$18": 18, "18.": 18, "$1{,}234$": 1234,
           r"18\%": 18, "18 cents": 18, "18 US dollars": 18, "+5": 5, "−5": -5, ".5": "0.5", "18.00": 18, "012": 12,
           r"18 \text{ apples}": 18},
    "es": {"1.234": 1234, "1 234": 1234, "1,5": "1.5", "18 manzanas": 18, "2.5": "2.5"},
    "fr": {"1 234": 1234, "1\u202f234,5": "1234.5", "1,5": "1.5", "18 pommes": 18, r"1\,234": 1234, "2.5": "2.5"},
    "ru": {"1\u00a0234": 1234, "1,5": "1.5", "18 яблок": 18, "18 руб.": 18},
    "sw": {"1,234": 1234, "1.5": "1.5", "18 matofaa": 18},
    "bn": {"১৮": 18, "১,২৩৪": 1234, "১২,৩৪,৫৬৭": 1234567, "1,234,567": 1234567, "১৮টি": 18, "১.৫": "1.5", "-৫": -5},
    "te": {"౧౮": 18, "౧,౨౩౪": 1234, "12,34,567": 1234567, "18 రూపాయలు": 18},
    "th": {"๑๘": 18, "๑,๒๓๔": 1234, "18 บาท": 18, "18บาท": 18},
    "ja": {"十八": 18, "二十": 20, "百": 100, "3万5千": 35000, "千二百": 1200, "１８": 18, "18個": 18, "十八個": 18, "1,234円": 1234,
           "二〇二四": 2024, "一億二千万": 120_000_000},
    "zh": {"一千零五": 1005, "两百": 200, "两万三千": 23000, "1.5亿": 150_000_000, "18 元": 18, "零": 0},
}  # fmt: skip

QUESTIONS = {
    "de": "Auf dem Baum hängen 20 Äpfel. Wie viele sind das?",
    "en": "She has 20 apples, at 30 cents a piece. How many are left?",
    "es": "Compra manzanas. ¿Cuántas quedan?",
    "fr": "Il reste des pommes. Combien ?",
    "ru": "Яблоки: 20. Сколько их осталось?",
    "sw": "Matofaa: 20. Ni mangapi?",
    "bn": "আপেল: ২০। এখন মোট কত?",
    "te": "ఆపిల్స్: 20. మొత్తం ఎన్ని?",
    "th": "แอปเปิล: 20 ตอนนี้มีกี่ผล",
    "ja": "りんご：20。今いくつ？",
    "zh": "苹果：20。现在有多少？",
}
UNITS = {
    "de": ["Apfel", "Äpfel", "km", "Stunden", "Euro"],
    "en": ["apple", "apples left", "hours", "US dollars", "cm"],
    "es": ["manzana", "euros", "días"],
    "fr": ["pomme", "pommes", "ans"],
    "ru": ["яблоко", "яблок", "лет", "руб."],
    "sw": ["tofaa", "matofaa", "dola"],
    "bn": ["টি", "টি আপেল", "টাকা"],
    "te": ["ఆపిల్స్", "రూపాయలు"],
    "th": ["ผล", "แอปเปิล", "บาท"],
    "ja": ["個", "りんご", "円", "分"],
    "zh": ["个", "个苹果", "苹果", "元"],
}
NO_UNITS = {  # multiply, negate, or name another number
    "de": ["Mio.", "nicht", "zehn", "beziehungsweise zehn", "oder sechs", "Zehntel", "falsch", "Äpfel oder sechs"],
    "en": ["bn", "k", "tenths", "hundredths", "negative", "vs six", "or six", "not", "wrong", "eleven", "score", "grand",
           "apples not"],
    "es": ["u ocho", "o seis", "mil", "no", "docenas de manzanas"],
    "fr": ["ou six", "mille", "milliers", "pas", "douzaines de pommes"],
    "ru": ["тыс.", "млн", "либо шесть", "или шесть", "не"],
    "sw": ["au sita", "elfu", "si"],
    "bn": ["বা ছয়", "হাজার", "না"],
    "te": ["లేదా ఆరు", "వేలు", "కాదు"],
    "th": ["หรือหก", "ล้าน", "ไม่ใช่"],
    "ja": ["か六", "ダース", "個か六", "ではない", "万円か"],
    "zh": ["或六", "不对", "个或六", "打", "not", "wrong", "eleven"],
}  # fmt: skip

REFUSED = {
    "de": ["5 Millionen", "1.23.456", "fünf", "1,2,3", "18 mal"],
    "en": ["", " ", "1,23", "3 + 4", "3/4", "18, 19", "18 19", "5 dozen", "2 hundred", "--5", "1e9", "1১", "18 or 19",
           "18.5.3", "½", "2^5", "5!", "one two three four", "18 a b c d", "٣४", "1,234,56"],
    "es": ["5 mil", "5 docenas"],
    "fr": ["1.234", "5 mille", "5 cent"],
    "ru": ["1.234", "5 тысяч"],
    "sw": ["5 elfu"],
    "bn": ["৫ লাখ", "৫লাখ টাকা"],
    "te": ["5 వేల"],
    "th": ["5 ล้าน", "5ล้านบาท", "5หมื่น"],
    "ja": ["18万半", "三二十", "十百", "万", "2割", "五四万三百千"],
    "zh": ["3打", "十二分之一"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("language", "text", "value"), [(code, *case) for code, cases in READ.items() for case in cases.items()]
)
def test_numerals_are_read_as_the_language_writes_them(language, text, value):
    assert read_numeral(text, language, QUESTIONS[language]) == Fraction(value)


@pytest.mark.parametrize("language", MGSM_LANGUAGES)
def test_a_unit_is_known_or_stands_in_the_question(language):
    for unit in UNITS[language]:
        for space in (" ", ""):
            assert read_numeral(f"5{space}{unit}", language, QUESTIONS[language]) == 5, unit
    for words in NO_UNITS[language]:
        for space in (" ", ""):
            assert read_numeral(f"5{space}{words}", language, QUESTIONS[language]) is None, words
            assert read_numeral(f"5{space}{words}", language) is None, words
    # A question cannot make a unit of what is none.
    question = f"{QUESTIONS[language]} 10, nicht or no или o mil 或 か হাজার లేదా au หรือ million Mio."
    for words in ("or", "not", "million", "nicht" if language == "de" else "no", "5"):
        assert read_numeral(f"5 {words}", language, question) is None


def test_what_is_counted_has_to_stand_in_the_question():
    assert read_numeral("18 apples", "en", "How many apples?") == 18
    assert read_numeral("18 apples", "en", "How many pears?") is None
    assert read_numeral("18 apples", "en", "apples " + "x " * 10**6) is None  # of a long question the end


@pytest.mark.parametrize(("language", "text"), [(code, text) for code, all in REFUSED.items() for text in all])
def test_what_is_no_single_number_is_refused(language, text):
    assert read_numeral(text, language) is None


@given(st.sampled_from(MGSM_LANGUAGES), st.integers(-(10**12), 10**12), st.integers(0, 9999))
def test_what_a_language_writes_it_reads(language, whole, decimals):
    convention = CONVENTIONS.get(language, ENGLISH)
    for value in (str(whole), f"{whole}.{decimals}"):
        assert read_numeral(convention.write(value), language) == Fraction(value)
        assert read_numeral(str(whole), language) == whole


@given(
    st.sampled_from(MGSM_LANGUAGES),
    st.integers(0, 10**9),
    st.sampled_from([0x966, 0x9E6, 0xC66, 0xE50, 0xFF10]),
)
def test_digits_of_any_script_count(language, value, zero):
    native = str(value).translate({ord("0") + digit: zero + digit for digit in range(10)})
    assert read_numeral(native, language) == value


@given(st.text(alphabet="0123456789.,' 万千百十一二3-+৫π$%{}\\abc"), st.sampled_from(MGSM_LANGUAGES))
def test_nothing_raises(text, language):
    value = read_numeral(text, language)
    assert value is None or isinstance(value, Fraction)


@pytest.mark.parametrize("text", ["1" * 10**6, "1," * 500_000, "十" * 10**6, "{" * 10**6, "1 a" * 300_000])
def test_a_megabyte_is_no_number(text):
    started = time.process_time()
    assert read_numeral(text, "ja") is None and time.process_time() - started < 0.5
