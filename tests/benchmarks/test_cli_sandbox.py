"""`r1-bench sandbox` and `benchmarks.perf sandbox`."""

from __future__ import annotations

import json

from benchmarks import cli
from benchmarks.perf.__main__ import main as perf
from r1env.errors import SandboxError
from r1env.sandbox import image, landlock
from tests.benchmarks.test_perf import FIELDS
from tests.r1env.sandboxes import needs


def test_check_tells_which_backends_work(capsys):
    for name in ("bwrap", "landlock"):
        needs(name)
    assert cli.main(["sandbox", "check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"bwrap", "landlock", "docker"} and found["bwrap"]["works"]
    assert found["bwrap"]["execution_ms"] > 0 and found["bwrap"]["why_not"] is None


def test_check_fails_where_none_works(capsys, monkeypatch):
    monkeypatch.setattr(landlock, "why_not", lambda: "the kernel is too old")
    assert cli.main(["sandbox", "check", "--backend", "landlock"]) == 1
    out = capsys.readouterr().out
    assert "the kernel is too old" in out and "Programs cannot be run here" in out


def test_the_image_needs_an_engine(capsys, monkeypatch):
    def none():
        raise SandboxError("no Docker engine answers; start one, or set DOCKER_HOST")

    monkeypatch.setattr(image, "_answering", none)
    assert cli.main(["sandbox", "image"]) == 2
    assert "no Docker engine answers" in capsys.readouterr().err


def test_executions_are_measured_beside_other_ways(tmp_path, capsys):
    needs("bwrap")
    code = perf(["sandbox", "--repeats", "1", "--steps", "1", "--json", str(tmp_path / "rows.json")])
    rows = {row["shape"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    main = rows["bwrap-zygote"]
    assert set(FIELDS) <= set(main) and main["failure"] is None and main["peer"] == "subprocess"
    assert 0 < main["ours_s"] < 1 and main["details"]["executions_per_s"] > 1
    assert {
        "bwrap-zygote beside bwrap per run",
        "bwrap-zygote beside docker exec",
        "landlock-zygote",
        "bwrap-zygote C++",
    } <= set(rows)
    assert code == any(row["failure"] for row in rows.values())  # a row that could not be measured says why
