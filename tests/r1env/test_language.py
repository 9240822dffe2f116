from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import ConfigError
from r1env.grading import language
from r1env.grading.language import MGSM_LANGUAGES, consistency, identify, sentences
from r1env.grading.scripts import LANGUAGES, words


@pytest.fixture(params=["py3langid", "stop words"])
def identifier(request, monkeypatch):
    """Both ways of telling languages apart."""
    if request.param == "py3langid":
        pytest.importorskip("py3langid")
    else:
        monkeypatch.setattr(language, "_identifiers", {})
        monkeypatch.setattr(language, "_by_py3langid", lambda languages: None)


@pytest.fixture(scope="module")
def rows(data_dir):
    with open(data_dir / "grader_cases" / "langid_dev.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def mgsm(data_dir):
    """The questions by language."""
    return {
        code: [
            line.split("\t")[0]
            for line in (data_dir / "mgsm" / f"mgsm_{code}.tsv").read_text(encoding="utf-8").splitlines()
        ]
        for code in MGSM_LANGUAGES
    }


# Three or four sentences of a fluent text, by its language, and the language of MGSM's that is asked for.
FOREIGN = {
    "pt": ("es", "Vamos resolver isto passo a passo. A Maria tinha doze livros e vendeu cinco. Depois comprou mais "
           "dois na feira. Assim, ela tem agora nove livros."),
    "gl": ("es", "Imos resolver isto paso a paso. María tiña doce libros e vendeu cinco deles. Despois mercou dous "
           "máis na feira. Daquela ten agora nove libros."),
    "ca": ("es", "Ho resoldrem pas a pas. La Maria tenia dotze llibres i en va vendre cinc. Després en va comprar "
           "dos més a la fira. Així que ara té nou llibres."),
    "it": ("fr", "Risolviamo il problema un passo alla volta. Maria aveva dodici libri e ne ha venduti cinque. Poi ne "
           "ha comprati altri due alla fiera. Quindi adesso ha nove libri."),
    "ro": ("fr", "Rezolvăm problema pas cu pas. Maria avea douăsprezece cărți și a vândut cinci dintre ele. Apoi a "
           "mai cumpărat două de la târg. Deci acum are nouă cărți."),
    "nl": ("de", "We lossen dit stap voor stap op. Maria had twaalf boeken en verkocht er vijf. Daarna kocht ze er "
           "nog twee op de markt. Nu heeft ze dus negen boeken."),
    "lb": ("de", "Mir léisen dat Schrëtt fir Schrëtt. D'Maria hat zwielef Bicher an huet der fënnef verkaaft. Duerno "
           "huet si der nach zwee um Maart kaaft. Also huet si elo néng Bicher."),
    "da": ("de", "Vi løser opgaven trin for trin. Maria havde tolv bøger og solgte fem af dem. Bagefter købte hun to "
           "mere på markedet. Derfor har hun nu ni bøger."),
    "no": ("de", "Vi løser oppgaven steg for steg. Maria hadde tolv bøker og solgte fem av dem. Etterpå kjøpte hun to "
           "til på markedet. Derfor har hun nå ni bøker."),
    "sv": ("de", "Vi löser uppgiften steg för steg. Maria hade tolv böcker och sålde fem av dem. Sedan köpte hon två "
           "till på marknaden. Därför har hon nu nio böcker."),
    "pl": ("de", "Rozwiążemy to krok po kroku. Maria miała dwanaście książek i sprzedała pięć z nich. Potem kupiła "
           "jeszcze dwie na targu. Ma więc teraz dziewięć książek."),
    "fi": ("de", "Ratkaistaan tehtävä askel kerrallaan. Marialla oli kaksitoista kirjaa ja hän myi niistä viisi. "
           "Sitten hän osti torilta vielä kaksi. Nyt hänellä on siis yhdeksän kirjaa."),
    "af": ("en", "Ons los dit stap vir stap op. Maria het twaalf boeke gehad en vyf daarvan verkoop. Daarna het sy "
           "nog twee by die mark gekoop. Nou het sy dus nege boeke."),
    "tr": ("es", "Bunu adım adım çözelim. Maria'nın on iki kitabı vardı ve beşini sattı. Sonra pazardan iki kitap "
           "daha aldı. Demek ki şimdi dokuz kitabı var."),
    "id": ("sw", "Kita selesaikan ini langkah demi langkah. Maria punya dua belas buku dan menjual lima di antaranya. "
           "Lalu dia membeli dua lagi di pasar. Jadi sekarang dia punya sembilan buku."),
    "rw": ("sw", "Reka tubikore intambwe ku yindi. Mariya yari afite ibitabo cumi na bibiri agurishamo bitanu. Nyuma "
           "yaho yaguze ibindi bibiri ku isoko. Ubu rero afite ibitabo icyenda."),
    "zu": ("sw", "Ake sikuxazulule lokhu isinyathelo ngesinyathelo. UMaria wayenezincwadi eziyishumi nambili "
           "wathengisa ezinhlanu. Emva kwalokho wathenga ezinye ezimbili emakethe. Manje unezincwadi eziyisishiyagalolunye."),
    "uk": ("ru", "Розв'яжемо це крок за кроком. Марія мала дванадцять книжок і продала п'ять із них. Потім вона "
           "купила ще дві на ярмарку. Отже, тепер у неї дев'ять книжок."),
    "be": ("ru", "Рашым гэта крок за крокам. Марыя мела дванаццаць кніг і прадала пяць з іх. Потым яна купіла яшчэ "
           "дзве на кірмашы. Значыць, цяпер у яе дзевяць кніг."),
    "bg": ("ru", "Ще решим това стъпка по стъпка. Мария имаше дванадесет книги и продаде пет от тях. След това купи "
           "още две от панаира. Значи сега тя има девет книги."),
    "sr": ("ru", "Решићемо ово корак по корак. Марија је имала дванаест књига и продала је пет. Затим је купила још "
           "две на вашару. Дакле, сада има девет књига."),
    "as": ("bn", "আমি এইটো খোজে খোজে সমাধান কৰিম। মাৰিয়াৰ বাৰখন কিতাপ আছিল আৰু তাই পাঁচখন বেচিলে। তাৰ পিছত মেলাৰ পৰা আৰু "
           "দুখন কিনিলে। গতিকে এতিয়া তাইৰ নখন কিতাপ আছে।"),
    "yue": ("zh", "我哋一步一步嚟計。阿美本身有十二本書，佢賣咗五本。之後佢喺墟度又買多咗兩本。所以佢而家有九本書。"),
}  # fmt: skip


@pytest.mark.parametrize("language", FOREIGN)
def test_another_language_is_not_the_one_asked_for(language):
    pytest.importorskip("py3langid", reason="stop words know no other languages")
    target, text = FOREIGN[language]
    assert consistency(text, target) < 0.1 and identify(text) is None


SHORT = {
    "ru": ["Сумма равна семи.", "Ответ готов.", "Один год прошёл.", "Марк старше Джона.", "У Анны пять яблок.",
           "Карандаш стоит два рубля.", "Йогурт дороже молока.", "Итого сорок два."],
    "es": ["La suma es siete.", "Uno dice ochenta.", "La caja pesa dos kilos.", "Marco vende libros.",
           "Ana come tres manzanas."],
    "fr": ["La somme est sept.", "Jean a trois sacs.", "Naomi marque deux points.", "Il en reste cinq."],
    "de": ["Das macht sieben.", "Eine Kiste wiegt vier Kilo.", "In der Dose sind Kekse.", "Wir sind fertig."],
    "en": ["The sum is seven.", "He answers in kind.", "Ann paid a total of ten.", "It is done."],
    "sw": ["Jumla ni saba.", "Juma ana maboksi matatu.", "Asha ana sarafu mbili.", "Jibu ni kumi."],
    "zh": ["总数是七。", "约翰有三个箱子。", "拉娜又多买了两只。"],
    "bn": ["মোট সাতটি।", "জনের কয়েকটি আপেল ভালো আছে।"],
}  # fmt: skip


@pytest.mark.parametrize("code", SHORT)
def test_a_short_sentence_is_not_lost_to_another_language_by_chance(code):
    for sentence in SHORT[code]:
        assert consistency(sentence, code) == 1, sentence
    assert consistency(" ".join(SHORT[code]), code) == 1


def test_what_stands_around_a_sentence_is_evidence_for_its_language():
    pytest.importorskip("py3langid", reason="stop words know no other languages")
    own = "Сначала сложим все яблоки, которые купили на рынке. {} Потом разделим остаток на троих."
    foreign = "Първо събираме всички ябълки, които купихме от пазара. {} След това делим остатъка на трима."
    for name in ("Марк", "Йордан"):
        sentence = f"{name} на пет години."  # Bulgarian, but short
        assert consistency(foreign.format(sentence), "ru") < 0.1
    for sentence in SHORT["ru"]:
        assert consistency(own.format(sentence), "ru") == 1
    # A whole sentence counts for its own language among others.
    german = "Zuerst addieren wir alle Äpfel, die wir auf dem Markt gekauft haben."
    danish = "Derefter trækker vi dem fra, som vi gav til vores naboer."
    assert 0.3 < consistency(f"{german} {danish} {german}", "de") < 0.8
    assert 0.2 < consistency(f"{danish} {german} {danish}", "de") < 0.5


def test_no_real_question_is_lost_to_another_language(mgsm):
    pytest.importorskip("py3langid")
    for code, questions in mgsm.items():
        shares = [consistency(question, code) for question in questions]
        assert len(shares) == 250 and sum(shares) >= 0.995 * 250, code


@pytest.mark.parametrize("kind", ["sentence", "mathy"])
def test_real_sentences_are_identified(identifier, rows, kind):
    labelled = [row for row in rows if row["kind"] == kind]
    right = sum(identify(row["text"]) == row["lang"] for row in labelled)
    assert len(labelled) > 1000 and right >= 0.99 * len(labelled)


def test_the_share_of_mixed_documents(identifier, rows):
    mixed = [row for row in rows if row["kind"] == "code_switched"]
    errors = [abs(consistency(row["text"], row["target"]) - row["true_prop"]) for row in mixed]
    assert len(errors) > 100 and sum(errors) / len(errors) <= 0.02


def test_a_fluent_text_in_the_wrong_language_earns_next_to_nothing(identifier, mgsm):
    for code, questions in mgsm.items():
        text = "\n".join(questions[:15])
        assert consistency(text, code) > 0.95, code
        for other in MGSM_LANGUAGES:
            if other != code:
                assert consistency(text, other) < 0.1, (code, other)


@pytest.mark.parametrize(
    "noise",
    [
        "", "12 + 5 = 17", "$x^2$", r"\[ \text{apples} = 5 \]", r"\boxed{\text{forty two}}", "```\nprint('hello')\n```",
        "`x = y`", "https://example.org/an/english/path", r"\frac{1}{2}\cdot\sqrt{3}", "<think>", "x = 3 * n", "१२३ ١٢٣",
        r"\begin{align} total &= 5 \\ price &= 3 \end{align}", "...", "```unclosed english code",
    ],
)  # fmt: skip
def test_noise_has_no_words_and_changes_no_share(identifier, noise):
    assert consistency(noise, "de") is None and identify(noise) is None
    german = "Wir rechnen zuerst den Preis aus und ziehen dann den Rabatt ab."
    english = "Then we add up what is left and divide it by three."
    for text in (f"{german} {english} {noise}", f"{german}\n{english}\n{noise}\n"):
        assert consistency(text, "de") == 1 / 2
        assert consistency(text, "en") == 1 / 2
        assert consistency(text, "fr") == 0


def test_money_is_no_formula(identifier):
    text = "She pays $5 for the eggs and gets $3 back."
    assert consistency(text, "en") == 1 and len(list(words(sentences(text)[0]))) == 8


@pytest.mark.parametrize(
    ("text", "target", "share"),
    [
        ("我们先计算苹果的数量。The rest is easy to find.", "zh", 10 / 16),
        ("Сначала сложим яблоки, then we take the rest away.", "ru", 3 / 9),
        ("ジャネットは卵を売ります。我们先计算苹果的数量。", "ja", 12 / 22),
        ("먼저 사과를 더합니다.", "en", 0),
        ("Janet 有五个苹果，Tom 有三个。", "zh", 1),  # names count with their sentence
        ("합계", "ko", 1),
    ],
)
def test_scripts_within_a_line_are_told_apart(identifier, text, target, share):
    assert consistency(text, target) == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Äpfel. Dazu drei! Wie viele?", 3),
        ("3.5 is not the end. 1.000 neither", 2),
        ("我有苹果。你有吗？有！", 3),
        ("আমি যাই। তুমি?", 2),
        ("one\ntwo\r\nthree", 3),
        ('He said "Go." Then he went.', 2),
        ("ก" * (3 * language.MAX_SENTENCE_CHARS), 3),
    ],
)
def test_sentences(text, count):
    assert len(sentences(text)) == count


def test_short_sentences_are_read_together(identifier):
    assert consistency("Ja. Genau.\nWir zählen:\nVier Äpfel.\nUnd dann?\nNoch drei.", "de") == 1


def test_other_languages_can_be_asked_for():
    pytest.importorskip("py3langid")
    text = "Dodajemy pięć i trzy, a potem odejmujemy wszystkie jabłka, które zjadła Ania."
    assert consistency(text, "pl") == 1 and consistency(text, "en") < 0.1


def test_every_language_on_offer_is_known_to_py3langid():
    langid = pytest.importorskip("py3langid.langid")
    known = langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE).labels
    assert set(LANGUAGES) <= set(known) and set(MGSM_LANGUAGES) <= set(LANGUAGES)


@pytest.mark.parametrize("code", ["xx", "german", "", None])
def test_an_unknown_language_is_named(code):
    with pytest.raises(ConfigError, match="cannot be told apart"):
        consistency("text", code)


def test_a_missing_package_is_said_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    monkeypatch.setattr(language, "_identifiers", {})
    monkeypatch.setattr(language, "_said_missing", False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert identify("How many apples are left?") == "en"
        assert identify("Wie viele Äpfel sind übrig?", ["de", "en"]) == "de"
    assert len(said) == 1 and "pip install" in str(said[0].message)


def test_the_package_is_loaded_only_where_a_language_is_named():
    pytest.importorskip("py3langid")
    program = """
import sys, r1env
for language in (None, "de"):
    env = r1env.make("r1env/Math-v0", reward={"language": language})
    env.warm_up()
    env.grade(env.task(index=0), "<think>Wir rechnen das aus.</think>")
    print("py3langid" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


HOSTILE = [
    "[" * 10**6, "\\[" * 500_000, "\\boxed{" * 140_000, "$a" * 500_000, "`" * 10**6, "` " * 500_000, "<a" * 500_000,
    "我们相加" * 250_000, '."' * 500_000, "$$" * 500_000, "x = " * 250_000, "x" * 10**6, "aไ是" * 330_000,
    "\x00\ud800a" * 330_000, "\\begin{" * 140_000, "{" * 10**6, "we add " * 150_000, "a\u0301" * 500_000, "\n" * 10**6,
    "a" + "\u0301\u0316" * 300_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:8]))
def test_a_megabyte_of_anything_takes_bounded_time(text):
    language.load("en")
    started = time.process_time()
    share = consistency(text, "en")
    assert share is None or 0 <= share <= 1
    assert time.process_time() - started < 5


def test_a_long_text_is_read_all_over():
    half = "We add up what is left of the apples. " * 5_000
    text = half + "Wir zählen alle Äpfel zusammen, die noch da sind. " * 5_000
    assert consistency(text, "en") == pytest.approx(0.5, abs=0.03)


@given(st.text(), st.sampled_from(MGSM_LANGUAGES))
def test_any_text_has_a_share_or_no_words(text, code):
    share = consistency(text, code)
    assert (share is None and identify(text) is None) or 0 <= share <= 1
    assert share == consistency(text, code)


def test_threads_agree_and_build_one_identifier(monkeypatch):
    monkeypatch.setattr(language, "_identifiers", {})
    text = "Wir addieren fünf und drei. Then we divide by two. Luego restamos uno."
    expected, found = consistency(text, "de"), []
    threads = [
        threading.Thread(target=lambda: found.extend(consistency(text, "de") for _ in range(50)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 400 and len(language._identifiers) == 1


# As a part of the reward.


def part(reasoning: str, **reward) -> float:
    env = r1env.make("r1env/Math-v0", reward=reward)
    return env.grade(env.task(index=0), reasoning).parts["language"]


def test_the_part_is_full_where_no_language_is_named():
    assert part("") == part("<think>Wir rechnen.</think>") == part("no tags at all") == 1


@pytest.mark.parametrize(
    ("response", "share"),
    [
        ("<think>Wir addieren die Zahlen und ziehen eins ab.</think><answer>we are done</answer>", 1),
        ("<think>We add the numbers and take one away.</think><answer>wir sind fertig</answer>", 0),
        ("<think>Wir addieren die Zahlen und ziehen eins", 1),  # cut in its reasoning
        ("<think>3 + 4 = 7</think><answer>7</answer>", 0),  # no words
        ("<think></think><answer>7</answer>", 0),
        ("Wir addieren die Zahlen und ziehen eins ab.", 0),  # no chain of thought
        ("", 0),
    ],
)
def test_the_part_measures_the_chain_of_thought_alone(response, share):
    assert part(response, language="de") == share


def test_the_part_weighs_what_it_is_told():
    env = r1env.make("r1env/Math-v0", reward={"language": "en", "weights": {"format": 0.1, "language": 0.2}})
    task = env.task(index=0)
    answer = f"<answer>{task.answer}</answer>"
    assert env.grade(task, f"<think>We add the numbers up.</think>{answer}").reward == pytest.approx(1.3)
    assert env.grade(task, f"<think>Wir addieren die Zahlen.</think>{answer}").reward == pytest.approx(1.1)
    with pytest.raises(ConfigError, match="did you mean 'de'"):
        r1env.make("r1env/Math-v0", reward={"language": "dee"})


def test_the_configuration_reaches_the_environment():
    from agents.cli import checked, compose
    from agents.config import GRPOConfig

    overrides = ["env=math", "model=tiny", "env.reward.language=de"]
    cfg = checked(compose("grpo", overrides), GRPOConfig)
    env = r1env.make(cfg.env.id, **cfg.env.kwargs())
    assert env.language(env.task(index=0)) == env.reward_config.language == "de"
    assert "language" not in checked(compose("grpo", overrides[:2]), GRPOConfig).env.kwargs()["reward"]
