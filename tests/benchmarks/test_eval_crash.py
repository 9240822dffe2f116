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
from benchmarks.store import key_of, read_grades, read_samples
from r1env.errors import RunError
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
