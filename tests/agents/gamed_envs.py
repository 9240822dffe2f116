"""`Math-v0` with a part that can be gamed: brevity, which the warm-up's guesses have and worked answers have not.

Made by id as "gamed_envs:gamed/Math-v0", in grading workers too. For tests only.
"""

from __future__ import annotations

import r1env
from r1env.envs.math import MathEnv

BRIEF = 6
"""Characters of reasoning."""


class BriefMathEnv(MathEnv):
    """The part `brief` is 1 for reasoning of a word at most."""

    extra_parts = (*MathEnv.extra_parts, "brief")

    def measure(self, task, parsed):
        short = parsed.reasoning is not None and len(parsed.reasoning.strip()) <= BRIEF
        return {**super().measure(task, parsed), "brief": float(short)}


r1env.register("gamed/Math-v0", "gamed_envs:BriefMathEnv")
