"""Data of benchmarks: local copies, the hub (a scripted one), hashes, and the lock file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import zipfile

import pytest

from benchmarks import data, tasks
from benchmarks.tasks.base import Benchmark, Source, dataset
from r1env import DataError

ROW = {"question": "2 + 2?", "answer": "4"}
OTHER = {"question": "2 + 3?", "answer": "5"}


def lines(*rows) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def benchmark(**source) -> Benchmark:
    given = {
        "hub": "acme/sums",
        "files": ("sums.jsonl", "sums/test.jsonl"),
        "url": "https://acme.example",
        **source,
    }
    return Benchmark(name="sums", title="Sums", env=dataset("r1env/Math-v0"), source=Source(**given))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("R1_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one dataset: `files` by name, `newest` its commit; `asked` says what was asked of it."""

    hub = types.SimpleNamespace(
        files={"test.jsonl": lines(ROW)}, rows=[ROW], newest="a" * 40, asked=[], down=False
    )

    def reach(what):
        if hub.down:
            raise ConnectionError("no route to the hub\nand more")
        hub.asked.append(what)

    def newest(name):
        reach(f"newest {name}")
        return hub.newest

    def download(source, revision):
        reach(f"files {revision[:4]}")
        places = []
        for name in source.hub_files:
            place = tmp_path / "hub" / revision / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(hub.files[name])
            places.append(place)
        return places

    def rows(benchmark, revision):
        reach(f"rows {revision[:4]}")
        return iter(hub.rows)

    monkeypatch.setattr(data, "_newest", newest)
    monkeypatch.setattr(data, "_download_files", download)
    monkeypatch.setattr(data, "_rows_of_hub", rows)
    return hub


def test_a_local_copy_is_verified_by_its_hash(tmp_path, hub):
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums/test.jsonl").write_bytes(lines(ROW))
    known = benchmark(sha256=sha256(lines(ROW)))
    found = data.fetch(known, tmp_path)
    assert (found.source, found.verified, found.changed) == ("sums/test.jsonl", True, False)
    assert found.path == str(tmp_path / "sums/test.jsonl") and found.sha256 == sha256(lines(ROW))
    assert [problem.task.answer for problem in known.problems(found.path)] == ["4"]
    (tmp_path / "sums.jsonl").write_bytes(lines(OTHER))  # named first, so it counts
    unknown = data.fetch(benchmark(), tmp_path)
    assert (unknown.source, unknown.verified, unknown.changed) == ("sums.jsonl", False, False)
    with pytest.raises(
        DataError, match=r"sums.jsonl in .* but the one known to r1-bench is .*--allow-changed-data"
    ):
        data.fetch(known, tmp_path)
    found = data.fetch(known, tmp_path, allow_changed=True)
    assert (found.source, found.verified, found.changed) == ("sums.jsonl", False, True)
    (tmp_path / "sums.jsonl").write_bytes(lines(ROW))
    assert data.fetch(benchmark(hub_sha256=sha256(lines(ROW))), tmp_path).verified  # a copy of the hub's file
    assert not hub.asked


def test_the_same_problems_are_verified_in_whatever_file_they_come(tmp_path, hub):
    ids = [problem.task.id for problem in benchmark().problems(_written(tmp_path, lines(ROW, OTHER)))]
    known = {"sha256": "0" * 64, "problems_sha256": data.problems_hash(ids)}
    assert data.fetch(benchmark(**known), tmp_path).verified
    _written(tmp_path, lines({**OTHER, "source": "elsewhere"}, ROW))
    assert data.fetch(benchmark(**known), tmp_path).verified
    _written(tmp_path, lines({**OTHER, "answer": "6"}, ROW))
    with pytest.raises(DataError, match="--allow-changed-data"):
        data.fetch(benchmark(**known), tmp_path)
    hub.rows = [ROW, OTHER]
    assert data.fetch(benchmark(**known)).verified
    hub.rows, hub.newest = [ROW], "e" * 40
    assert not data.fetch(benchmark(hub="acme/other", **known)).verified


def test_the_hubs_table_of_gsm8k_is_the_local_files(tmp_path, monkeypatch, data_dir):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (gsm8k,) = tasks.find(["gsm8k"])
    rows = [json.loads(line) for line in (data_dir / "gsm8k/test.jsonl").read_text().splitlines()]
    monkeypatch.setattr(data, "_download_files", lambda source, revision: [tmp_path / "test.parquet"])
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    hubs, local = data.fetch(gsm8k), data.fetch(gsm8k, data_dir)
    assert hubs.verified and local.verified and hubs.sha256 != local.sha256


def _written(directory, content) -> str:
    (directory / "sums.jsonl").write_bytes(content)
    return str(directory / "sums.jsonl")


def test_local_files_are_found_by_the_benchmarks_name(tmp_path):
    (tmp_path / "sums.csv").write_text("question,answer\n2 + 2?,4\n")
    found = data.fetch(benchmark(files=("elsewhere.jsonl",)), tmp_path)
    assert found.source == "sums.csv" and not found.verified


def test_what_is_nowhere_says_where_it_should_be(tmp_path, hub):
    hub.down = True
    with pytest.raises(
        DataError, match=r"sums is not in .*, which should hold sums.jsonl, and acme/sums could not be"
    ) as error:
        data.fetch(benchmark(), tmp_path)
    assert "ConnectionError: no route to the hub" in str(error.value) and "and more" not in str(error.value)
    with pytest.raises(DataError, match="no --data-dir was given"):
        data.fetch(benchmark())
    with pytest.raises(DataError, match="it is not on the hub"):
        data.fetch(benchmark(hub=None), tmp_path)


def test_the_first_download_locks_commit_and_hash(tmp_path, hub):
    unknown = benchmark(hub_files=("test.jsonl",))
    found = data.fetch(unknown, tmp_path)
    assert (found.verified, found.changed, found.revision) == (False, False, "a" * 40)
    assert found.source == "acme/sums#test" and hub.asked == ["newest acme/sums", "files aaaa"]
    held = json.loads(data.lock_file().read_text())
    assert held == {"acme/sums#test": {"revision": "a" * 40, "sha256": sha256(lines(ROW))}}
    hub.newest = "b" * 40  # somebody changed the dataset: we stay with what we have
    assert data.fetch(unknown, tmp_path).revision == "a" * 40
    assert hub.asked[2:] == ["files aaaa"]


def test_data_that_differs_from_the_lock_is_refused_or_marked(tmp_path, hub):
    unknown = benchmark(hub_files=("test.jsonl",))
    data.fetch(unknown)
    hub.files = {"test.jsonl": lines(OTHER)}
    with pytest.raises(DataError, match="--allow-changed-data") as error:
        data.fetch(unknown)
    assert sha256(lines(OTHER))[:12] in str(error.value) and sha256(lines(ROW))[:12] in str(error.value)
    found = data.fetch(unknown, allow_changed=True)
    assert (found.changed, found.verified, found.sha256) == (True, False, sha256(lines(OTHER)))
    with pytest.raises(DataError):  # accepted once is not accepted for ever
        data.fetch(unknown)


def test_a_pinned_file_is_verified_from_the_start(hub):
    pinned = benchmark(hub_files=("test.jsonl",), revision="c" * 40, hub_sha256=sha256(lines(ROW)))
    found = data.fetch(pinned)
    assert (found.verified, found.revision) == (True, "c" * 40) and hub.asked == ["files cccc"]
    hub.files = {"test.jsonl": lines(OTHER)}
    with pytest.raises(DataError, match="known to r1-bench"):
        data.fetch(pinned)
    found = data.fetch(pinned, allow_changed=True)
    assert found.changed and not found.verified


def test_rows_of_datasets_are_kept_and_read_without_the_hub(hub):
    plain = benchmark(revision="d" * 40)
    found = data.fetch(plain)
    assert [problem.task.answer for problem in plain.problems(found.path)] == ["4"]
    hub.down = True
    again = data.fetch(plain)
    assert again == found


def test_a_damaged_lock_file_is_said_to_be(hub):
    data.lock_file().parent.mkdir(parents=True)
    data.lock_file().write_text("[1")
    with pytest.raises(DataError, match="is damaged"):
        data.fetch(benchmark(hub_files=("test.jsonl",)))


def test_datasets_of_several_files(tmp_path):
    many = benchmark(hub=None, files=("sums", "."), members=("a.jsonl", "b.jsonl"))
    with pytest.raises(DataError, match=r"with a\.jsonl, b\.jsonl"):
        data.fetch(many, tmp_path)
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums/a.jsonl").write_bytes(lines(ROW))
    (tmp_path / "sums/b.jsonl").write_bytes(lines(OTHER))
    found = data.fetch(many, tmp_path)
    assert [problem.task.answer for problem in many.problems(found.path)] == ["4", "5"]
    files = [tmp_path / "sums/a.jsonl", tmp_path / "sums/b.jsonl"]
    known = dataclasses.replace(many, source=dataclasses.replace(many.source, sha256=data.hash_of(files)))
    assert data.fetch(known, tmp_path).verified
    (tmp_path / "sums/b.jsonl").write_bytes(lines(OTHER, OTHER))
    with pytest.raises(DataError, match="--allow-changed-data"):
        data.fetch(known, tmp_path)


def test_kinds_of_files(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([ROW, OTHER]), tmp_path / "a.parquet")
    (tmp_path / "a.tsv").write_text("\tquestion\tanswer\n0\t2 + 2?\t4\n1\t2 + 3?\t5\n")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("test/two.csv", "question,answer\n2 + 3?,5\n")
        archive.writestr("test/one.csv", "question,answer\n2 + 2?,4\n")
        archive.writestr("read.me", "nothing")
    (tmp_path / "a.jsonl").write_bytes(lines(ROW, OTHER))
    for name in ("a.parquet", "a.tsv", "a.zip", "a.jsonl"):
        rows = data.read(tmp_path / name)
        assert [(row["question"], row["answer"]) for row in rows] == [("2 + 2?", "4"), ("2 + 3?", "5")], name
    assert data.read(tmp_path / "a.zip")[0]["member"] == "test/one"
    for name in ("a.parquet", "a.zip", "a.tsv"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00 torn")
        with pytest.raises(DataError, match="cannot be read"):
            data.read(tmp_path / name)


def test_a_row_that_cannot_be_converted_is_named(tmp_path):
    broken = dataclasses.replace(benchmark(), convert=data.by_row(lambda row: {"question": row["query"]}))
    (tmp_path / "sums.jsonl").write_bytes(lines({"query": "?"}, ROW))
    with pytest.raises(DataError, match=r"row 2 is not what it should be \(KeyError"):
        data.fetch(broken, tmp_path)


def test_datasets_reads_configurations_and_names_of_classes(tmp_path):
    """The real `datasets`, over a directory that stands for a repository of the hub."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "repository"
    for config in ("one", "two"):
        features = datasets.Features(
            {"question": datasets.Value("string"), "answer": datasets.ClassLabel(names=["A", "B"])}
        )
        table = datasets.Dataset.from_list([{"question": f"of {config}", "answer": 1}], features=features)
        (folder / config).mkdir(parents=True)
        table.to_parquet(folder / config / "test.parquet")
    configs = [
        {"config_name": name, "data_files": [{"split": "test", "path": f"{name}/test.parquet"}]}
        for name in ("one", "two")
    ]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    whole = benchmark(hub=str(folder), config="*")
    rows = list(data._rows_of_hub(whole, "main"))
    assert rows == [
        {"question": "of one", "answer": "B", "config": "one"},
        {"question": "of two", "answer": "B", "config": "two"},
    ]
    (row,) = data._rows_of_hub(benchmark(hub=str(folder), config="two"), "main")
    assert row == {"question": "of two", "answer": "B"}
