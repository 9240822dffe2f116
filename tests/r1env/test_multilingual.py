from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

import r1env
from r1env import ConfigError, DataError, EnvError, prompts
from r1env.env import prompt_text
from r1env.envs.multilingual import MultilingualEnv
from r1env.grading.language import MGSM_LANGUAGES, identify
from r1env.rewards import PRESETS

ID = "r1env/Multilingual-v0"
WEIGHTS = {"accuracy": 1.0, "format": 0.1, "language": 0.2}
NATIVE_ZERO = {"bn": 0x9E6, "te": 0xC66, "th": 0xE50, "ja": 0xFF10}


def make(**arguments):
    return r1env.make(ID, **{"reward": {"weights": WEIGHTS}, **arguments})


def answered(task, answer, reasoning="x"):
    return f"<think>{reasoning}</think><answer>{answer}</answer>"


def numbers_in(text: str) -> list[int]:
    """The numbers of a generated question, whatever their separators: all of them are whole."""
    return [int(re.sub(r"\D", "", found)) for found in re.findall(r"\d+(?:[., ]\d{2,3})*", text)]


@pytest.mark.parametrize("language", MGSM_LANGUAGES)
@pytest.mark.parametrize("level", MultilingualEnv.levels)
def test_the_answer_follows_from_the_question(language, level):
    env = make(languages=language, level=level)
    shapes = Counter()
    for index in range(300):
        task = env.task(index=index)
        numbers = numbers_in(prompt_text(task))
        first, *rest = numbers
        for symbol, number in zip(task.meta["operations"], rest, strict=True):
            first = {"+": first.__add__, "-": first.__sub__, "*": first.__mul__}[symbol](number)
        assert task.answer == {"value": str(first), "language": language}
        assert first >= 0 and numbers == task.meta["numbers"]
        assert len(numbers) == (3 if level == "two_step" else 2)
        shapes["".join(task.meta["operations"])] += 1
    # Each shape of the level occurs, with a sentence for each of its operations.
    expected = {"one_step": {"+", "-", "*"}, "two_step": {"++", "+-", "*+", "*-"}, "large": {"+", "-"}}
    assert set(shapes) == expected[level] and min(shapes.values()) > 20


@pytest.mark.parametrize("language", MGSM_LANGUAGES)
def test_operations_are_told_by_different_words(language):
    env = make(languages=language, level="two_step")
    said: dict[str, set[str]] = {"+": set(), "-": set()}
    for index in range(60):
        task = env.task(index=index)
        before_the_last_number = re.split(r"\d+", prompt_text(task))[-2]
        said[task.meta["operations"][1]].add(before_the_last_number)
    assert len(said["+"]) == len(said["-"]) == 1 and said["+"] != said["-"]


@pytest.mark.parametrize("language", MGSM_LANGUAGES)
@pytest.mark.parametrize("level", MultilingualEnv.levels)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_oracle_reasons_in_the_language_and_earns_everything(language, level, preset):
    env = make(languages=language, level=level, reward={"preset": preset, "weights": WEIGHTS})
    shares = []
    for index in range(50):
        task = env.task(index=index)
        grade = env.grade(task, env.oracle(task))
        assert grade.verdict == "correct" and grade.parts["format"] == 1
        shares.append(grade.parts["language"])
    assert sum(shares) / len(shares) >= 0.9
    assert grade.reward == pytest.approx(1.1 + 0.2 * shares[-1])
    other = make(languages=language, level=level, reward={"language": "sw" if language != "sw" else "en"})
    assert other.grade(task, env.oracle(task)).parts["language"] < 0.1


@pytest.mark.parametrize("language", MGSM_LANGUAGES)
def test_other_answers_are_wrong(language):
    env = make(languages=language, level=["one_step", "large"])
    for index in range(100):
        task = env.task(index=index)
        value, written = int(task.answer["value"]), env.solve(task)
        for mutated in (
            value + 1, value - 1, f"{written}1", f"1{written}", f"{written} + 0", f"{written}, {written}", f"{written}/1",
            prompt_text(task), " + ".join(map(str, task.meta["numbers"])), "x", f"{written} {written}", f"-{value + 1}",
        ):  # fmt: skip
            assert env.grade(task, answered(task, mutated)).verdict == "wrong", mutated
        for empty in ("", "<think>x</think>", answered(task, " "), f"<think>{written}</think>"):
            grade = env.grade(task, empty)
            assert grade.verdict == "no_answer" and grade.parts["accuracy"] == 0


@pytest.mark.parametrize("language", MGSM_LANGUAGES)
def test_answers_may_be_written_in_several_ways(language):
    env = make(languages=language, level="large")
    zero = NATIVE_ZERO.get(language, ord("0"))
    for index in range(100):
        task = env.task(index=index)
        value, written = task.answer["value"], env.solve(task)
        native = {ord("0") + digit: zero + digit for digit in range(10)}
        for same in (
            value,
            written,
            written.translate(native),
            f"{value}.0",
            rf"\boxed{{{written}}}",
            f" {written}. ",
        ):
            assert env.grade(task, answered(task, same)).verdict == "correct", same


def test_what_is_counted_may_stand_after_the_number_and_nothing_else():
    german = make(languages="de")
    task = german.ask(
        "Im Korb liegen zehn Äpfel oder mehr, nicht aber zwanzig. Wie viele sind es?",
        {"value": "4", "language": "de"},
    )
    for answer in ("4 Äpfel", "4 Apfel", "4 Stück"):
        assert german.grade(task, answered(task, answer)).verdict == "correct", answer
    for answer in ("4 zehn", "4 oder", "4 nicht", "4 oder zehn", "4 zwanzig", "4 Birnen", "4 Mio."):
        assert german.grade(task, answered(task, answer)).verdict == "wrong", answer
    for language in MGSM_LANGUAGES:
        env = make(languages=language)
        task = env.task(index=0)
        things = re.match(r"[^:：]*?([^:：。।. ]+) ?[:：]", prompt_text(task))[1]
        assert env.grade(task, answered(task, f"{env.solve(task)} {things}")).verdict == "correct", language


def test_separators_are_read_by_the_tasks_language():
    env = make()
    for language, written, verdict in (
        ("de", "1.234", "correct"), ("de", "1,234", "wrong"), ("en", "1,234", "correct"), ("en", "1.234", "wrong"),
        ("fr", "1 234", "correct"), ("fr", "1,234", "wrong"), ("bn", "১,২৩৪", "correct"), ("zh", "一千二百三十四", "correct"),
    ):  # fmt: skip
        task = env.ask("?", {"value": "1234", "language": language})
        assert env.grade(task, answered(task, written)).verdict == verdict, (language, written)


def test_levels_use_small_numbers_words_and_separators():
    german = make(languages="de")
    task = german.ask("?", {"value": "8", "language": "de"})
    assert german.reason(task) == "Diese Antwort gehört zur Aufgabe."
    assert all(max(german.task(index=i).meta["numbers"]) <= 20 for i in range(200))
    assert not any(character.isdigit() for i in range(200) for character in german.reason(german.task(index=i)))
    large = make(languages="de", level="large").task(index=1)
    assert re.search(r"\d\.\d{3}\b", prompt_text(large))


def test_languages_are_drawn_evenly_and_questions_are_in_them():
    env = make(level=["one_step", "two_step", "large"])
    tasks = [env.task(index=index) for index in range(1_100)]
    counts = Counter(task.meta["language"] for task in tasks)
    assert set(counts) == set(MGSM_LANGUAGES) and min(counts.values()) > 60
    right = sum(identify(prompt_text(task)) == task.answer["language"] for task in tasks)
    assert right > 0.9 * len(tasks)
    assert {make(languages=["de", "sw"]).task(index=i).meta["language"] for i in range(50)} == {"de", "sw"}


@pytest.mark.parametrize("language", MGSM_LANGUAGES)
def test_the_instruction_is_in_the_language(language):
    plain, instructed = make(languages=language), make(languages=language, instruct=True)
    line = prompt_text(instructed.task(index=3)).split("\n")[-1]
    assert identify(line) == language and "\n" not in prompt_text(plain.task(index=3))


def test_a_language_asked_for_goes_before_the_tasks_own():
    env = make(languages="de", reward={"language": "en"})
    task = env.task(index=0)
    assert env.language(task) == "en" and make(languages="de").language(task) == "de"
    assert env.grade(task, env.oracle(task)).parts["language"] == 0


def test_a_malformed_answer_is_the_graders_fault():
    env = make()
    for answer in (
        "18",
        {"value": "x", "language": "de"},
        {"value": "18"},
        {"value": "1", "language": "xx"},
        None,
    ):
        grade = env.grade(env.ask("?", answer), answered(None, "18"))
        assert grade.verdict == "unscorable" and grade.parts["language"] in (0, 1)


# MGSM itself.


@pytest.fixture(scope="module")
def mgsm(data_dir):
    return str(data_dir / "mgsm")


def test_mgsm_loads_and_its_oracle_passes(mgsm):
    env = make(test_source=mgsm)
    assert env.num_tasks("train") is None and env.num_tasks("test") == 11 * 250
    counts: Counter[str] = Counter()
    for index in range(11 * 250):
        task = env.task(index=index, split="test")
        counts[task.answer["language"]] += 1
        if index % 5 == 0:
            grade = env.grade(task, env.oracle(task))
            assert (grade.verdict, grade.reward) == ("correct", pytest.approx(1.3)), task
            wrong = answered(task, Fraction(task.answer["value"]) + 1)
            assert env.grade(task, wrong).verdict == "wrong"
    assert counts == dict.fromkeys(MGSM_LANGUAGES, 250)


def test_a_problem_and_its_translations_are_in_one_split(mgsm):
    env = make(source=mgsm)
    rows = {
        split: [env.task(index=index, split=split) for index in range(env.num_tasks(split))]
        for split in ("train", "test")
    }
    numbers = {split: {task.meta["row"] for task in tasks} for split, tasks in rows.items()}
    assert not numbers["train"] & numbers["test"] and len(numbers["train"] | numbers["test"]) == 250
    assert not {task.id for task in rows["train"]} & {task.id for task in rows["test"]}
    assert 0.1 < len(rows["test"]) / 2750 < 0.3


def test_one_file_says_its_language_by_name(mgsm, tmp_path):
    env = make(test_source=f"{mgsm}/mgsm_te.tsv")
    assert env.num_tasks("test") == 250 and env.task(index=0, split="test").answer["language"] == "te"
    path = tmp_path / "sums.tsv"
    path.write_text("Wie viel ist 3 + 4?\t7\n\nWie viel?\t2,125\n", encoding="utf-8")
    assert make(test_source=str(path), languages="de").task(index=1, split="test").answer["value"] == "2125"
    with pytest.raises(DataError, match="does not say its language"):
        make(test_source=str(path)).num_tasks("test")


def test_other_formats_name_their_columns(tmp_path):
    path = tmp_path / "sums.jsonl"
    path.write_text('{"frage": "Wie viel ist 3,5 + 4?", "lösung": "7.5"}\n', encoding="utf-8")
    env = make(test_source=str(path), languages="de", columns={"question": "frage", "answer": "lösung"})
    task = env.task(index=0, split="test")
    assert env.solve(task) == "7,5" and env.grade(task, env.oracle(task)).verdict == "correct"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no tab here\n", "line 1 has no tab"),
        ("Why?\tbecause\n", "is not a number"),
        ("\t5\n", "row 1"),
        ("", "empty"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "mgsm_de.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        make(test_source=str(path)).num_tasks("test")


def test_a_directory_without_a_language_is_named(tmp_path):
    with pytest.raises(DataError, match=r"mgsm_bn\.tsv"):
        make(test_source=str(tmp_path)).num_tasks("test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"languages": "ge"}, "'ge' is not one of MGSM's; did you mean"),
        ({"languages": ["de", "it"]}, "'it' is not one of MGSM's"),
        ({"languages": []}, "empty list"),
        ({"source": "mgsm", "level": "large"}, "is for source 'generated'"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(**arguments)


def test_a_dataset_has_no_levels(mgsm):
    with pytest.raises(EnvError, match="has no levels"):
        make(test_source=mgsm).task(index=0, split="test", level="large")


def test_the_oracle_parses_back():
    env = make()
    task = env.task(index=0)
    parsed = prompts.parse(env.oracle(task))
    assert (parsed.reasoning, parsed.answer) == (env.reason(task), env.solve(task))


@pytest.mark.parametrize("level", MultilingualEnv.levels)
def test_mixed_working_is_right_and_ends_in_the_language_asked_for(level):
    env = make(languages=["de", "en", "es"], level=level).unwrapped
    rng = np.random.default_rng(0)
    for index in range(60):
        task = env.task(index=index)
        mixed = env.reason_mixed(task, rng)
        own = env.reason(task).split("\n")
        lines = mixed.split("\n")
        assert len(lines) == max(2, len(own)) and lines[-1] == own[-1] and lines[0] != own[0]
        assert not set(numbers_in(own[-1])) - set(numbers_in(mixed))
        grade = env.grade(task, answered(task, env.solve(task), mixed))
        assert grade.verdict == "correct" and grade.parts["language"] < 0.8
        assert env.grade(task, answered(task, env.solve(task), env.reason(task))).parts["language"] == 1
    alone = make(languages="de", level=level).unwrapped
    assert alone.reason_mixed(alone.task(index=0), rng) is None


def test_an_environment_without_other_languages_has_no_mixed_working():
    env = r1env.make("r1env/Math-v0", level="add_sub").unwrapped
    assert env.reason_mixed(env.task(index=0), np.random.default_rng(0)) is None
