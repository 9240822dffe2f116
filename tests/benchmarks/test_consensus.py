"""cons@k beside its definition, by brute force."""

from __future__ import annotations

import json
from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import r1env
from benchmarks import consensus
from r1env.errors import ConfigError
from r1env.registry import EnvSpec

alike = consensus.one_by_one(lambda a, b: int(a) % 3 == int(b) % 3)
ANSWERS = st.lists(st.sampled_from([None, "", "?", *"012345"]), min_size=1, max_size=6)


def verdict(answer):
    """Right is what leaves no rest by 3; `?` is what the grader failed at."""
    if answer in (None, ""):
        return "no_answer"
    return "unscorable" if answer == "?" else "correct" if int(answer) % 3 == 0 else "wrong"


def by_definition(answers):
    if all(answer == "?" for answer in answers):
        return None
    counts = Counter(int(answer) % 3 for answer in answers if answer not in (None, "", "?"))
    most = max(counts.values(), default=0)
    winners = [rest for rest, count in counts.items() if count == most]
    return sum(rest == 0 for rest in winners) / len(winners) if winners else 0.0


@given(ANSWERS)
def test_vote_is_the_definition_in_any_order(answers):
    wanted = by_definition(answers)
    for order in list(permutations(answers))[:24]:
        vote = consensus.vote(order, [verdict(answer) for answer in order], alike)
        assert (vote.value if vote else None) == wanted


def test_a_tie_is_decided_by_chance_on_average():
    answers = ["1", "0", "2", "3", "4", "5"]
    vote = consensus.vote(answers, [verdict(answer) for answer in answers], alike)
    assert vote.value == pytest.approx(1 / 3) and vote.votes == 2 and set(vote.winners) == {"0", "1", "2"}
    assert consensus.vote([None, None], ["no_answer"] * 2) == consensus.Vote(value=0.0, winners=(), votes=0)


def test_without_an_equality_texts_are_compared():
    vote = consensus.vote(["7", " 7 ", "7.0"], ["correct"] * 3)
    assert vote.votes == 2 and vote.winners == ("7",)
    with pytest.raises(ConfigError, match="one for each"):
        consensus.vote(["7"], [])


def test_groups_join_the_first_whose_first_member_is_equal():
    near = consensus.one_by_one(lambda a, b: abs(int(a) - int(b)) <= 1)  # not transitive, on purpose
    assert consensus.groups(["1", "2", "3", "1"], near) == [["1", "2", "1"], ["3"]]
    asked = []

    def counting(answer, others):
        asked.append((answer, list(others)))
        return [False] * len(others)

    consensus.groups(["a", "a", "b", "a"], counting)
    assert asked == [("a", ["b"])]


def test_mathematics_votes_by_its_grader(tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"problem": "Half of one?", "answer": "\\frac{1}{2}"}) + "\n")
    spec = EnvSpec("r1env/Math-v0", {"source": str(path), "test_source": str(path), "split": "test", "reward": {"preset": "r1"}})  # fmt: skip
    env = spec.make()
    task = env.task(index=0, split="test")
    answers = ["0.5", "3", "\\frac12", "3.0", "1/2", "\\frac{6}{2}", "\\unreadable{", None, "3"]
    with r1env.GradingPool(spec, workers=1) as pool:
        graded = pool.grade([(task, env.respond(task, "", answer or "")) for answer in answers])
        verdicts = [grade.verdict for grade in graded]
        vote = consensus.vote(answers, verdicts, consensus.equality(env, pool, task))
    assert verdicts[:3] == ["correct", "wrong", "correct"]
    assert vote.value == 0.0 and vote.votes == 4 and vote.winners == ("3",)


def test_options_vote_by_what_they_name():
    env = r1env.make("r1env/Choice-v0")
    task = env.task(index=0, split="test")
    same = consensus.equality(env, None, task)
    assert same("A", ["(A)", "B", f"A) {task.answer['options'][0]}", "nothing of it"]) == [
        True,
        False,
        True,
        False,
    ]


def test_what_has_no_gold_text_votes_by_text():
    env = r1env.make("r1env/Logic-v0")
    assert consensus.equality(env, None, env.task(index=0, split="test")) is None
