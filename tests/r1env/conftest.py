from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Time limits of single examples only fail on busy machines.
settings.register_profile("r1env", deadline=None)
settings.load_profile("r1env")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The shared benchmark data; tests that need it skip where it is not given."""
    folder = os.environ.get("R1_DATA_DIR")
    if not folder:
        pytest.skip("R1_DATA_DIR is not set: no real benchmark data here")
    return Path(folder)


@pytest.fixture
def read_cases(data_dir):
    """Reads a file of grader cases, without those that pin one implementation's choice."""

    def read(name: str) -> list[dict]:
        with open(data_dir / "grader_cases" / name, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return [row for row in rows if row["kind"] == "equiv" and not row["policy"]]

    return read
