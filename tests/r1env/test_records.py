from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env import records
from r1env.errors import RunError
from r1env.records import (
    Jsonl,
    Manifest,
    plain,
    read_jsonl,
    sha256_file,
    sha256_json,
    write_atomic,
    write_json_atomic,
)


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_writes_text_and_bytes_and_makes_directories(tmp_path):
    write_atomic(tmp_path / "a" / "b.txt", "ü")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "ü".encode()
    write_atomic(tmp_path / "a" / "b.txt", "half a pair \ud800")
    write_atomic(tmp_path / "a" / "b.txt", b"\x00")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"\x00"
    assert os.listdir(tmp_path / "a") == ["b.txt"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "state"
    write_atomic(path, "old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError, match=r"cannot write .*state: No space left on device; free some space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["state"]


def test_full_disk_leaves_no_partial_file(tiny_disk):
    with pytest.raises(RunError, match="No space left"):
        write_atomic(tiny_disk / "big", b"x" * 1_000_000)
    assert os.listdir(tiny_disk) == []


def test_full_disk_takes_back_the_part_of_a_line_that_went_in(tiny_disk):
    with Jsonl(tiny_disk / "log.jsonl") as log:
        log.append({"step": 0})
        with pytest.raises(RunError, match="No space left"):
            log.append({"step": 1, "text": "x" * 1_000_000})
        assert read_jsonl(log.path) == [{"step": 0}]
        assert log.path.read_bytes().endswith(b"\n")


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        write_atomic(tmp_path / "file" / "below", "x")
    with pytest.raises(RunError, match="cannot write"):
        Jsonl(tmp_path / "file" / "below")
    with pytest.raises(RunError, match="cannot write"):
        write_atomic("/proc/nothing/here", "x")


def test_a_reader_never_sees_half_a_file(tmp_path):
    """A process is killed again and again while it rewrites a file."""
    path = tmp_path / "state.json"
    loop = (
        "import itertools, sys; from r1env.records import write_json_atomic\n"
        "print('on', flush=True)\n"
        "for i in itertools.count(): write_json_atomic(sys.argv[1], {'i': i, 'fill': 'x' * 100_000})"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", loop, path], stdout=subprocess.PIPE)
        process.stdout.readline()
        while not path.exists():
            pass
        for _ in range(50):
            assert len(json.loads(path.read_text())["fill"]) == 100_000
        process.kill()
        process.wait()
        process.stdout.close()
        assert len(json.loads(path.read_text())["fill"]) == 100_000


def test_plain_unwraps_numbers_and_drops_what_json_does_not_know():
    @dataclasses.dataclass
    class Point:
        x: float

    value = {1: np.float32(0.5), "n": math.nan, "i": [math.inf, np.arange(2)], "p": Path("a"), "d": Point(2.0)}
    assert plain(value) == {"1": 0.5, "n": None, "i": [None, [0, 1]], "p": "a", "d": {"x": 2.0}}
    assert plain((True, None, 10**30)) == [True, None, 10**30]
    with pytest.raises(TypeError, match="object"):
        plain(object())


def test_log_is_read_back_and_appended_to(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    events = [{"step": 0, "text": "a\nb ü \ud800"}, {"step": 1, "loss": math.nan}]
    with Jsonl(path) as log:
        for event in events[:1]:
            log.append(event)
        assert len(read_jsonl(path)) == 1  # flushed at once
    with Jsonl(path) as log:
        log.append(events[1])
    text, loss = read_jsonl(path)
    assert text["text"].startswith("a\nb ü")
    assert loss == {"step": 1, "loss": None}
    assert path.read_bytes().count(b"\n") == 2


EVENTS = st.lists(
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3),
    min_size=1,
    max_size=5,
)


@given(EVENTS, st.data())
def test_a_log_cut_anywhere_loses_at_most_its_last_event(tmp_path_factory, events, data):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    with Jsonl(path) as log:
        for event in events:
            log.append(event)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    complete = whole[:cut].count(b"\n")
    survivors = read_jsonl(path)
    assert survivors == events[: len(survivors)]
    assert complete <= len(survivors) <= complete + 1
    with Jsonl(path) as log:
        log.append({"new": 1})
    assert read_jsonl(path) == [*survivors, {"new": 1}]


def test_damage_before_the_last_line_is_an_error_that_names_the_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(RunError, match="line 2 is not a JSON object"):
        read_jsonl(path)
    with pytest.raises(RunError, match="cannot read"):
        read_jsonl(tmp_path / "missing.jsonl")


def test_truncating_a_log_for_a_resumed_run(tmp_path):
    with Jsonl(tmp_path / "log.jsonl") as log:
        for step in range(5):
            log.append({"step": step})
        assert log.truncate_to(lambda event: event["step"] < 3) == 3
        log.append({"step": 3})
        log.close()
        log.close()
    assert [event["step"] for event in read_jsonl(log.path)] == [0, 1, 2, 3]
    assert os.listdir(tmp_path) == ["log.jsonl"]


def test_hashes(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert sha256_json({"a": 1, "b": [2.0]}) == sha256_json({"b": (2.0,), "a": 1}) != sha256_json({"a": 1})
    with pytest.raises(RunError, match="cannot read"):
        sha256_file(tmp_path / "missing")


def test_manifest_comes_back_as_it_was(tmp_path):
    manifest = Manifest(
        config_sha256=sha256_json({"lr": 1e-4}),
        seed=3,
        metrics={"after": {"pass_at_1_ci95": [0.1, 0.2]}},
        outputs={"checkpoint/model.safetensors": "0" * 64},
    )
    assert manifest.write(tmp_path) == tmp_path / "manifest.json"
    assert Manifest.read(tmp_path) == manifest
    assert manifest.versions["numpy"] == np.__version__ and "python" in manifest.versions
    assert manifest.hardware["cores"] >= 1 and manifest.hardware["memory_bytes"] > 0
    assert manifest.created.endswith("+00:00") and manifest.command


def test_an_unfinished_or_damaged_run_is_named(tmp_path):
    with pytest.raises(RunError, match="not finished"):
        Manifest.read(tmp_path)
    for damage in ("", "{", "[]", '{"seed": 1}', '{"unknown": 1, "command": []}'):
        (tmp_path / "manifest.json").write_text(damage)
        with pytest.raises(RunError, match="damaged"):
            Manifest.read(tmp_path)


def test_git_commit_of_a_checkout_and_of_none(tmp_path, monkeypatch):
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    module = tmp_path / "r1env" / "records.py"
    module.parent.mkdir()
    module.write_text("")
    monkeypatch.setattr(records, "__file__", str(module))
    assert records.git_commit() is None
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert records.git_commit() is None  # an installed copy inside somebody else's repository
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    commit = records.git_commit()
    assert len(commit) == 40
    module.write_text("changed")
    assert records.git_commit() == f"{commit}+changes"


def test_json_files_are_readable_by_people(tmp_path):
    write_json_atomic(tmp_path / "a.json", {"b": "é", "a": [1]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}\n'
