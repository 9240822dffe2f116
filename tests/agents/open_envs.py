"""Environments whose grades a random policy can earn, and one that only a judge can grade. Made by id as
"open_envs:open/Even-v0", in grading workers too. For tests only."""

from __future__ import annotations

import r1env
from r1env.errors import GraderError
from r1env.types import Task


class EvenEnv(r1env.ReasoningEnv):
    """Any text is an answer; those of an even number of bytes are right."""

    many_answers = True

    def generate(self, rng, level):
        return f"Say something about the number {rng.integers(10_000)}.", "even", {}

    def extract(self, task: Task, response: str):
        return response or None

    def check(self, task: Task, answer: str):
        return len(answer.encode()) % 2 == 0

    def solve(self, task: Task):
        return "even"

    def respond(self, task: Task, reasoning: str, answer: str):
        whole = super().respond(task, reasoning, answer)
        return whole if len(whole.encode()) % 2 == 0 else whole.replace("</think>", " </think>")


class CapitalEnv(r1env.ReasoningEnv):
    """Questions with a reference that no rule compares with."""

    many_answers = True

    def generate(self, rng, level):
        number = int(rng.integers(1000))
        return f"What is the name of town {number}?", f"Town {number}", {}

    def extract(self, task: Task, response: str):
        return r1env.parse(response).summary or None

    def check(self, task: Task, answer: str):
        raise GraderError("names are not compared by rule")


r1env.register("open/Even-v0", "open_envs:EvenEnv")
r1env.register("open/Capital-v0", "open_envs:CapitalEnv")


class TwiceEnv(r1env.ReasoningEnv):
    """Sums with a second try."""

    def generate(self, rng, level):
        one, other = rng.integers(1, 100, size=2)
        return f"{one} + {other}", str(one + other), {}

    def check(self, task: Task, answer: str):
        return answer == task.answer

    def follow_up(self, task: Task, transcript, grade):
        tries = len(r1env.env.responses(transcript))
        return "No. Once more." if grade.verdict != "correct" and tries < 2 else None


r1env.register("open/Twice-v0", "open_envs:TwiceEnv")
