"""Phrases of eleven languages from which `r1env.envs.multilingual` makes word problems and their working.

Every sentence puts its number behind a colon (`Apples: 5.`) or between words that do not change with it, so
that gender, number and case agree whatever is filled in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """What one language needs. `{a}`, `{b}`, `{c}` are numbers, `{things}` is one of `things`."""

    things: tuple[str, ...]
    """What is counted, in the plural."""
    start: str
    """How many there are at first."""
    boxes: str
    """How many boxes there are, and how many things in each."""
    more: str
    """How many are added."""
    fewer: str
    """How many are taken away."""
    ask: str
    """How many there are now."""
    plus: str
    """The working of an addition."""
    minus: str
    """The working of a subtraction."""
    times: str
    """The working of a multiplication."""
    numbers: tuple[str, ...]
    """The names of 0 to 20."""
    think: str
    """Asks for reasoning in this language."""
    given: str
    """Says that nothing but the answer is known."""
    space: str = " "
    """Between two sentences."""


def _list(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(","))


LANGUAGES: Mapping[str, Phrases] = {
    "bn": Phrases(
        things=_list("আপেল, বই, কলম, মুদ্রা, ডিম, কার্ড, ফুল, পাথর"),
        start="{things}: {a}।",
        boxes="বাক্স: {a}। প্রতি বাক্সে {things}: {b}।",
        more="যোগ হল: {b}।",
        fewer="বাদ গেল: {b}।",
        ask="এখন মোট কত?",
        plus="যোগ করি: {a} যোগ {b} সমান {c}।",
        minus="বিয়োগ করি: {a} বিয়োগ {b} সমান {c}।",
        times="গুণ করি: {a} গুণ {b} সমান {c}।",
        numbers=_list(
            "শূন্য, এক, দুই, তিন, চার, পাঁচ, ছয়, সাত, আট, নয়, দশ, এগারো, বারো, তেরো, চৌদ্দ, পনেরো, ষোলো, সতেরো, "
            "আঠারো, উনিশ, বিশ"
        ),
        think="বাংলায় চিন্তা করো।",
        given="এই উত্তরটি প্রশ্নের সাথে দেওয়া আছে।",
    ),
    "de": Phrases(
        things=_list("Äpfel, Bücher, Stifte, Münzen, Eier, Karten, Blumen, Steine"),
        start="{things}: {a}.",
        boxes="Kisten: {a}. {things} je Kiste: {b}.",
        more="Dazu kommen: {b}.",
        fewer="Weg kommen: {b}.",
        ask="Wie viele sind es jetzt?",
        plus="Wir addieren: {a} plus {b} ist gleich {c}.",
        minus="Wir ziehen ab: {a} minus {b} ist gleich {c}.",
        times="Wir nehmen mal: {a} mal {b} ist gleich {c}.",
        numbers=_list(
            "null, eins, zwei, drei, vier, fünf, sechs, sieben, acht, neun, zehn, elf, zwölf, dreizehn, vierzehn, "
            "fünfzehn, sechzehn, siebzehn, achtzehn, neunzehn, zwanzig"
        ),
        think="Denke auf Deutsch.",
        given="Diese Antwort gehört zur Aufgabe.",
    ),
    "en": Phrases(
        things=_list("Apples, Books, Pencils, Coins, Eggs, Cards, Flowers, Stones"),
        start="{things}: {a}.",
        boxes="Boxes: {a}. {things} in each box: {b}.",
        more="Added: {b}.",
        fewer="Taken away: {b}.",
        ask="How many are there now?",
        plus="We add them up: {a} plus {b} is {c}.",
        minus="We take away: {a} minus {b} is {c}.",
        times="We multiply: {a} times {b} is {c}.",
        numbers=_list(
            "zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, "
            "fifteen, sixteen, seventeen, eighteen, nineteen, twenty"
        ),
        think="Think in English.",
        given="This answer comes with the task.",
    ),
    "es": Phrases(
        things=_list("Manzanas, Libros, Lápices, Monedas, Huevos, Cartas, Flores, Piedras"),
        start="{things}: {a}.",
        boxes="Cajas: {a}. {things} en cada caja: {b}.",
        more="Se añaden: {b}.",
        fewer="Se quitan: {b}.",
        ask="¿Qué cantidad hay ahora?",
        plus="Sumamos: {a} más {b} es igual a {c}.",
        minus="Restamos: {a} menos {b} es igual a {c}.",
        times="Multiplicamos: {a} por {b} es igual a {c}.",
        numbers=_list(
            "cero, uno, dos, tres, cuatro, cinco, seis, siete, ocho, nueve, diez, once, doce, trece, catorce, quince, "
            "dieciséis, diecisiete, dieciocho, diecinueve, veinte"
        ),
        think="Piensa en español.",
        given="Esta respuesta viene con la tarea.",
    ),
    "fr": Phrases(
        things=_list("Pommes, Livres, Crayons, Pièces, Œufs, Cartes, Fleurs, Pierres"),
        start="{things} : {a}.",
        boxes="Boîtes : {a}. {things} dans chaque boîte : {b}.",
        more="On ajoute : {b}.",
        fewer="On enlève : {b}.",
        ask="Combien y en a-t-il maintenant ?",
        plus="On ajoute : {a} plus {b} est égal à {c}.",
        minus="On enlève : {a} moins {b} est égal à {c}.",
        times="On multiplie : {a} fois {b} est égal à {c}.",
        numbers=_list(
            "zéro, un, deux, trois, quatre, cinq, six, sept, huit, neuf, dix, onze, douze, treize, quatorze, quinze, "
            "seize, dix-sept, dix-huit, dix-neuf, vingt"
        ),
        think="Réfléchis en français.",
        given="Cette réponse est donnée avec la question.",
    ),
    "ja": Phrases(
        things=_list("りんご, 本, 鉛筆, コイン, 卵, カード, 花, 石"),
        start="{things}：{a}。",
        boxes="箱：{a}。各箱の{things}：{b}。",
        more="増えた数：{b}。",
        fewer="減った数：{b}。",
        ask="今いくつですか。",
        plus="足し算をすると、{a}たす{b}は{c}です。",
        minus="引き算をすると、{a}ひく{b}は{c}です。",
        times="かけ算をすると、{a}かける{b}は{c}です。",
        numbers=_list(
            "零, 一, 二, 三, 四, 五, 六, 七, 八, 九, 十, 十一, 十二, 十三, 十四, 十五, 十六, 十七, 十八, 十九, 二十"
        ),
        think="日本語で考えてください。",
        given="この答えは問題と一緒に与えられています。",
        space="",
    ),
    "ru": Phrases(
        things=_list("Яблоки, Книги, Карандаши, Монеты, Яйца, Карты, Цветы, Камни"),
        start="{things}: {a}.",
        boxes="Коробки: {a}. {things} в каждой коробке: {b}.",
        more="Добавили: {b}.",
        fewer="Убрали: {b}.",
        ask="Сколько их теперь?",
        plus="Складываем: {a} плюс {b} равно {c}.",
        minus="Вычитаем: {a} минус {b} равно {c}.",
        times="Умножаем: {a} умножить на {b} равно {c}.",
        numbers=_list(
            "ноль, один, два, три, четыре, пять, шесть, семь, восемь, девять, десять, одиннадцать, двенадцать, "
            "тринадцать, четырнадцать, пятнадцать, шестнадцать, семнадцать, восемнадцать, девятнадцать, двадцать"
        ),
        think="Думай по-русски.",
        given="Этот ответ дан вместе с задачей.",
    ),
    "sw": Phrases(
        things=_list("Matofaa, Vitabu, Kalamu, Sarafu, Mayai, Kadi, Maua, Mawe"),
        start="{things}: {a}.",
        boxes="Masanduku: {a}. {things} katika kila sanduku: {b}.",
        more="Kuongeza: {b}.",
        fewer="Kupunguza: {b}.",
        ask="Jumla sasa ni ngapi?",
        plus="Tunajumlisha: {a} jumlisha {b} ni sawa na {c}.",
        minus="Tunatoa: {a} toa {b} ni sawa na {c}.",
        times="Tunazidisha: {a} mara {b} ni sawa na {c}.",
        numbers=_list(
            "sifuri, moja, mbili, tatu, nne, tano, sita, saba, nane, tisa, kumi, kumi na moja, kumi na mbili, "
            "kumi na tatu, kumi na nne, kumi na tano, kumi na sita, kumi na saba, kumi na nane, kumi na tisa, ishirini"
        ),
        think="Fikiri kwa Kiswahili.",
        given="Jibu hili limetolewa pamoja na swali.",
    ),
    "te": Phrases(
        things=_list("ఆపిల్స్, పుస్తకాలు, పెన్నులు, నాణేలు, గుడ్లు, కార్డులు, పూలు, రాళ్ళు"),
        start="{things}: {a}.",
        boxes="పెట్టెలు: {a}. ప్రతి పెట్టెలో {things}: {b}.",
        more="కలిపినవి: {b}.",
        fewer="తీసినవి: {b}.",
        ask="ఇప్పుడు ఎన్ని?",
        plus="కూడుదాం: {a} ప్లస్ {b} సమానం {c}.",
        minus="తీసివేద్దాం: {a} మైనస్ {b} సమానం {c}.",
        times="గుణిద్దాం: {a} ఇంటూ {b} సమానం {c}.",
        numbers=_list(
            "సున్నా, ఒకటి, రెండు, మూడు, నాలుగు, ఐదు, ఆరు, ఏడు, ఎనిమిది, తొమ్మిది, పది, పదకొండు, పన్నెండు, పదమూడు, "
            "పద్నాలుగు, పదిహేను, పదహారు, పదిహేడు, పద్దెనిమిది, పంతొమ్మిది, ఇరవై"
        ),
        think="తెలుగులో ఆలోచించు.",
        given="ఈ జవాబు ప్రశ్నతో పాటు ఇవ్వబడింది.",
    ),
    "th": Phrases(
        things=_list("แอปเปิล, หนังสือ, ดินสอ, เหรียญ, ไข่, การ์ด, ดอกไม้, ก้อนหิน"),
        start="{things}: {a}",
        boxes="กล่อง: {a} {things}ในแต่ละกล่อง: {b}",
        more="เพิ่ม: {b}",
        fewer="เอาออก: {b}",
        ask="ตอนนี้มีเท่าไร",
        plus="นำมาบวกกัน {a} บวก {b} เท่ากับ {c}",
        minus="นำมาลบกัน {a} ลบ {b} เท่ากับ {c}",
        times="นำมาคูณกัน {a} คูณ {b} เท่ากับ {c}",
        numbers=_list(
            "ศูนย์, หนึ่ง, สอง, สาม, สี่, ห้า, หก, เจ็ด, แปด, เก้า, สิบ, สิบเอ็ด, สิบสอง, สิบสาม, สิบสี่, สิบห้า, สิบหก, "
            "สิบเจ็ด, สิบแปด, สิบเก้า, ยี่สิบ"
        ),
        think="คิดเป็นภาษาไทย",
        given="คำตอบนี้มาพร้อมกับโจทย์",
    ),
    "zh": Phrases(
        things=_list("苹果, 书, 铅笔, 硬币, 鸡蛋, 卡片, 花, 石头"),
        start="{things}：{a}。",
        boxes="箱子：{a}。每箱{things}：{b}。",
        more="增加：{b}。",
        fewer="减少：{b}。",
        ask="现在有多少？",
        plus="我们相加：{a}加{b}等于{c}。",
        minus="我们相减：{a}减{b}等于{c}。",
        times="我们相乘：{a}乘{b}等于{c}。",
        numbers=_list(
            "零, 一, 二, 三, 四, 五, 六, 七, 八, 九, 十, 十一, 十二, 十三, 十四, 十五, 十六, 十七, 十八, 十九, 二十"
        ),
        think="请用中文思考。",
        given="这个答案是随题目给出的。",
        space="",
    ),
}
"""By ISO 639-1 code: the languages of MGSM."""
