"""Logic puzzles from a dataset: knights and knaves of three to seven people."""

from __future__ import annotations

from benchmarks.tasks.base import BOXED, Benchmark, Source, dataset

BENCHMARKS = (
    Benchmark(
        name="knights-knaves",
        title="Knights and knaves, 3 to 7 people",
        env=dataset("r1env/Logic-v0"),
        source=Source(
            hub="K-and-K/knights-and-knaves",
            hub_files=tuple(f"test/people{people}_num100.jsonl" for people in range(3, 8)),
            files=("knights-knaves.jsonl", "kk/kk_test.jsonl"),
            sha256="d22dad24c1fa615e7f6857a6f9f6368399fcaf9bfc27309f5e83037170d7c353",
            problems_sha256="2e32d8248a0c39cad24bc320e20a8b878841c6136bdb45acd0d89d99934de8ec",
            licence="Apache-2.0",
            url="https://arxiv.org/abs/2410.23123",
        ),
        k=4,
        instruction=BOXED,
        language="en",
        notes="all of a puzzle's people must be right; not among R1's benchmarks",
    ),
)
