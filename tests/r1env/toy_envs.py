"""Environments for tests: a plugin-sized one, and one whose grader misbehaves on request.

Made by id as "toy_envs:toy/Parity-v0": the module is imported first, in grading workers too.
"""

from __future__ import annotations

import os
import signal
import time

import r1env
from r1env import GraderError, ReasoningEnv


class ParityEnv(ReasoningEnv):
    """Is the number of ones even? The whole of what an author has to write."""

    def generate(self, rng, level):
        bits = "".join(str(bit) for bit in rng.integers(2, size=12))
        return f"Is the number of ones in {bits} even or odd?", ["even", "odd"][bits.count("1") % 2], {}

    def check(self, task, answer):
        return answer.lower() == task.answer


class MoodyEnv(ParityEnv):
    """Its grader does what the answer says: spins, sleeps, dies, raises, or answers "right"."""

    def check(self, task, answer):
        if answer == "spin":
            while True:
                pass
        if answer == "spin in C":
            return 9 ** (9**9) > 0
        if answer == "sleep":
            if "TOY_ASLEEP" in os.environ:  # a file by which a test learns that the grader is at it
                open(os.environ["TOY_ASLEEP"], "w").close()
            time.sleep(60)
        if answer == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if answer == "die once":
            flag = task.meta["flag"]
            if not os.path.exists(flag):
                open(flag, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        if answer == "give up":
            raise GraderError("the judge is out")
        if answer == "crash":
            raise RuntimeError(f"the answer was {task.answer}")
        if answer == "print":
            print("noise on standard output")
            os.write(1, b"more noise\n")
        return answer in ("right", "die once", "print")


class SlowEnv(MoodyEnv):
    """Takes a second to be ready."""

    def warm_up(self):
        time.sleep(1.0)


class LateEnv(MoodyEnv):
    """Cannot be made."""

    def __init__(self, **kwargs):
        raise r1env.ConfigError("this environment cannot be made")


for _name, _class in (("Parity", ParityEnv), ("Moody", MoodyEnv), ("Slow", SlowEnv), ("Late", LateEnv)):
    r1env.register(f"toy/{_name}-v0", f"toy_envs:{_class.__name__}")
