from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import pytest

from benchmarks.perf import grpo, process, rows
from benchmarks.perf.__main__ import BENCHMARKS, Options, main
from r1env.errors import MissingDependency
from r1env.rewards import RewardConfig

FIELDS = ["name", "shape", "ours_s", "peer", "peer_s", "ratio", "memory_ratio", "error", "failure", "threads"]


def run(seconds, megabytes=100, **details):
    return rows.Run(seconds=seconds, peak_bytes=megabytes * 10**6, details=details)


def synthetic_row(**more):
    ours = [run(0.1, 400), run(0.3, 410), run(0.2, 420)]
    theirs = [run(0.4, 900), run(0.9, 800), run(0.5, 820)]
    return rows.compare(name="grpo", shape="16x8x15", threads=2, ours=ours, peer="trl", theirs=theirs, **more)


# The command line.


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True)


def test_help_names_the_benchmarks_and_loads_nothing_heavy():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['perf', '--help']\n"
        "try:\n    runpy.run_module('benchmarks.perf', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "import benchmarks.perf.grpo, benchmarks.perf.kernels, benchmarks.perf.rows, benchmarks.perf.process\n"
        "heavy = {'torch', 'transformers', 'trl', 'vllm', 'agents', 'psutil'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    for name in (*BENCHMARKS, "--json", "--csv", "--repeats", "--steps", "--only", "--plot", "r1-gym[peers]"):
        assert name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grop"], "benchmark 'grop' does not exist; did you mean 'grpo'?"),
        (["grpo", "--repeats", "0"], "--repeats 0: must be at least 1"),
        (["grpo", "--steps", "-3"], "--steps -3: must be at least 1"),
        (["kernels", "--threads", "0"], "--threads 0: must be at least 1"),
        (["grpo", "--only", "rope"], "--only is an option of kernels and engine; grpo has none such"),
        (
            ["engine", "--only", "tiny 64x16x12"],
            "--only tiny 64x16x12: there is no such row; did you mean 'tiny 64x16x128'?",
        ),
        (
            ["kernels", "--only", "rope,rms_nrm"],
            "--only rms_nrm: there is no such op; did you mean 'rms_norm'?",
        ),
    ],
)
def test_a_mistake_is_one_clear_line(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(os, "environ", os.environ.copy())  # kernels sets the number of threads there
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_missing_peer_names_the_command_that_installs_it(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["grpo"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: trl is not installed") and "pip install 'r1-gym[peers]'" in err
    assert err.count("\n") == 1
    with pytest.raises(MissingDependency):
        process.require("trl")


@pytest.mark.parametrize(("failure", "code"), [(None, 0), ("trl failed: out of memory", 1)])
def test_rows_are_shown_and_stored_and_an_unmeasured_one_fails(capsys, monkeypatch, tmp_path, failure, code):
    failed = rows.Row(name="grpo", shape="16x8x15", threads=2, failure=failure)
    row = synthetic_row() if failure is None else failed
    given = []
    monkeypatch.setattr(grpo, "measure", lambda options: given.append(options) or [row])
    files = [tmp_path / "rows.json", tmp_path / "rows.csv", tmp_path / "rows.md"]
    command = ["grpo", "--json", str(files[0]), "--csv", str(files[1]), "--repeats", "2", "--steps", "7"]
    command += ["--markdown", str(files[2])]
    assert main(command) == code
    assert given == [Options(repeats=2, steps=7)]
    shown = capsys.readouterr()
    assert shown.out == "" and "16x8x15" in shown.err and (failure or "2.50×") in shown.err
    assert json.loads(files[0].read_text())[0]["failure"] == failure
    with open(files[1]) as file:
        (stored,) = csv.DictReader(file)
    assert stored["failure"] == (failure or "") and list(stored)[:2] == ["name", "shape"]
    assert ("2.50× (2.50×–4.00×)" if failure is None else "failed") in files[2].read_text().splitlines()[2]


def test_an_unwritable_file_is_one_clear_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(grpo, "measure", lambda options: [synthetic_row()])
    (tmp_path / "file").write_text("")
    assert main(["grpo", "--json", str(tmp_path / "file" / "rows.json")]) == 2
    assert "error: cannot write" in capsys.readouterr().err.splitlines()[-1]


# Rows.


def test_a_row_holds_medians_ranges_and_ratios(tmp_path):
    rows.write_json([synthetic_row(details={"trl": "sdpa"})], tmp_path / "rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert set(FIELDS) <= set(row)
    assert (row["ours_s"], row["peer_s"], row["peer"]) == (0.2, 0.5, "trl")
    assert row["ratio"] == pytest.approx(2.5)
    assert row["memory_ratio"] == pytest.approx(820 / 410)
    assert row["ours_s_range"] == [0.1, 0.3] and row["peer_s_range"] == [0.4, 0.9]
    assert row["ratio_range"] == pytest.approx([2.5, 4.0])  # 0.4/0.1, 0.9/0.3, 0.5/0.2
    assert (row["ours_peak_mb"], row["peer_peak_mb"], row["repeats"]) == (410, 820, 3)
    assert (
        row["error"] is None
        and row["failure"] is None
        and row["threads"] == 2
        and row["details"] == {"trl": "sdpa"}
    )
    assert "python" in row["versions"] and "cores" in row["machine"]


def test_a_row_without_a_peer_has_nulls(tmp_path):
    rows.write_json([rows.Row(name="grpo", shape="16x8x15", threads=2, ours_s=0.1)], tmp_path / "rows.json")
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["ours_s"] == 0.1
    assert all(row[field] is None for field in ("peer", "peer_s", "ratio", "memory_ratio", "error", "failure"))


def test_both_sides_must_have_run_as_often():
    with pytest.raises(ValueError, match="zip"):
        rows.compare(name="x", shape="", threads=1, ours=[run(1), run(1)], peer="p", theirs=[run(1)])


# Processes.


def test_sides_alternate():
    order = []

    def side(name):
        def once(repeat):
            order.append((name, repeat))
            return f"{name}{repeat}"

        return once

    found = process.alternate({"ours": side("ours"), "trl": side("trl")}, 3)
    assert order == [(name, repeat) for repeat in range(3) for name in ("ours", "trl")]
    assert found == {"ours": ["ours0", "ours1", "ours2"], "trl": ["trl0", "trl1", "trl2"]}


def test_both_sides_get_the_same_threads_that_spin_only_briefly(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    env = process.environment(2)
    assert (env["OMP_NUM_THREADS"], env["GOMP_SPINCOUNT"]) == ("2", "20000")
    assert "OMP_WAIT_POLICY" not in env  # it would overrule the count
    assert env["PATH"] == os.environ["PATH"]


def test_memory_is_that_of_the_whole_tree(tmp_path):
    pytest.importorskip("psutil")
    hold = "import time; x = bytearray({}); x[::4096] = b'x' * len(x[::4096]); time.sleep(1.5)"
    alone = process.run_watched(
        [sys.executable, "-c", hold.format(50 * 2**20)], env=os.environ, log=tmp_path / "log"
    )
    assert 50 * 2**20 < alone < 90 * 2**20
    family = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {hold.format(50 * 2**20)!r}]); "
    )
    both = process.run_watched(
        [sys.executable, "-c", family + hold.format(100 * 2**20) + "; p.wait()"],
        env=os.environ,
        log=tmp_path / "log",
    )
    assert 150 * 2**20 < both < 210 * 2**20


def test_a_failed_command_says_what_its_log_ends_with(tmp_path):
    pytest.importorskip("psutil")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        process.run_watched(
            [sys.executable, "-c", "print('first'); raise SystemExit('last words')"],
            env=os.environ,
            log=tmp_path / "log",
        )
    assert caught.value.returncode == 1 and caught.value.output.endswith("last words")


# The benchmark grpo.


class FakeBench(grpo.Bench):
    """Knows the seconds without running anything, and remembers what was asked in which order."""

    def __init__(self, work, seconds, **kwargs):
        super().__init__(work, **kwargs)
        self.policy.mkdir()
        self.seconds, self.order = seconds, []

    def ours(self, tokens, *, seed):
        self.order.append("ours")
        return run(0.2, 400, sample=0.05, grade=0.01, train=0.14)

    def trl(self, tokens, setting, *, seed, steps=None):
        variant = tuple(setting[key] for key in ("products", "layers"))
        self.order.append((setting["attention"], setting["experts"], *([] if variant == PLAIN else variant)))
        seconds = self.seconds[self.order[-1]]
        if seconds is None:
            raise subprocess.CalledProcessError(1, ["python", "-m", "peer"], "first\nno such kernel")
        return run(seconds, 800)


PLAIN = ("float32", "torch")
SECONDS = {
    ("sdpa", "eager"): 0.8,
    ("sdpa", "grouped_mm"): 0.6,
    ("sdpa", "batched_mm"): 1.9,  # more than three times the best
    ("eager", "eager"): 0.7,
    ("eager", "grouped_mm"): 0.5,
    ("eager", "batched_mm"): None,  # fails
}


# Of the fastest of these.
VARIANTS = {
    ("eager", "grouped_mm", "bf16", "torch"): 0.45,
    ("eager", "grouped_mm", "float32", "liger"): None,
    ("eager", "grouped_mm", "bf16", "liger"): 0.6,
}


def test_the_fastest_setting_of_the_peer_alternates_with_ours(tmp_path, capsys):
    bench = FakeBench(tmp_path, SECONDS | VARIANTS, repeats=3, steps=10)
    row = bench.row(15)
    assert bench.order == [*SECONDS, *VARIANTS, *["ours", ("eager", "grouped_mm", "bf16", "torch")] * 3]
    assert (row.name, row.shape, row.threads, row.peer) == ("grpo", "16x8x15", 2, "trl")
    assert row.ratio == pytest.approx(2.25) and row.memory_ratio == pytest.approx(2.0) and row.failure is None
    assert row.details["trl"] == "attention eager, experts grouped_mm, products bf16, layers torch"
    assert row.details["ours_parts_s"] == {"sample": 0.05, "grade": 0.01, "train": 0.14}
    told = capsys.readouterr().err
    assert "experts batched_mm, products float32, layers torch does not run: no such kernel" in told
    assert "products float32, layers liger does not run" in told

    bench.order.clear()
    bench.row(128)  # hopeless and failing settings are not tried again
    assert bench.order[:-6] == [*(s for s in SECONDS if s[1] != "batched_mm"), *VARIANTS]


def test_a_peer_that_never_runs_gives_a_row_with_its_failure(tmp_path):
    row = FakeBench(tmp_path, dict.fromkeys(SECONDS), repeats=3, steps=10).row(15)
    assert "-m peer" in row.failure and "no such kernel" in row.failure
    assert row.shape == "16x8x15" and row.ratio is None


def test_unequal_work_is_no_result():
    with pytest.raises(subprocess.CalledProcessError) as caught:
        grpo._check_lengths(["python", "-m", "side"], [1920, 1900], 15)
    assert "[1900] tokens a step instead of 1920" in caught.value.output
    grpo._check_lengths([], [1920, 1920], 15)


def test_our_side_is_told_what_the_peer_is(tmp_path):
    from agents import cli
    from agents.config import GRPOConfig

    told = grpo.overrides(tmp_path / "policy", tmp_path / "run", tokens=15, steps=10, seed=3)
    cfg = cli.checked(cli.compose("grpo", told), GRPOConfig)
    agent = cfg.agent
    assert (agent.prompts, agent.group, agent.min_new_tokens, agent.max_new_tokens) == (16, 8, 15, 15)
    assert (agent.lr, agent.kl_coef, agent.minibatches, agent.temperature) == (1e-4, 0, 1, 1)
    assert agent.skip_zero_advantage is False and agent.steps == 10 + grpo.WARM_UP_STEPS
    assert RewardConfig.of(cfg.env.kwargs()["reward"]) == RewardConfig.of(grpo.ENV.kwargs["reward"])
    assert (cfg.env.id, cfg.env.level) == (grpo.ENV.id, grpo.ENV.kwargs["level"])
    assert (cfg.model.dtype, cfg.threads, cfg.seed) == ("float32", 2, 3)


@pytest.mark.peers
@pytest.mark.slow
def test_both_sides_really_run(tmp_path):
    pytest.importorskip("trl", reason="needs TRL: pip install 'r1-gym[peers]'")
    bench = grpo.Bench(tmp_path, repeats=1, steps=2)
    bench.settings = grpo.SETTINGS[:1]
    row = bench.row(15)
    assert row.failure is None
    assert 0 < row.ours_s < 60 and 0 < row.peer_s < 60 and row.memory_ratio > 0


# Loading a checkpoint.


def test_loading_measures_both_sides_on_the_same_file(tmp_path):
    from benchmarks.perf import model as loading

    small = {
        **loading.SIZES,
        "vocab_size": 96,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
    }
    row = loading._row(tmp_path, 1, small)
    assert row.failure is None
    assert row.name == "model" and row.peer == "transformers" and row.shape.startswith("load ")
    assert row.ours_s > 0 and row.peer_s > 0 and row.memory_ratio > 0
    ours, theirs = (json.loads((tmp_path / f"{side}.json").read_text()) for side in ("ours", "transformers"))
    assert ours["parameters"] == theirs["parameters"]
    assert ours["checked"] == pytest.approx(theirs["checked"], rel=1e-3)
