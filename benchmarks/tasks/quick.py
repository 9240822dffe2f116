"""The suite `quick`: generated problems, the same for everybody, that a policy of a million parameters can be asked.

They are asked bare, as `python -m agents.grpo env=math` asks them in training; the answer is read from `<answer>` tags
or a box. The level add_sub is what that policy is trained on, the others show what it has not learnt.
"""

from __future__ import annotations

from benchmarks.tasks.base import Benchmark, Source
from r1env.registry import EnvSpec

MAX_NEW_TOKENS = 512
K = 4

BENCHMARKS = (
    Benchmark(
        name="quick-math",
        title="Arithmetic, five levels",
        env=lambda path: EnvSpec("r1env/Math-v0", {"split": "test"}),
        source=Source(sha256="578696a7f0de1644343a3a91d19abdeee5cb84807aff08f53f3f08aa7b6bc672", licence="MIT"),
        levels={"add_sub": 80, "add_sub_3": 30, "two_digit": 30, "times": 30, "precedence": 30},
        k=K,
        max_new_tokens=MAX_NEW_TOKENS,
    ),
    Benchmark(
        name="quick-logic",
        title="Logic puzzles, five kinds",
        env=lambda path: EnvSpec("r1env/Logic-v0", {"split": "test"}),
        source=Source(sha256="c506ec7a662f60aab12f3c68b474c49f99dbb47cc0e7aa32be2176a5fd6c2a72", licence="MIT"),
        levels={"knights_2": 20, "knights_3": 20, "countdown_3": 20, "sudoku_4": 20, "sat_4": 20},
        k=K,
        max_new_tokens=MAX_NEW_TOKENS,
    ),
)
