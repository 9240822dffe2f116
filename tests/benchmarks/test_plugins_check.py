"""`r1-bench plugins check` over every environment of ours, and over environments that can be cheated."""

from __future__ import annotations

import json

import cheatable_envs  # noqa: F401 (registers)
import pytest

import r1env
from r1env import ConfigError, EnvSpec, conformance
from tests.conftest import ROOT
from tests.r1env.sandboxes import needs_a_sandbox

OURS = [id for id in r1env.registered_ids() if id.startswith("r1env/")]
CHECKS = (
    "make", "tasks", "seeds", "randomness", "variety", "splits", "oracle", "latency", "empty answers", "cheats",
    "near misses", "noise", "guesses", "reward", "unscorable", "deadline", "gymnasium", "step", "repeats", "secrets",
)  # fmt: skip


def failures(spec: EnvSpec | str, **settings) -> dict[str, str]:
    found = conformance.check(spec, **{"seeds": 10, **settings})
    return {finding.name: f"{finding.detail} -> {finding.advice}" for finding in found if not finding.ok}


@pytest.mark.parametrize("id", OURS)
def test_nothing_is_wrong_with_ours(id):
    if "/Code" in id:
        needs_a_sandbox()
    found = conformance.check(id, seeds=12)
    assert [finding.name for finding in found] == list(CHECKS)
    assert not [finding for finding in found if not finding.ok]


@pytest.mark.parametrize("preset", ["r1", "r1_zero"])
def test_nothing_is_wrong_with_the_plain_ones(preset):
    spec = EnvSpec("cheatable_envs:cheat/Sum-v0", {"reward": {"preset": preset}})
    assert not failures(spec)


@pytest.mark.parametrize("name", ["TwoTerms", "Lipogram"])
def test_several_right_answers_are_no_cheat(name):
    assert not failures(f"cheatable_envs:cheat/{name}-v0", seeds=16)


def test_an_environment_without_answers_says_so():
    found = {f.name: f for f in conformance.check("cheatable_envs:cheat/Unsolved-v0", seeds=4)}
    assert all(finding.ok for finding in found.values())
    assert "no right answers" in found["oracle"].detail


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        ("Substring", "cheats", "all answers at once"),
        ("Substring", "near misses", "negated"),
        ("Yes", "near misses", "another task's answer"),
        ("Near", "near misses", "another task's answer"),
        ("OffByOne", "near misses", "the last digit one higher"),
        ("Piece", "near misses", "its first half"),
        ("Either", "cheats", "one of two"),
        ("Semicolon", "cheats", "one of two"),
        ("Bar", "cheats", "one of two"),
        ("Claiming", "cheats", "many_answers is set, but only"),
        ("Anagram", "near misses", "backwards"),
        ("Modulo", "near misses", "a congruent number"),
        ("Typo", "near misses", "one character changed"),
        ("Bag", "guesses", "the prompt's last 4 words"),
        ("Backdoor", "guesses", "always '42': right in all 12 tasks looked at of level hard"),
        ("Patient", "repeats", "tries is correct"),
        ("Answered", "guesses", "the prompt's largest number"),
        ("Constant", "variety", "'yes', is that of"),
        ("WholeText", "empty answers", "only in the reasoning"),
        ("GlobalRandom", "randomness", "global random seed"),
        ("Entropy", "seeds", "asked again"),
        ("HashOrder", "seeds", "a fresh process"),
        ("Telling", "secrets", "info of step['gold']"),
        ("Explaining", "secrets", "Grade.detail"),
        ("Raising", "unscorable", "ValueError"),
        ("WrongOracle", "oracle", "got wrong"),
        ("MoodyGrader", "step", "differ in detail"),
        ("Generous", "reward", "parts"),
        ("SecretQuestion", "splits", "in both splits"),
        ("Set", "tasks", "not JSON"),
        ("Argument", "make", "path=VALUE"),
        ("Wordy", "tasks", "KeyError"),
    ],
)
def test_faults_are_found(name, check, words):
    found = failures(f"cheatable_envs:cheat/{name}-v0")
    assert words in found.get(check, ""), found


def test_a_grader_that_hangs_is_a_finding_and_no_hang():
    found = failures("cheatable_envs:cheat/Hanging-v0", seeds=4, deadline_s=0.3)
    assert "killed" in found["deadline"] and "not tried" in found["deadline"]
    assert "not played" in found["episodes"]


def test_few_seeds_are_refused():
    with pytest.raises(ConfigError, match="at least 2"):
        conformance.check("cheatable_envs:cheat/Sum-v0", seeds=1)


def test_the_command_says_the_same(command):
    path = f"{ROOT}:{ROOT / 'tests' / 'benchmarks'}"
    ids = ["r1env/Math-v0", "cheatable_envs:cheat/Substring-v0"]
    done = command("benchmarks.cli", "plugins", "check", *ids, "--seeds", "7", "--json", PYTHONPATH=path)
    assert done.returncode == 1 and done.stdout.count("\n") == 1, done.stderr
    document = json.loads(done.stdout)
    assert document["failed"] == ids[1:]
    good, bad = (document["environments"][id] for id in ids)
    assert good["passed"] and [check["name"] for check in good["checks"]] == list(CHECKS)
    assert {check["name"] for check in bad["checks"] if not check["ok"]} == {"cheats", "near misses"}
    latency = next(check for check in good["checks"] if check["name"] == "latency")
    assert 0 < latency["figures"]["p50_s"] <= latency["figures"]["p95_s"] < 1
    assert 0 < good["seconds"] < 60


def test_the_table_is_for_people(command):
    arguments = ("--seeds", "4", "--kwargs", "level=times", 'reward={"preset": "r1"}')
    done = command("benchmarks.cli", "plugins", "check", "r1env/Math-v0", *arguments)
    assert done.returncode == 0 and done.stderr == ""
    assert "of levels" in done.stdout and "all checks passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the ids to check"),
        (("r1env/Maths-v0",), "did you mean 'r1env/Math-v0'"),
        (("r1env/Math-v0", "--all"), "name the ids"),
        (("r1env/Math-v0", "--seeds", "1"), "at least 2"),
        (("r1env/Math-v0", "--deadline", "0"), "above 0"),
        (("r1env/Math-v0", "--kwargs", "level"), "KEY=VALUE"),
        (("r1env/Math-v0", "--sedes", "1"), "--sedes"),
    ],
)
def test_mistakes_are_one_line(command, arguments, words):
    done = command("benchmarks.cli", "plugins", "check", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and done.stderr.count("\n") == 1
