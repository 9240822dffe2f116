from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys

import pytest

from r1env.errors import DataError
from r1env.sources import load

GSM8K = [{"question": f"How many is {i}?", "answer": f"It is {i}.\n#### {i},000"} for i in range(3)]


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_gsm8k(tmp_path):
    rows, has_splits = load(write_jsonl(tmp_path / "a.jsonl", GSM8K), split="train")
    assert not has_splits
    assert [(row.question, row.answer) for row in rows] == [(f"How many is {i}?", f"{i},000") for i in range(3)]
    assert [row.meta for row in rows] == [{"row": i} for i in range(3)]


def test_math_with_an_answer_or_a_boxed_solution(tmp_path):
    record = {"problem": "P", "solution": r"So \boxed{\frac{1}{2}}.", "level": "Level 3", "type": "Algebra"}
    for path, records in (("a.jsonl", [{**record, "answer": r"\frac12"}]), ("b.jsonl", [record])):
        [row] = load(write_jsonl(tmp_path / path, records), split="train")[0]
        assert row.question == "P" and row.answer in (r"\frac12", r"\frac{1}{2}")
        assert row.meta == {"row": 0, "level": "Level 3", "type": "Algebra"}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".jsonl.gz", ".json.gz", ".csv.gz"])
def test_kinds_of_file(tmp_path, suffix):
    plain = tmp_path / f"data{suffix.removesuffix('.gz')}"
    records = [{"q": 'What, "this"\nor that?', "a": "é"}, {"q": "Two?", "a": "2"}]
    if ".jsonl" in suffix:
        write_jsonl(plain, records)
    elif ".json" in suffix:
        plain.write_text(json.dumps(records))
    else:
        with open(plain, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["q", "a"])
            writer.writeheader()
            writer.writerows(records)
    if suffix.endswith(".gz"):
        plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    rows, _ = load(str(tmp_path / f"data{suffix}"), split="train", columns={"question": "q", "answer": "a"})
    assert [(row.question, row.answer) for row in rows] == [(r["q"], r["a"]) for r in records]


def test_a_directory_has_splits(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", GSM8K[:2])
    (tmp_path / "test.json").write_text(json.dumps(GSM8K[2:]))
    sizes = {split: len(load(str(tmp_path), split=split)[0]) for split in ("train", "test")}
    assert sizes == {"train": 2, "test": 1} and load(str(tmp_path), split="test")[1]


def broken(content: bytes | str, name: str = "data.jsonl"):
    def make(tmp_path):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return make


def records(*items):
    return broken("".join(json.dumps(item) + "\n" for item in items))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda tmp_path: str(tmp_path / "nothing.jsonl"), "does not exist"),
        (lambda tmp_path: "nothing/here.csv", "does not exist"),
        (lambda tmp_path: str(tmp_path), "holds no train.jsonl .*only nothing"),
        (broken("x", "data.txt"), "kind '.txt' are not read"),
        (broken('{"question": "a", "answer": "1"}\n{"question": \n'), "line 2 is not JSON"),
        (broken("[1]\n"), "line 1 is a JSON list"),
        (broken('{"a": 1}', "data.json"), "must be a list of objects"),
        (broken("[", "data.json"), "is not JSON"),
        (broken(b"\xff\xfe{}"), "cannot be read"),
        (broken(b"not gzip", "data.jsonl.gz"), "cannot be read"),
        (broken(gzip.compress(b"x" * 10_000)[:20], "data.jsonl.gz"), "cannot be read"),
        (broken(""), "holds no rows"),
        (broken("question,answer\n", "data.csv"), "holds no rows"),
        (records({"prompt": "a", "response": "b"}), "columns prompt, response, none of the known"),
        (records({"question": "a", "answer": "1"}, {"question": "b"}), "row 2 has no answer that .*None"),
        (
            records({"question": "a", "answer": "#### 1"}, {"question": "b", "answer": "so 2"}),
            "row 2 has no answer that",
        ),
        (records({"question": "a", "answer": "#### one"}), "row 1 has no answer that .*one"),
        (records({"problem": "a", "solution": "it is 3"}), "row 1 has no answer that"),
        (records({"question": "a", "answer": " "}), "row 1 has no answer that"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, source, message):
    with pytest.raises(DataError, match=message):
        load(source(tmp_path), split="train")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"question": "prompt", "answer": "answer"}, "no column 'prompt'; it has question, answer"),
        ({"question": "question"}, "give exactly 'question' and 'answer'"),
    ],
)
def test_wrong_columns_are_named(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        load(write_jsonl(tmp_path / "a.jsonl", GSM8K), split="train", columns=columns)


def test_columns_keep_gsm8ks_way_of_writing_answers(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"q": "a", "a": "so\n#### 5"}])
    assert load(path, split="train", columns={"question": "q", "answer": "a"})[0][0].answer == "5"


def test_no_hub_is_one_clear_message():
    pytest.importorskip("datasets")
    code = (
        "from r1env.sources import load\nfrom r1env.errors import DataError\n"
        "try: load('no-such-owner/no-such-set', split='train')\nexcept DataError as error: print(error)"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert "could not be loaded from the hub" in done.stdout and "give the path of a .jsonl file" in done.stdout
    assert done.stdout.count("\n") == 1, done.stderr


class FakeHub:
    def __init__(self, splits):
        self.splits, self.calls = splits, []

    def load_dataset(self, name, config, revision):
        self.calls.append((name, config, revision))
        return self.splits


@pytest.mark.parametrize(
    ("splits", "split", "rows", "has_splits"),
    [
        ({"train": GSM8K[:2], "test": GSM8K[2:]}, "test", 1, True),
        ({"train": GSM8K}, "test", 3, False),
        ({"train": GSM8K}, "train", 3, False),
        ({"test": GSM8K[:2], "validation": GSM8K[2:]}, "train", 3, False),
    ],
)
def test_hub_names_and_splits(monkeypatch, splits, split, rows, has_splits):
    hub = FakeHub(splits)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    loaded, found = load("openai/gsm8k:main@abc123", split=split)
    assert hub.calls == [("openai/gsm8k", "main", "abc123")]
    assert (len(loaded), found) == (rows, has_splits)


@pytest.mark.parametrize("split", ["train", "test"])
def test_real_gsm8k(data_dir, split):
    rows, has_splits = load(str(data_dir / "gsm8k"), split=split)
    assert (len(rows), has_splits) == ({"train": 7473, "test": 1319}[split], True)
    assert all(row.answer for row in rows)
    if split == "test":
        assert rows[0].answer == "18"


def test_real_math(data_dir):
    assert len(load(str(data_dir / "math500" / "math500.jsonl"), split="test")[0]) == 500
    with pytest.raises(DataError, match=r"row 887 has no answer .* 3 more like it, of 7474 rows"):
        load(str(data_dir / "math_train" / "math_train.json.gz"), split="train")
