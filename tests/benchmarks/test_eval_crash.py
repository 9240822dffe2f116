"""Whatever ends an evaluation, nothing is lost, nothing is drawn twice, and the figures are the same."""

from __future__ import annotations

import collections
import json
import random
import signal
import subprocess
import time

import pytest

from benchmarks.evaluate import Work
from benchmarks.store import Store, key_of, read_grades, read_samples
from r1env.errors import ConfigError, RunError
from tests.benchmarks import canned

SAMPLES = 48


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def content(directory):
    """Samples without the time they took."""
    return {
        key_of(line): (line["text"], line["seed"], line["finish_reason"]) for line in read_samples(directory)
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed")
    return directory, canned.run(directory)


def wait_for(process, path, count):
    """Until so many samples are on disk."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"it ended early: {process.communicate()}")


def test_kill_9_at_five_moments(tmp_path, undisturbed):
    directory, document = undisturbed
    moments = sorted(random.Random(7).sample(range(1, SAMPLES - 4), 5))
    known = 0
    for moment in moments:
        process = canned.start(tmp_path, delay_s=0.03)
        wait_for(process, tmp_path / "samples.jsonl", moment)
        process.kill()
        process.communicate()
        held = {key_of(line) for line in read_samples(tmp_path)}
        assert moment <= len(held) and known <= len(held) < SAMPLES, "a sample was lost"
        assert not (tmp_path / "manifest.json").exists()
        known = len(held)
    engine = canned.Canned()
    again = canned.run(tmp_path, engine)
    assert again["tasks"] == document["tasks"]
    assert again["resumed"] == known and len(engine.asked) == SAMPLES - known
    counts = collections.Counter(key_of(line) for line in lines(tmp_path / "samples.jsonl"))
    assert len(counts) == SAMPLES and set(counts.values()) == {1}, "a sample was drawn twice"
    assert content(tmp_path) == content(directory)
    assert set(read_grades(tmp_path)) == set(counts)


def test_ctrl_c_keeps_the_samples_and_says_so(tmp_path, undisturbed):
    process = canned.start(tmp_path, delay_s=0.03)
    wait_for(process, tmp_path / "samples.jsonl", 10)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    kept = len(lines(tmp_path / "samples.jsonl"))
    assert process.returncode == -signal.SIGINT or process.returncode == 1
    assert f"{kept} of {SAMPLES} samples are kept in {tmp_path}" in err
    again = canned.run(tmp_path)
    assert again["resumed"] == kept and again["tasks"] == undisturbed[1]["tasks"]


@pytest.mark.parametrize(
    "torn", ['{"benchmark": "quick-ma', '{"benchmark": "quick-math", "problem": "x", "sampl', "{"]
)
def test_a_torn_line_is_dropped(tmp_path, undisturbed, torn):
    canned.run(tmp_path, limit=3)
    for name in ("samples.jsonl", "grades.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write(torn)
    assert canned.run(tmp_path)["tasks"] == undisturbed[1]["tasks"]


@pytest.mark.parametrize("damage", ["[]\n", '{"benchmark": 1}\n', "\0\0\n"])
@pytest.mark.parametrize("name", ["samples.jsonl", "grades.jsonl"])
def test_a_damaged_line_is_named(tmp_path, name, damage):
    canned.run(tmp_path, limit=1)
    with (tmp_path / name).open("a") as file:
        file.write(damage)
    with pytest.raises(RunError, match=f"{name} line 5 is damaged"):
        canned.run(tmp_path, limit=1)


SPOILT = [
    ("samples.jsonl", "text", None), ("samples.jsonl", "text", 5), ("samples.jsonl", "tokens", "x"),
    ("samples.jsonl", "sample", "1"), ("samples.jsonl", "sample", True), ("samples.jsonl", "problem", {}),
    ("samples.jsonl", "benchmark", []), ("grades.jsonl", "verdict", "maybe"), ("grades.jsonl", "verdict", None),
    ("grades.jsonl", "parts", [1]), ("grades.jsonl", "extracted", 3), ("grades.jsonl", "sample", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "field", "value"), SPOILT)
def test_a_line_whose_fields_make_no_sense_is_named_and_nothing_is_touched(tmp_path, name, field, value):
    canned.run(tmp_path, limit=1)
    whole = lines(tmp_path / name)
    for spoilt in ({**whole[1], field: value}, {k: v for k, v in whole[1].items() if k != field}):
        written = "".join(json.dumps(line) + "\n" for line in (whole[0], spoilt, *whole[2:]))
        (tmp_path / name).write_text(written)
        with pytest.raises(RunError, match=f"{name} line 2 is damaged"):
            canned.run(tmp_path, limit=1)
        assert (tmp_path / name).read_text() == written
        assert name != "samples.jsonl" or (tmp_path / "manifest.json").exists()


def test_samples_of_nobody_are_refused(tmp_path):
    canned.run(tmp_path, limit=1)
    (tmp_path / "run.json").unlink()
    with pytest.raises(RunError, match=r"no run\.json that says of which model"):
        canned.run(tmp_path, limit=1)


def test_a_sample_that_is_there_twice_counts_once(tmp_path, undisturbed):
    canned.run(tmp_path)
    whole = lines(tmp_path / "samples.jsonl")
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.writelines(
            json.dumps({**line, "text": "I do not know.", "tokens": 900}) + "\n" for line in whole[:9]
        )
    again = canned.run(tmp_path)
    assert again["tasks"] == undisturbed[1]["tasks"] and content(tmp_path) == content(undisturbed[0])


def test_what_is_added_to_a_finished_evaluation_makes_it_unfinished(tmp_path):
    canned.run(tmp_path, limit=2)
    assert (tmp_path / "manifest.json").exists()

    class Dies(canned.Canned):
        def generate(self, asks):
            yield next(super().generate(asks))
            raise RunError("the device is gone")

    with pytest.raises(RunError, match="the device is gone"):
        canned.run(tmp_path, Dies(), limit=3)
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b"])
def test_problems_may_hold_other_ends_of_lines(tmp_path, end):
    """GSM8K has some; the guard against other problems must still read them."""
    run = {"benchmarks": {}, "notes": {}}
    problems = [{"benchmark": "A", "problem": str(n), "messages": f"one{end}two"} for n in range(2)]
    with Store(tmp_path, run, problems) as store:
        store.begin()
    with Store(tmp_path, run, [{"benchmark": "B", "problem": "1"}]) as store:
        store.begin()
    held = [json.loads(line) for line in (tmp_path / "problems.jsonl").read_text().split("\n") if line]
    assert [(line["benchmark"], line["problem"]) for line in held] == [("B", "1"), ("A", "0"), ("A", "1")]
    with pytest.raises(ConfigError, match="samples of other problems"):
        Store(tmp_path, run, [{"benchmark": "A", "problem": "9"}])


def test_a_blank_line_is_none(tmp_path, undisturbed):
    """Someone's editor left it: nothing is lost by reading on."""
    canned.run(tmp_path, limit=3)
    for name in ("samples.jsonl", "grades.jsonl"):
        with (tmp_path / name).open("a") as file:
            file.write("\n  \n")
    assert canned.run(tmp_path)["tasks"] == undisturbed[1]["tasks"]


def test_samples_whose_grades_were_lost_are_graded_and_not_drawn(tmp_path, undisturbed):
    canned.run(tmp_path)
    whole = (tmp_path / "grades.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "grades.jsonl").write_text("".join(whole[::3]))
    engine = canned.Canned()
    document = canned.run(tmp_path, engine)
    assert document["tasks"] == undisturbed[1]["tasks"] and engine.asked == []
    assert document["timing"]["graded"] == SAMPLES - len(whole[::3])


def test_a_grade_whose_sample_was_lost_is_given_again(tmp_path, undisturbed):
    """After a power cut the later file may hold what the earlier has lost."""
    canned.run(tmp_path)
    whole = (tmp_path / "samples.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "samples.jsonl").write_text("".join(whole[:-5]))
    document = canned.run(tmp_path)
    assert document["timing"]["samples"] == document["timing"]["graded"] == 5
    assert document["tasks"] == undisturbed[1]["tasks"]


def test_a_finished_evaluation_is_not_drawn_again(tmp_path, undisturbed):
    first = canned.run(tmp_path)
    engine = canned.Canned()
    second = canned.run(tmp_path, engine)
    assert second["tasks"] == first["tasks"] and second["resumed"] == SAMPLES
    assert engine.asked == [] and (tmp_path / "manifest.json").exists()


def test_two_writers(tmp_path, undisturbed):
    process = canned.start(tmp_path, delay_s=0.05)
    wait_for(process, tmp_path / "samples.jsonl", 1)
    with pytest.raises(RunError, match="another r1-bench writes to"):
        canned.run(tmp_path)
    process.kill()
    process.communicate()
    assert canned.run(tmp_path)["tasks"] == undisturbed[1]["tasks"], "the lock must end with its process"


def test_samples_that_could_not_be_drawn_are_an_error_and_tried_again(tmp_path, undisturbed):
    with pytest.raises(RunError, match=r"12 of 48 samples are not drawn \(the server is tired\)"):
        canned.run(tmp_path, canned.Canned(fails=2))
    assert not (tmp_path / "manifest.json").exists()
    engine = canned.Canned()
    assert canned.run(tmp_path, engine)["tasks"] == undisturbed[1]["tasks"]
    assert {ask.sample for ask in engine.asked} == {2}


def test_an_error_of_the_engine_ends_it_and_closes_the_engine(tmp_path):
    class Broken(canned.Canned):
        def generate(self, asks):
            yield from (said for said, _ in zip(super().generate(asks), range(5)))
            raise RunError("the device is gone")

    engine = Broken()
    with pytest.raises(RunError, match="the device is gone"):
        canned.run(tmp_path, engine)
    assert engine.closed and len(lines(tmp_path / "samples.jsonl")) == 5


def test_a_grade_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    def full(self, key, grade):
        raise RunError("the disk is full")

    monkeypatch.setattr(Work, "_take", full)
    with pytest.raises(RunError, match="the disk is full"):
        canned.run(tmp_path)


def test_grading_goes_on_while_the_engine_samples(tmp_path):
    """Grades are on disk long before the last sample is."""
    process = canned.start(tmp_path, delay_s=0.1)
    wait_for(process, tmp_path / "samples.jsonl", 25)
    graded = (tmp_path / "grades.jsonl").read_bytes().count(b"\n")
    process.kill()
    process.communicate()
    assert graded >= 10


def test_the_children_end_with_a_killed_parent(tmp_path):
    process = canned.start(tmp_path, delay_s=0.3)
    wait_for(process, tmp_path / "grades.jsonl", 1)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    process.kill()
    process.communicate()
    assert children
    end = time.monotonic() + 10
    while time.monotonic() < end:
        states = subprocess.run(
            ["ps", "-o", "stat=", "-p", ",".join(children)], capture_output=True, text=True
        ).stdout
        if all(state.startswith("Z") for state in states.split()):
            return
        time.sleep(0.05)
    raise AssertionError(f"still there: {states}")
