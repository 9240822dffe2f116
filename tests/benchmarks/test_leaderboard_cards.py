"""Results for the hub's model pages: both forms are what huggingface_hub itself writes and reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.leaderboard import boards, cards
from benchmarks.leaderboard.cards import Dataset
from r1env.errors import DataError
from tests.benchmarks.leaderboard_results import result

DATASETS = {
    "aime24": Dataset("HuggingFaceH4/aime_2024", split="train", revision="1" * 40),
    "math500": Dataset("HuggingFaceH4/MATH-500", "default", "test", task="math500"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return result(tmp_path_factory.mktemp("good"), records_url="https://example.org/records")


def test_eval_results_are_what_the_hub_reads(good: dict[str, Any], tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    paths = cards.write(tmp_path, good, boards.load(), DATASETS)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        ".eval_results/math500.yaml",
        "model-index.yaml",
    ]
    (entry,) = hub.parse_eval_result_entries(yaml.safe_load(paths[0].read_text()))
    assert (entry.dataset_id, entry.task_id) == ("HuggingFaceH4/MATH-500", "math500")
    assert entry.value == round(100 * good["tasks"]["math500"]["value"], 2)
    assert entry.source_url == "https://example.org/records" and "16 samples a problem" in entry.notes
    assert hub.eval_result_entries_to_yaml([entry]) == yaml.safe_load(paths[0].read_text())


def test_model_index_is_what_the_hub_reads(good: dict[str, Any], tmp_path: Path) -> None:
    data = pytest.importorskip("huggingface_hub.repocard_data")
    *_, index = cards.write(tmp_path, good, boards.load(), DATASETS)
    document = yaml.safe_load(index.read_text())
    name, found = data.model_index_to_eval_results(document["model-index"])
    assert name == "r1-tiny"
    figures = {(one.dataset_type, one.metric_type): one.metric_value for one in found}
    tasks = good["tasks"]
    assert figures == {
        ("HuggingFaceH4/aime_2024", "pass@1"): round(100 * tasks["aime24"]["pass_at_1"], 2),
        ("HuggingFaceH4/aime_2024", "cons@64"): round(100 * tasks["aime24"]["cons_at_k"], 2),
        ("HuggingFaceH4/MATH-500", "pass@1"): round(100 * tasks["math500"]["pass_at_1"], 2),
    }
    assert {one.dataset_split for one in found} == {"train", "test"}
    assert all("95% interval" in one.metric_name for one in found if one.metric_type == "pass@1")


def test_what_is_not_on_the_hub_has_nothing_to_say_there(good: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of aime24, math500 is a dataset of the hub"):
        cards.write(tmp_path, good, boards.load(), {})
    with pytest.raises(DataError, match="--hub-task aime24=ID"):
        cards.eval_result(good, "aime24", DATASETS["aime24"])
