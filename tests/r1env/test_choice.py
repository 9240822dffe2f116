from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from r1env import ConfigError, DataError
from r1env.envs import stem
from r1env.grading.choice import LETTERS, letter, read_choice

SUM = ["11", "12", "21"]


def make(**arguments):
    return r1env.make("r1env/Choice-v0", **arguments)


def verdict(env, task, answer):
    return env.grade(task, f"<think>x</think><answer>{answer}</answer>").verdict


# Reading an answer.

DRESSES = (
    "{0}", "({0})", "{0})", "{0}.", "[{0}]", "**{0}**", "*{0}*", "`{0}`", "${0}$", r"\({0}\)", r"\text{{{0}}}",
    r"\boxed{{\text{{{0}}}}}", r"\textbf{{({0})}}", r"\mathrm{{{0}}}", '"{0}"', "Option {0}", "option {0}.",
    "Choice {0}", "Answer: {0}", "The answer is {0}", "The answer is ({0}).", "The correct answer is option {0}.",
    "So the final answer is {0}", "My answer is: ({0})", "{0}) {1}", "({0}) {1}", "{0}. {1}", "{0}: {1}", "{0} {1}",
    "{0}\n{1}", "The answer is {0}) {1}", "Option {0}: {1}", " {0}\n", "{0},", "答案是{0}。", "（{0}）", "{0}،",
)  # fmt: skip

texts = st.text(alphabet="bcdfghjklmnpqrstvwxyz0123456789", min_size=2, max_size=12).map(
    lambda text: f"q{text}z"
)


@given(st.data(), st.lists(texts, min_size=2, max_size=12, unique_by=str.casefold), st.sampled_from(DRESSES))
def test_a_letter_is_read_in_any_dress(data, options, dress):
    right = data.draw(st.integers(0, len(options) - 1))
    for shown in (letter(right), chr(ord(letter(right)) + 0xFEE0)):  # full-width
        assert read_choice(dress.format(shown, options[right]), options) == right
    if dress in (
        "{0}",
        "({0})",
        "{0})",
        "{0}.",
        "The answer is ({0}).",
        "{0}) {1}",
        "Answer: {0}",
        r"\text{{{0}}}",
    ):
        assert read_choice(dress.format(letter(right).lower(), options[right]), options) == right
    assert read_choice(options[right], options) == right  # the text alone, which is unique


@given(st.data(), st.lists(texts, min_size=3, max_size=12, unique_by=str.casefold))
def test_several_letters_are_no_choice(data, options):
    one, two = data.draw(st.permutations(range(len(options))))[:2]
    a, b = letter(one), letter(two)
    joins = ("{} or {}", "{}, {}", "{} {}", "{}{}", "{}/{}", "{} and {}", "({})({})", "{}|{}", "either {} or {}",
             "{} oder {}", "{}) x {}) y", "The answer is {} or {}.", "{}\n{}", "{} & {}", "option {}, option {}")  # fmt: skip
    for join in joins:
        assert read_choice(join.format(a, b), options) is None, join
        assert read_choice(join.format(a, b).lower(), options) is None, join
    assert read_choice(f"{a}) {options[two]}", options) is None  # the letter of one, the text of another
    assert read_choice(f"{options[one]} {options[two]}", options) is None
    assert read_choice(LETTERS[len(options)], options) is None  # out of range
    assert read_choice(" ".join(LETTERS[: len(options)]), options) is None
    assert read_choice("\n".join(f"{letter(i)}) {text}" for i, text in enumerate(options)), options) is None


@pytest.mark.parametrize(
    ("answer", "options", "expected"),
    [
        ("B, not A", SUM, 1),
        ("not B", SUM, None),
        ("B because 7 + 5 = 12", SUM, 1),
        ("The answer is A because it is", SUM, 0),
        ("A car", SUM, None),
        ("A car", ["a bus", "A car"], 1),
        ("I think B", SUM, 1),
        ("I", [str(i) for i in range(10)], 8),
        ("vitamin C", ["iron", "Vitamin C"], 1),
        ("Bb", ["BB", "bb", "Bb"], 2),  # genotypes: capitals count
        ("bB", ["BB", "bb", "Bb"], None),
        ("N", ["O", "N"], 1),  # nitrogen: no option has the letter N
        ("B", ["B", "A"], 1),  # the letter before the text
        ("12.", SUM, 1),
        ("The answer is 12", SUM, 1),
        ("x", ["x ", " x"], None),
        ("", SUM, None),
        ("all of them", SUM, None),
        ("12 or 21", SUM, None),
        ("B) 21", SUM, None),
        ("(B) -5", ["5", "-5"], 1),
        ("(A) -5", ["5", "-5"], None),
        ("B - 12", SUM, 1),
        ("\x00", SUM, None),
        ("Ⓑ", SUM, 1),
        ("", [], None),
    ],
)
def test_readings(answer, options, expected):
    assert read_choice(answer, options) == expected


LENGTHS = ["12 m", "7 m", "30 m", "5 m"]


@pytest.mark.parametrize(
    "hedge",
    [
        "B or c", "b or C", "B, c", "B c", "B\nc", "B (c)", "B and c", "B / c", "B+c", "B oder c", "B (or c)", "B 或 c", "Bか c",
        "B หรือ c", "B au c", "B или c", "D or a", "D, a", "B or the third one", "B second, third", "D, or else the third option",
        "B. Or the third.", "third, B", "the third or B", "the third and B", "B and 30 m", "B; 30 m", "B, 12 m", "30 m, or B",
        "B is right, as is c", "B is right and so is 30 m", "B not only", "B but also the last", "B maybe, else the others",
        "or B", "B, possibly third", "any of them, e.g. B", "both B",
    ],
)  # fmt: skip
def test_a_letter_that_leaves_a_way_out_is_no_choice(hedge):
    assert read_choice(hedge, LENGTHS) is None


@pytest.mark.parametrize(
    "sentence",
    [
        "B because 3 + 4 = 7", "B, since it falls for 2 s", "B, not A", "B, and not C", "B is correct.", "B. The sum is right.",
        "Therefore, B.", "I think B", "We pick B.", "So the distance is 7 m, which is B.", "So the answer is B, 7 m", "B (7 m)",
        "The answer is (B) 7 m because v*t=7", "Hence option B is correct", "It must be B", "答案是B。", "正解はBです", "Ответ: B",
        "Die Antwort ist B, weil 3 + 4 = 7", "La respuesta es B", "B est correct", "Jibu ni B", "คำตอบคือ B", "উত্তর হলো B",
    ],
)  # fmt: skip
def test_a_sentence_around_one_letter_is_a_choice(sentence):
    assert read_choice(sentence, LENGTHS) == 1


@given(st.data(), st.lists(texts, min_size=3, max_size=8, unique_by=str.casefold))
def test_a_second_option_in_any_form_is_no_choice(data, options):
    one, two = data.draw(st.permutations(range(len(options))))[:2]
    join = data.draw(
        st.sampled_from(
            [
                " or ",
                ", ",
                " and ",
                "; ",
                " / ",
                " | ",
                " ",
                "\n",
                " oder ",
                " o ",
                " ou ",
                " или ",
                "或",
                " – ",
            ]
        )
    )
    named = data.draw(
        st.sampled_from([letter(two), letter(two).lower(), f"({letter(two).lower()})", options[two]])
    )
    assert read_choice(f"{letter(one)}{join}{named}", options) is None
    assert read_choice(f"{named}{join}{letter(one)}", options) is None


@given(st.text(max_size=400), st.lists(st.text(max_size=20), max_size=26))
def test_any_text_gives_an_index_or_nothing(answer, options):
    found = read_choice(answer, options)
    assert found is None or 0 <= found < len(options)


HOSTILE = ("(" * 2**20, "B" * 2**20, "B " * 2**19, "A or " * 2**18, "\\text{" * 2**17, "*" * 2**20, "ﷺ" * 2**18)


@pytest.mark.parametrize("answer", HOSTILE, ids=range(len(HOSTILE)))
def test_a_megabyte_is_read_quickly(answer):
    env = make()
    task = env.task(index=0)
    start = time.process_time()
    assert verdict(env, task, answer) in ("wrong", "no_answer")
    assert read_choice(answer[:310], SUM) is None
    assert time.process_time() - start < 2


def test_the_cases_of_other_graders(data_dir):
    lines = (data_dir / "grader_cases" / "math_equiv_dev.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["kind"] == "mcq"]
    assert len(rows) == 3
    for row in rows:
        options = [row["gold"][2:] if letter(i) == row["gold"][0] else f"option {i}" for i in range(4)]
        right = LETTERS.index(row["gold"][0])
        assert (read_choice(row["prediction"], options) == right) is row["expected"], row


# Generated questions.


@pytest.mark.parametrize("level", stem.NAMES)
def test_generated_questions_have_one_right_option(level):
    env = make(level=level)
    places = Counter()
    for index in range(400):
        task = env.task(index=index)
        options, right = task.answer["options"], task.answer["right"]
        numbers = [Fraction(option.split()[0]) for option in options]
        assert len(set(numbers)) == len(options) == (5 if level == "arithmetic" else 4)
        assert len({tuple(option.split()[1:]) for option in options}) == 1  # one unit
        assert env.grade(task, env.oracle(task)).reward == env.reward_config.max_reward
        for wrong in range(len(options) + 2):
            expected = "correct" if wrong == right else "wrong"
            assert verdict(env, task, letter(wrong)) == expected
            if wrong < len(options):
                assert verdict(env, task, options[wrong]) == expected
        for cheat in (
            " ".join(LETTERS[: len(options)]),
            task.messages[0]["content"],
            "A or B",
            "any",
            "A) B) C)",
        ):
            assert verdict(env, task, cheat) == "wrong", cheat
        places[right] += 1
    assert min(places.values()) > 0.7 * 400 / len(places)  # no letter is the better guess


def test_the_easiest_level_is_short_and_its_sums_are_right():
    env = make()
    for index in range(300):
        task = env.task(index=index)
        prompt = task.messages[0]["content"]
        a, sign, b = re.match(r"(\d+) ([+-]) (\d+) = \? A\) ", prompt).groups()
        value = int(a) + int(b) if sign == "+" else int(a) - int(b)
        assert task.answer["options"][task.answer["right"]] == str(value)
        assert len(prompt.encode()) <= 60 and len(env.reason(task).encode()) <= 62
        assert env.reason(task).startswith(f"{a} {sign} {b} = {value}. ")
        assert env.reason(task).endswith(f"{env.solve(task)} {value} yes")


WORKING = re.compile(r"([\d.+*/ -]+) = (-?[\d.]+)$")


@pytest.mark.parametrize("level", stem.NAMES)
def test_the_working_leads_to_the_right_option(level):
    """Evaluated by Python itself, with fractions."""
    for seed in range(300):
        question = stem.generate(np.random.default_rng(seed), level)
        calculation, value = WORKING.search(question.working).groups()
        exact = eval(re.sub(r"([\d.]+)", r"Fraction('\1')", calculation), {"Fraction": Fraction})
        assert exact == Fraction(value) == Fraction(question.options[question.right].split()[0])


def test_sequences_have_one_next_term_by_every_rule():
    for seed in range(300):
        question = stem.generate(np.random.default_rng(seed), "sequences")
        terms = [int(term) for term in question.text.split(", ")[:-1]]
        assert set(stem.next_terms(terms).values()) == {int(question.options[question.right])}
    assert stem.next_terms([2, 4, 8, 16, 32]) == {"factor": 64}
    assert stem.next_terms([1, 4, 9, 16, 25]) == {"growth": 36}
    assert stem.next_terms([1, 1, 2, 3, 5]) == {"sum": 8}
    assert stem.next_terms([3, 3, 3, 3, 3]) == {"step": 3, "factor": 3, "growth": 3}
    assert stem.next_terms([1, 7, 2, 9, 4]) == {}


@given(st.fractions(min_value=-1000, max_value=1000, max_denominator=64))
def test_values_are_shown_exactly(value):
    try:
        assert Fraction(stem.shown(value)) == value
    except ValueError:
        assert (value * 10**6).denominator != 1


# Datasets.


def rows(count=40, **changes):
    return [
        {
            "question": f"What is {i} + {i}?",
            "options": [str(2 * i + k) for k in (3, 0, 7, 1)],
            "answer": "B",
            "answer_index": 1,
            "category": ["math", "physics"][i % 2],
            **changes,
        }
        for i in range(count)
    ]


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "rows.jsonl", rows())


def whole(source, **arguments):
    return make(source=source, test_source=source, **arguments)


def test_the_order_follows_from_row_and_seed(file):
    plain, first, again, other = (whole(file, shuffle_seed=seed) for seed in (None, 0, 0, 1))
    orders = set()
    for index in range(40):
        task = first.task(index=index)
        assert task == again.task(index=index)
        kept = plain.task(index=index)
        assert kept.answer["right"] == 1 and sorted(kept.answer["options"]) == sorted(task.answer["options"])
        assert task.answer["options"][task.answer["right"]] == str(2 * index)
        assert task.messages[0]["content"].split("\n")[1] == f"A) {task.answer['options'][0]}"
        orders.add(task.answer["right"])
    assert orders == {0, 1, 2, 3}
    assert any(first.task(index=i) != other.task(index=i) for i in range(40))


def test_no_shuffle_carries_a_question_to_the_other_split(file):
    """A question belongs to one split, whatever the order of its options."""

    def questions(split, seed):
        env = make(source=file, shuffle_seed=seed)
        found = [env.task(index=i, split=split).messages[0]["content"] for i in range(env.num_tasks(split))]
        return {content.split("\n")[0] for content in found}

    train, test = questions("train", 0), questions("test", 0)
    assert train and test and not train & test and len(train | test) == 40
    assert (questions("train", 5), questions("test", None)) == (train, test)


def test_options_that_speak_of_the_others_stay_in_place(tmp_path):
    for last in (
        "None of the above",
        "all of these",
        "Both A and B",
        "A and C",
        "neither (a) nor (b)",
        "option A only",
    ):
        source = write(tmp_path / "rows.jsonl", [{**row, "options": ["1", "2", "3", last]} for row in rows(20)])
        env = whole(source)
        assert {tuple(env.task(index=i).answer["options"]) for i in range(20)} == {("1", "2", "3", last)}


def test_categories_filter(file):
    assert whole(file, categories=["physics"]).num_tasks() == 20
    with pytest.raises(DataError, match="no category 'phisics'; did you mean 'physics'"):
        whole(file, categories=["phisics"]).num_tasks()


@pytest.mark.parametrize(
    ("columns", "record"),
    [
        (None, {"question": "q", "choices": ["x", "y"], "answer": 1}),
        (None, {"question": "q", "options": ["x", "y"], "answer": "y"}),
        (
            {"question": "Question", "options": "Right, Wrong 1, Wrong 2", "answer": "Right"},
            {"Question": "q", "Right": "y", "Wrong 1": "x", "Wrong 2": "A"},
        ),
        (
            {"question": "Question", "options": ["Right", "Wrong 1"], "answer": "Right"},
            {"Question": "q", "Right": "A", "Wrong 1": "x"},
        ),
        ({"question": "q", "options": "o", "answer": "a"}, {"q": "q", "o": '["x", "y"]', "a": "B"}),
    ],
)
def test_other_formats(tmp_path, columns, record):
    env = whole(write(tmp_path / "rows.jsonl", [record]), columns=columns)
    task = env.task(index=0)
    right = task.answer["options"][task.answer["right"]]
    assert right == ("A" if columns and isinstance(columns["options"], list) else "y")
    assert env.grade(task, env.oracle(task)).verdict == "correct"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "C"}, "row 3: the answer is 'C', but answer_index is 1"),
        ({"answer_index": 9, "answer": "J"}, "row 3: the answer is 'J', but answer_index is 9"),
        ({"answer": "E", "answer_index": None}, "row 3: the answer 'E' is no letter"),
        ({"answer": 4, "answer_index": None}, "row 3: the answer 4 is not an index"),
        (
            {"options": ["A", "B", "D", "C"], "answer": "C", "answer_index": None},
            "letter of one option and the text",
        ),
        ({"options": []}, "row 3: 0 options"),
        ({"options": ["x", ""]}, "row 3: 2 options, 1 of them empty"),
        ({"options": "x, y"}, "row 3: 'options' is str"),
        ({"options": [str(i) for i in range(27)]}, "row 3: 27 options"),
        ({"question": " "}, "row 3: 'question' is empty"),
    ],
)
def test_a_flawed_row_is_named(tmp_path, change, message):
    records = rows(6)
    records[2].update(change)
    with pytest.raises(DataError, match=re.escape(message)):
        whole(write(tmp_path / "rows.jsonl", records)).num_tasks()


def test_rows_that_ask_nothing_are_left_out_and_counted(tmp_path):
    records = rows(6)
    records[1].update(options=["only"], answer="A", answer_index=0)
    records[2].update(options=["5", "4", "4 ", "1"])
    records[3].update(options=["5", "4", "7", "7"])  # two wrong options alike harm nobody
    records[4].update(options=["bB", "Bb", "bb", "BB"])
    env = whole(write(tmp_path / "rows.jsonl", records))
    assert env.num_tasks() == 4
    assert env.left_out == {"train": {"a single option": 1, "the right option twice": 1}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "x.jsonl", "level": "units"}, "is for source 'generated'"),
        ({"categories": ["math"]}, "are for datasets"),
        ({"source": "x.jsonl", "categories": "math"}, "must be a list"),
        ({"source": "x.jsonl", "shuffle_seed": -1}, "shuffle_seed=-1"),
        ({"source": "x.jsonl", "columns": {"question": "q"}}, "columns has the keys"),
        ({"extraction": "loose"}, "extraction 'loose' does not exist"),
        ({"level": "unit"}, "did you mean 'units'"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(**arguments)


def test_a_missing_column_and_an_empty_split_are_named(tmp_path):
    with pytest.raises(DataError, match="no column 'options'; it has question, answer"):
        whole(write(tmp_path / "a.jsonl", [{"question": "q", "answer": "A"}])).num_tasks()
    env = make(source=write(tmp_path / "b.jsonl", rows(1)))
    with pytest.raises(DataError, match="is empty"):
        env.num_tasks("train"), env.num_tasks("test")


@pytest.mark.parametrize(
    ("response", "tagged", "lenient"),
    [
        ("<think>x</think><answer>B</answer>", "B", "B"),
        (r"<think>x</think> so \boxed{B}", "B", "B"),
        ("We add. The answer is (B).", None, "(B)"),
        ("We add.\nB", None, "B"),
    ],
)
def test_extraction(response, tagged, lenient):
    for extraction, expected in (("tagged", tagged), ("lenient", lenient)):
        env = make(extraction=extraction)
        assert env.grade(env.task(index=0), response).extracted == expected


def test_real_mmlu_pro(data_dir):
    source = str(data_dir / "mmlu_pro" / "mmlu_pro_test.jsonl.gz")
    env = whole(source, split="test")
    assert env.num_tasks() == 12_027  # of 12,032 rows, five offer a single option
    assert env.left_out == {"test": {"a single option": 5}}
    raw = {
        row["question_id"]: row
        for row in r1env.sources.read_file(data_dir / "mmlu_pro" / "mmlu_pro_test.jsonl.gz")
    }
    for index in range(0, 12_027, 7):
        task = env.task(index=index)
        row = raw[task.meta["question_id"]]
        gold = " ".join(row["options"][row["answer_index"]].split())
        assert task.answer["options"][task.answer["right"]] == gold
        assert env.grade(task, env.oracle(task)).verdict == "correct"
        chosen, text = env.solve(task), task.answer["options"][task.answer["right"]]
        assert verdict(env, task, f"({chosen}) {text}".replace("<", "")) == "correct" or "<" in text
        if len(gold) > 1 and len(gold) < 200 and gold.isprintable() and "\\" not in gold:
            assert read_choice(gold, task.answer["options"]) == task.answer["right"], (gold, task.answer)
        if "<" not in (content := task.messages[0]["content"]):
            assert verdict(env, task, content) != "correct"
    divided = make(source=source)
    texts = {
        split: {divided.rows(split)[i][0].split("\nA) ")[0].casefold() for i in range(divided.num_tasks(split))}
        for split in ("train", "test")
    }
    assert divided.num_tasks("train") + divided.num_tasks("test") == 12_027
    assert 0.18 < divided.num_tasks("test") / 12_027 < 0.22
    assert not texts["train"] & texts["test"]


def test_letters_go_on_to_z():
    options = [f"option {pair[0]}{pair[1]}" for pair in itertools.product("vwxyz", repeat=2)]
    assert [read_choice(letter(i), options) for i in range(25)] == list(range(25))


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("<think>A</think>so \\boxed{B}", "B"),
        ("<think>A</think>The answer is B", "B"),
        ("<think>A</think>Looking at them all:\n\nB", "B"),
        ("B", "B"),
        ("<think>The answer is B.\n\nB", ""),
        ("<think>B</think>", ""),
    ],
)
def test_a_summary_is_read_leniently_and_the_reasoning_never(response, answer):
    env = make(extraction="summary")
    assert env.extract(env.task(index=0), response) == answer
    grade = env.grade(env.task(index=0), response)
    assert (grade.verdict == "no_answer") is (answer == "")
