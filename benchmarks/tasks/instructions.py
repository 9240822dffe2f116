"""IFEval: instructions whose observance a program verifies, strictly and loosely, by prompt and by instruction."""

from __future__ import annotations

from benchmarks.tasks.base import Benchmark, Source, dataset

BENCHMARKS = (
    Benchmark(
        name="ifeval",
        title="IFEval",
        env=dataset("r1env/General-v0", language=None),
        source=Source(
            hub="google/IFEval",
            revision="966cd89545d6b6acfd7638bc708b98261ca58e84",
            hub_files=("ifeval_input_data.jsonl",),
            hub_sha256="6a85310ca8ce15eff755aa08a3a4ff931c7e273e7515ebb3c492ea85fd8288f2",
            files=("ifeval.jsonl", "ifeval/ifeval.jsonl"),
            sha256="04c069cf5d5770952244f7b6bb38eb7b6e5faa143fc70995457a85de455e4cd2",
            problems_sha256="fcb0d5c4eb953c44fe033ef3d21fb790b86fb9d8fc3a1f70630cd18c87ab4954",
            licence="Apache-2.0",
            url="https://arxiv.org/abs/2311.07911",
        ),
        k=4,
        metrics=("pass@1", "loose", "constraints", "loose_constraints"),
        notes="pass@1 is prompt-level strict accuracy, as DeepSeek reports it; what is judged is the summary. The shares "
        "of constraints are means over prompts, not over all instructions",
    ),
)
