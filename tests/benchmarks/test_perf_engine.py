from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from benchmarks.perf import engine, engine_vllm, rows
from benchmarks.perf.__main__ import main
from r1env.errors import MissingDependency

SMALL = dataclasses.replace(engine.TINY, shape="tiny", prompts=3, samples=2, tokens=6)
RAGGED = dataclasses.replace(SMALL, shape="ragged", policy="100M", stop=(1, *range(100, 180)))
LARGE = dataclasses.replace(SMALL, shape="large", policy="100M", lengths=(8, 8))
SIZES = {
    "vocab_size": 256, "hidden_size": 64, "intermediate_size": 64, "moe_intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16,
    "v_head_dim": 16, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
}  # fmt: skip


class FakeBench(engine.Bench):
    """Knows the seconds without running anything, and remembers what was asked in which order."""

    def __init__(self, directory, seconds, repeats=2):
        super().__init__(directory, repeats, calls=3)
        self.seconds, self.order = seconds, []

    def run(self, side, work, setting, seed=0, *, calls=None):
        self.order.append((side, work.tokens, seed, calls))
        seconds = self.seconds(side, setting)
        if isinstance(seconds, Exception):
            raise seconds
        return rows.Run(
            seconds=seconds, peak_bytes=10**8, details={"vllm_version": "1"} if side == "vllm" else {}
        )


@pytest.fixture
def some_vllm(monkeypatch):
    monkeypatch.setenv("R1_VLLM_PYTHON", sys.executable)


def failed(*output):
    return subprocess.CalledProcessError(1, ["python", "-m", "peer"], "\n".join(output))


# The search for a side's best setting.


def test_every_property_is_varied_once_from_the_best_so_far(tmp_path):
    def seconds(side, setting):
        if setting["rows"] == "continuous":
            return failed("first", "DeepSeek-V3 is not supported")
        slow = {"grouped_mm": 1, "eager": 0.5}[setting["experts"]] * {"sdpa": 1, "eager": 2}[
            setting["attention"]
        ]
        return slow * {1024: 1, 256: 0.8, 64: 0.9}[setting["rows"]] * (2 if setting["cache"] == "static" else 1)

    bench = FakeBench(tmp_path, seconds)
    best, trials = bench.fastest_setting("transformers", engine.TINY)
    assert best == {
        "experts": "eager", "attention": "sdpa", "dtype": "float32", "cache": "dynamic", "rows": 256,
    }  # fmt: skip
    assert len(trials) == len(bench.order) == 1 + 1 + 1 + 1 + 1 + 3 + engine.FINALISTS
    assert min(v for v in trials.values() if isinstance(v, float)) == trials[engine._name(best)] == 0.4
    assert [name for name in trials if name.endswith(", 128 tokens")] == [
        f"{engine._name({**best, 'rows': rows})}, 128 tokens" for rows in (256, 64)
    ]
    assert "DeepSeek-V3 is not supported" in trials[engine._name({**best, "rows": "continuous"})]
    asked = [(tokens, calls) for _, tokens, _, calls in bench.order]
    assert asked == [(engine.TRIAL_TOKENS, 1)] * 8 + [(128, 1)] * engine.FINALISTS

    bench.order.clear()
    assert bench.fastest_setting("transformers", engine.RAGGED) == (
        best,
        trials,
    )  # the same work: not sought again
    assert bench.order == []


@pytest.mark.parametrize("fails", [False, True])
def test_the_row_s_own_length_decides_between_the_two_fastest(tmp_path, fails):
    class Slower(FakeBench):
        """Rows of 256 are the fastest in short calls only."""

        def run(self, side, work, setting, seed=0, *, calls=None):
            found = super().run(side, work, setting, seed, calls=calls)
            if work.tokens == 128 and setting["rows"] == 256:
                if fails:
                    raise failed("no memory")
                return dataclasses.replace(found, seconds=9.0)
            return found

    bench = Slower(
        tmp_path, lambda side, setting: {1024: 3, 256: 1, 64: 2}.get(setting["rows"]) or failed("no")
    )
    best, trials = bench.fastest_setting("transformers", engine.TINY)
    assert best["rows"] == 64
    slow = trials[f"{engine._name({**best, 'rows': 256})}, 128 tokens"]
    assert slow.endswith("no memory") if fails else slow == 9.0


def test_a_side_that_never_runs_says_why(tmp_path):
    with pytest.raises(subprocess.CalledProcessError, match="exit status 1"):
        FakeBench(tmp_path, lambda side, setting: failed("no")).fastest_setting("transformers", engine.TINY)


def test_what_can_be_chosen_fits_the_work():
    assert engine.axes("ours", engine.TINY) == {"dtype": ("float32",), "rows": (512, 1024)}
    assert engine.axes("transformers", engine.TINY)["rows"] == (1024, 256, 64, "continuous")
    assert engine.axes("transformers", engine.LARGE)["rows"] == (64, 16, "continuous")
    assert engine.axes("transformers", engine.ALONE)["rows"] == (1, "continuous")
    assert "batched_mm" in engine.axes("transformers", engine.ALONE)["experts"]
    assert engine.axes("vllm", engine.LARGE)["dtype"] == ("bfloat16", "float32")
    assert engine.axes("batch_invariant", engine.TINY)["dtype"] == ("float32",)
    assert engine.axes("batch_invariant", engine.LARGE) == {
        "dtype": ("bfloat16", "float32"),
        "rows": (64,),
        "batch_invariant": (True,),
    }


# Rows.


def test_peers_share_our_runs_in_strict_alternation(tmp_path, some_vllm):
    seconds = {"ours": 1.0, "transformers": 4.0, "vllm": 2.0}
    bench = FakeBench(tmp_path, lambda side, setting: seconds[side])
    for side in seconds:
        bench.fastest_setting(side, engine.LARGE)
    bench.order.clear()
    first, second = bench.rows(engine.LARGE, ["transformers", "vllm"])
    assert bench.order == [(side, 128, seed, None) for seed in (0, 1) for side in seconds]
    assert (first.peer, first.ratio, second.peer, second.ratio) == ("transformers", 4, "vllm", 2)
    assert first.name == second.name == "engine" and first.shape == second.shape == "100M 16x4x128"
    assert second.details["tokens_per_s"] == {"ours": 8192, "vllm": 4096}
    assert second.details["vllm_version"] == "1" and "vllm_version" not in first.details
    assert set(second.details["trials_s"]) == set(second.details["settings"]) == {"ours", "vllm"}


def test_a_peer_that_fails_does_not_take_the_others_along(tmp_path, some_vllm):
    def seconds(side, setting):
        return failed("no operator", "give up") if side == "vllm" else 2.0

    first, second = FakeBench(tmp_path, seconds).rows(engine.LARGE, ["transformers", "vllm"])
    assert first.failure is None and first.ratio == 1
    assert "-m peer" in second.failure and "give up" in second.failure and second.ratio is None


def test_without_ours_there_is_no_row(tmp_path):
    bench = FakeBench(tmp_path, lambda side, setting: failed("ours broke") if side == "ours" else 1.0)
    found = bench.rows(engine.LARGE, ["transformers", "vllm"])
    assert [row.peer for row in found] == ["transformers", "vllm"]
    assert all("ours broke" in row.failure and row.ours_s is None for row in found)


def test_unequal_work_is_no_result():
    with pytest.raises(subprocess.CalledProcessError) as caught:
        engine._check_tokens(["python", "-m", "side"], [36, 35], SMALL)
    assert "[35] tokens a call instead of 36" in caught.value.output
    engine._check_tokens([], [36, 36], SMALL)
    engine._check_tokens([], [36, 35, 1], RAGGED)
    for counts in ([37], [0], []):
        with pytest.raises(subprocess.CalledProcessError):
            engine._check_tokens(["python"], counts, RAGGED)


# vLLM's environment.


def test_without_vllm_the_row_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("R1_VLLM_PYTHON", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="CONTRIBUTING"):
        engine.vllm_python()
    monkeypatch.setenv("R1_VLLM_PYTHON", "/nowhere/python")
    with pytest.raises(MissingDependency, match="/nowhere/python"):
        engine.vllm_python()
    monkeypatch.setenv("R1_VLLM_PYTHON", sys.executable)
    assert engine.vllm_python() == sys.executable


def test_vllm_gets_room_for_all_rows(tmp_path):
    config = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 64, "num_attention_heads": 8}
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 10}))
    job = {"checkpoint": str(tmp_path), "prompts": [[1] * 64] * 16, "samples": 4, "tokens": 128}
    latent = engine_vllm.cache_bytes({**job, "setting": {"mla": True, "dtype": "bfloat16"}})
    heads = engine_vllm.cache_bytes({**job, "setting": {"mla": False, "dtype": "float32"}})
    assert latent >= 64 * 192 * 10 * 576 * 2 and heads >= 64 * 192 * 10 * 2048 * 4
    assert heads < 3 * 64 * 192 * 10 * 2048 * 4


# The whole command.


def test_both_sides_really_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("psutil")
    monkeypatch.delenv("R1_VLLM_PYTHON", raising=False)
    monkeypatch.setattr(
        engine,
        "WORKS",
        {SMALL: (), RAGGED: ("transformers",), LARGE: ("transformers", "vllm", "batch_invariant")},
    )
    monkeypatch.setitem(engine.POLICIES, "100M", SIZES)
    only = {
        "experts": ("eager",),
        "attention": ("sdpa",),
        "dtype": ("float32",),
        "cache": ("dynamic",),
        "rows": (4,),
    }
    monkeypatch.setattr(
        engine,
        "axes",
        lambda side, work: (
            only
            if side == "transformers"
            else {"dtype": ("float32",), "rows": (4,), "batch_invariant": (side == "batch_invariant",)}
        ),
    )

    def no_vllm():
        raise MissingDependency("vLLM is not installed")

    monkeypatch.setattr(engine, "vllm_python", no_vllm)
    asked = ["--only", "ragged,large", "--repeats", "1", "--steps", "1"]
    assert main(["engine", *asked, "--json", str(tmp_path / "rows.json")]) == 1
    found = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["shape"], row["peer"]) for row in found] == [
        ("ragged", "transformers"),
        ("large", "transformers"),
        ("large", "vllm"),
        ("large", "batch_invariant"),
    ]
    for row in found:
        if row["peer"] == "vllm":
            assert row["failure"] == "vLLM is not installed"
        else:
            assert row["failure"] is None and row["name"] == "engine" and row["threads"] == 2
            assert row["ours_s"] > 0 and row["peer_s"] > 0 and row["memory_ratio"] > 0
            assert row["details"]["tokens_per_s"]["ours"] > 0
    assert "for 36 tokens" in capsys.readouterr().err


@pytest.mark.vllm
def test_vllm_really_runs(tmp_path, monkeypatch):
    try:
        engine.vllm_python()
    except MissingDependency as error:
        pytest.skip(str(error))
    monkeypatch.setitem(engine.POLICIES, "100M", SIZES)
    one = {"dtype": ("float32",), "mla": (False,), "compile": (False,), "processes": (False,)}
    monkeypatch.setattr(
        engine, "axes", lambda side, work: one if side == "vllm" else {"dtype": ("float32",), "rows": (4,)}
    )
    (row,) = engine.Bench(tmp_path, repeats=1, calls=1).rows(LARGE, ["vllm"])
    assert row.failure is None and row.peer_s > 0 and row.details["vllm_version"]
