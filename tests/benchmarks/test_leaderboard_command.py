"""`r1-bench leaderboard` as a command: from an evaluation to the site, and what it says where something is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from benchmarks.leaderboard import boards
from tests.benchmarks.evaluation_dir import Made, write_evaluation
from tests.benchmarks.leaderboard_results import with_strength


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    """Options for results and boards of a leaderboard that nobody is on yet."""
    (tmp_path / "results").mkdir()
    document = json.loads(boards.FILE.read_text(encoding="utf-8"))
    for board in document["boards"].values():
        board.pop("pins", None)
    (tmp_path / "boards.json").write_text(json.dumps(document))
    return ["--results", str(tmp_path / "results"), "--boards", str(tmp_path / "boards.json")]


@pytest.fixture
def leaderboard(command):
    def run(action: str, *arguments: str, code: int = 0):
        done = command("benchmarks.cli", "leaderboard", action, *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if "--json" in arguments and code < 2 else done

    return run


def test_from_an_evaluation_to_the_site(leaderboard, places: list[str], tmp_path: Path) -> None:
    first = write_evaluation(tmp_path / "first", *with_strength(0.5))
    refused = leaderboard("add", str(first), *places, "--json", code=1)
    assert refused["file"] is None and {one["rule"] for one in refused["refused"]} == {"pins"}
    added = leaderboard("add", str(first), *places, "--pin", "--json")
    assert Path(added["file"]).is_file() and added["refused"] == []
    second = write_evaluation(tmp_path / "second", *with_strength(0.8), seed=1, model="acme/better")
    leaderboard("add", str(second), *places, "--url", "https://huggingface.co/acme/better")
    checked = leaderboard("check", *places, "--json")
    assert checked == {"results": 2, "reported": 298, "refused": []}
    built = leaderboard("build", *places, "--out", str(tmp_path / "site"), "--json")
    assert built["results"] == 2 and (tmp_path / "site" / "index.html").is_file()
    assert "acme/better" in (tmp_path / "site" / "leaderboard.csv").read_text()


def test_what_does_not_fit_is_neither_written_nor_pinned(
    leaderboard, places: list[str], tmp_path: Path
) -> None:
    directory = write_evaluation(tmp_path / "a", Made(name="aime24", n=12, k=4))
    before = (tmp_path / "boards.json").read_text()
    done = leaderboard("add", str(directory), *places, "--pin", code=1)
    assert "4 samples a problem; the board wants at least 64 [k]" in done.stdout
    assert not list((tmp_path / "results").iterdir()) and (tmp_path / "boards.json").read_text() == before


def test_a_bad_result_is_named_and_can_be_left_out(leaderboard, places: list[str], tmp_path: Path) -> None:
    (tmp_path / "results" / "bad.json").write_text("{}")
    done = leaderboard("check", *places, code=1)
    assert "bad.json: the document lacks 'schema' [schema]" in done.stdout and "1 refused" in done.stdout
    done = leaderboard("build", *places, "--out", str(tmp_path / "site"), code=2)
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert (
        leaderboard("build", *places, "--out", str(tmp_path / "site"), "--skip-refused", "--json")["refused"]
        == 1
    )


def test_a_card_for_the_hub(leaderboard, tmp_path: Path) -> None:
    directory = write_evaluation(tmp_path / "a", *with_strength(0.5), Made(name="quick-math", n=5, k=4))
    files = leaderboard(
        "card", str(directory), "--to", str(tmp_path / "model"), "--hub-task", "math500=math_500",
        "--records-url", "https://example.org/records", "--json",
    )["files"]  # fmt: skip
    assert [Path(file).name for file in files] == ["math500.yaml", "model-index.yaml"]
    (entry,) = yaml.safe_load(Path(files[0]).read_text())
    assert entry["dataset"]["task_id"] == "math_500" and entry["source"]["url"] == "https://example.org/records"
    (index,) = yaml.safe_load(Path(files[1]).read_text())["model-index"]
    assert [one["dataset"]["name"] for one in index["results"]] == ["AIME 2024", "MATH-500"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "--results", "nowhere"], "no results at nowhere"),
        (["check", "--boards", "nowhere.json"], "cannot read nowhere.json"),
        (["add", "nowhere"], "no evaluation at nowhere"),
        (["card", "nowhere"], "no evaluation at nowhere"),
        (["card", ".", "--hub-task", "gsm8k"], "write BENCHMARK=ID"),
        (["serve", "--port", "99999"], "choose another with --port"),
        (["publish"], "invalid choice"),
    ],
)
def test_what_it_cannot_do_is_one_line(leaderboard, arguments: list[str], words: str) -> None:
    done = leaderboard(*arguments, code=2)
    assert done.stdout == "" and words in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_projects_own_files_stay_as_they_are(leaderboard, tmp_path: Path) -> None:
    before = boards.FILE.read_bytes()
    copy = tmp_path / "boards.json"
    shutil.copyfile(boards.FILE, copy)
    leaderboard("check", "--boards", str(copy))
    assert boards.FILE.read_bytes() == before
