from __future__ import annotations

import csv
import json
import os
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from benchmarks.perf import kernels, ops, roofline, rows
from benchmarks.perf.__main__ import main
from benchmarks.perf.ops import Side, peak
from tests.benchmarks.test_perf import FIELDS

LISTED = {
    "mla_decode": ("L=512 bf16 decode", "L=1024 bf16 decode", "L=512 decode", "L=512 B=1 bf16 decode", "L=512 bf16 attend"),
    "skinny_linear": ("M=1 bf16 linear", "M=4 bf16 linear", "M=16 linear", "M=4 H=16 bf16 linear"),
    "moe_experts": ("T=1024 fwd+bwd", "T=4096 bf16 fwd+bwd", "T=1024 fp32/bf16 fwd+bwd", "T=1 fwd", "T=8 bf16 fwd"),
    "fp8_block": ("dequantise", "M=1 linear", "M=16 linear", "quantise"),
    "selective_logprob": ("V=129280 M=1024 fwd+bwd", "V=129280 M=1024 bf16 fwd+bwd"),
    "top_p_sample": ("V=129280 peaked", "V=129280 flat"),
    "rms_norm": ("N=1024 D=2048 bf16 fwd", "N=1024 D=2048 bf16 fwd+bwd"),
    "rope": ("T=1024 H=16 bf16 fwd",),
    "swiglu": ("N=1024 I=1408 bf16 fwd+bwd",),
}  # fmt: skip
TINY = ("kernels", "--tiny", "--repeats", "2", "--steps", "2", "--threads", "1")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, threads):
    """The command sets environment variables and threads, which are back to before after the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def no_memory(monkeypatch):
    """Spares the processes that measure memory."""

    def peaks(bench, op, sides):
        return [2**20 if way == "ours" else 2**22 for _, way in sides]

    monkeypatch.setattr(kernels.Bench, "_peaks", peaks)


def measure(tmp_path, *arguments):
    code = main([*TINY, "--json", str(tmp_path / "rows.json"), *map(str, arguments)])
    return code, json.loads((tmp_path / "rows.json").read_text())


def test_every_op_is_measured_and_drawn(tmp_path, no_memory, capsys):
    code, found = measure(tmp_path, "--csv", tmp_path / "rows.csv", "--plot", tmp_path / "roofline.svg")
    assert code == 0, capsys.readouterr().err
    ceilings, measured = found[:3], found[3:]
    assert [row["shape"] for row in ceilings] == ["copy", "fp32 product", "bf16 product"]
    assert all(row["ours_s"] > 0 and row["peer"] is None and row["ratio"] is None for row in ceilings)
    assert [name for name in ops.OPS if any(row["name"] == name for row in measured)] == list(ops.OPS)
    for name, shapes in LISTED.items():
        assert set(shapes) <= {row["shape"] for row in measured if row["name"] == name}
    for row in measured:
        assert set(FIELDS) <= set(row) and row["failure"] is None and row["threads"] == 1
        assert row["ours_s"] > 0 and row["peer_s"] > 0 and row["memory_ratio"] == 4
        assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"])
        details = row["details"]
        assert details["setting"].split()[0] == row["peer"] and details["setting"] in details["tried_s"]
        assert details["flop"] > 0 and details["bytes"] > 0 and details["of_roof"] > 0
        assert row["error"] < (
            1e-5 if " bf16" not in row["shape"] and "fp32/" not in row["shape"] else 0.05
        ) or (row["name"] == "fp8_block"), row
    exact = [row for row in measured if row["name"] == "fp8_block" and row["shape"].endswith("quantise")]
    assert len(exact) == 3 and all(row["error"] == 0 for row in exact)
    peers = {row["peer"] for row in measured if row["name"] == "selective_logprob"}
    assert peers == {"naive", "liger"}
    with open(tmp_path / "rows.csv") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [row["name"] for row in found]

    svg = ElementTree.fromstring((tmp_path / "roofline.svg").read_text())
    titles = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == len(measured) and titles[0].startswith("mla_decode L=512 bf16 decode: ")
    assert set(ops.OPS) <= {node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")}  # the legend
    assert len(set(roofline._COLOURS.values())) == len(ops.OPS)
    numbers = [
        float(node.get(key)) for node in svg.iter("{http://www.w3.org/2000/svg}circle") for key in ("cx", "cy")
    ]
    assert all(0 <= number <= roofline.WIDTH for number in numbers)


def test_only_some_ops(tmp_path, no_memory):
    code, found = measure(tmp_path, "--only", "rope,swiglu")
    assert code == 0 and {row["name"] for row in found} == {"ceiling", "rope", "swiglu"}


def test_a_failing_peer_is_a_row_that_says_so(tmp_path, no_memory, monkeypatch, capsys):
    from transformers.models.deepseek_v3 import modeling_deepseek_v3 as hf

    monkeypatch.delattr(hf, "apply_rotary_pos_emb_interleave")
    code, found = measure(tmp_path, "--only", "rope,swiglu", "--plot", tmp_path / "roofline.svg")
    assert code == 1
    failed = [row for row in found if row["failure"] is not None]
    assert {row["name"] for row in failed} == {"rope"} and len(found) > 3 + len(failed)
    assert all(
        "apply_rotary_pos_emb_interleave" in row["failure"] and row["peer"] == "transformers" for row in failed
    )
    assert all(row["ratio"] is None and row["error"] is None for row in failed)
    assert "apply_rotary_pos_emb_interleave" in capsys.readouterr().err


def test_a_failing_way_of_a_peer_leaves_the_others(tmp_path, no_memory, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", None)
    code, found = measure(tmp_path, "--only", "selective_logprob")
    assert code == 0
    naive = [row["details"] for row in found if row["peer"] == "naive"]
    assert all(row["setting"] == "naive log_softmax" and "cross_entropy" in str(row["failed"]) for row in naive)


def test_ours_failing_is_a_row(tmp_path, no_memory, monkeypatch):
    monkeypatch.setenv("R1_KERNELS", "triton")
    code, found = measure(tmp_path, "--only", "rope")
    assert code == 1 and all("triton" in row["failure"] and row["peer"] is None for row in found[3:])


def test_memory_is_measured_in_a_process_for_each_side(tmp_path, monkeypatch):
    (case, *_) = ops.cases("swiglu", tiny=True)
    monkeypatch.setattr(ops, "cases", lambda name, tiny: [case])
    code, found = measure(tmp_path, "--only", "swiglu")
    assert code == 0 and found[3]["ours_peak_mb"] == pytest.approx(1.05, abs=0.5)


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="Linux only")
def test_peak_counts_results_and_temporaries():
    def call():
        torch.ones(2**23)  # 32 MiB, given back
        return (torch.ones(2**22),)

    assert 31 * 2**20 < peak.rise(Side(call)) < 52 * 2**20
    assert peak.rise(Side(lambda: ())) == peak.LEAST_BYTES


def test_the_error_is_relative_and_the_largest():
    exact = [torch.tensor([3.0, 4.0]).double(), torch.tensor([1.0, 1.0]).double()]
    found = [torch.tensor([3.0, 4.0]), torch.tensor([1.0, 1.5])]
    assert ops.relative_error(found, exact) == pytest.approx((0.25 / 2) ** 0.5)
    assert ops.relative_error([], exact) is None


def test_products_are_rounded_only_where_asked():
    setting = torch.backends.mkldnn.matmul
    before = setting.fp32_precision
    with ops.products("fp32/bf16"):
        assert setting.fp32_precision == "bf16"
    with ops.products(""):
        assert setting.fp32_precision == before
    assert setting.fp32_precision == before


def test_times_are_readable():
    assert [rows._time(s) for s in (None, 2.345, 0.01234, 4.2e-6)] == ["", "2.35 s", "12.3 ms", "4.2 µs"]


def test_a_slow_processor_multiplies_smaller_squares(monkeypatch):
    monkeypatch.setattr(roofline, "COPY_NUMBERS", 2**10)
    monkeypatch.setattr(roofline, "SQUARES", (256, 128, 64))
    limits = []
    for seconds in (1e-9, roofline.LONGEST_S / 10, 2 * roofline.LONGEST_S):
        monkeypatch.setattr(roofline, "_seconds", lambda call, seconds=seconds: call() is None or seconds)
        _, fp32, bf16 = roofline.ceilings(1)
        assert fp32.details == bf16.details
        limits.append((fp32.details["flop"] / 2) ** (1 / 3))
    assert limits == pytest.approx([256, 128, 64])  # as 64³ takes so long


def test_what_would_take_hours_is_left_out(tmp_path, no_memory, monkeypatch, capsys):
    monkeypatch.setattr(kernels, "PATIENCE_S", 0.0)
    code, found = measure(tmp_path, "--only", "swiglu")
    assert code == 0 and len(found) > 3
    for row in found[3:]:
        assert row["left_out"]
        dtype = "bf16" if " bf16" in row["shape"] else "fp32"
        assert f"left out: torch multiplies {dtype} at " in row["failure"] and row["ours_s"] is None
