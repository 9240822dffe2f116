"""Environments for tests: a plugin-sized one, and one whose grader misbehaves on request.

Made by id as "toy_envs:toy/Parity-v0": the module is imported first, in grading workers too.
"""

from __future__ import annotations

import os
import signal
import time

import r1env
from r1env import GraderError, ReasoningEnv
from r1env.env import responses
from r1env.envs.math import MathEnv

_HOARD: list[bytes] = []


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
        if answer.startswith("nap "):
            time.sleep(float(answer.split()[1]))
        if answer == "eat":  # more than any machine has
            return len(bytearray(1 << 45)) == 0
        if answer == "hoard":
            _HOARD.append(b"x" * (100 << 20))
        if answer.startswith("meet "):  # two graders that are at work at the same time see each other
            mine, theirs = (os.path.join(task.meta["folder"], name) for name in answer.split()[1:])
            open(mine, "w").close()
            while not os.path.exists(theirs):
                time.sleep(0.01)
        if answer == "give up":
            raise GraderError("the judge is out")
        if answer == "crash":
            raise RuntimeError(f"the answer was {task.answer}")
        if answer == "print":
            print("noise on standard output")
            os.write(1, b"more noise\n")
        return answer in ("right", "die once", "print", "hoard") or answer.startswith(("nap ", "meet "))


class MoodyMathEnv(MathEnv):
    """Grades mathematics, but is stuck on two answers that only a deadline ends."""

    def check(self, task, answer):
        while answer == "spin":
            pass
        if answer == "sleep":
            time.sleep(60)
        return super().check(task, answer)


class OwnStepEnv(ParityEnv):
    """Asks back by a step of its own."""

    def step(self, action):
        return "Are you sure?", 0.0, False, False, {}


class GuessEnv(ReasoningEnv):
    """A number from 1 to 8 in three guesses, each followed by which way to go."""

    turns = 3

    def generate(self, rng, level):
        name = "".join(chr(97 + int(i)) for i in rng.integers(26, size=4))
        return f"{name}: what number?", int(rng.integers(1, 9)), {}

    def check(self, task, answer):
        if answer == "give up":
            raise GraderError("the judge is out")
        while answer == "spin":
            pass
        if not answer.isascii() or not answer.isdigit():
            return "wrong", "not a number"
        if int(answer) == task.answer:
            return True
        return "wrong", "more" if int(answer) < task.answer else "less"

    def follow_up(self, task, transcript, grade):
        if grade.verdict == "correct" or len(responses(transcript)) >= self.turns:
            return None
        return f"{len(responses(transcript))}: {grade.detail}"


class EndlessEnv(GuessEnv):
    """Never lets go of a wrong answer."""

    turns = 10**9


class SlowEnv(MoodyEnv):
    """Takes a second to be ready."""

    def warm_up(self):
        time.sleep(1.0)


class ColdEnv(MoodyEnv):
    """Can be made, but not grade."""

    def warm_up(self):
        raise GraderError("it cannot warm up")


class CrookedEnv(MoodyEnv):
    """Breaks the contract of `measure`, in every process."""

    def measure(self, task, parsed):
        return {"ratio": 1 / 0}


class LateEnv(MoodyEnv):
    """Cannot be made."""

    def __init__(self, **kwargs):
        raise r1env.ConfigError("this environment cannot be made")


for _class in (
    ParityEnv, MoodyEnv, MoodyMathEnv, OwnStepEnv, GuessEnv, EndlessEnv, SlowEnv, ColdEnv, CrookedEnv, LateEnv
):  # fmt: skip
    _name = _class.__name__
    r1env.register(f"toy/{_name.removesuffix('Env')}-v0", f"toy_envs:{_name}")
