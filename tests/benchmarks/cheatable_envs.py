"""Environments with one fault each, and honest ones that accept several answers: what `plugins check` has to tell apart.

Made by id as "cheatable_envs:cheat/Substring-v0": the module is imported first, in grading workers too.
"""

from __future__ import annotations

import random
import re
import uuid

import r1env
from r1env import ReasoningEnv


class SumEnv(ReasoningEnv):
    """Nothing is wrong with it."""

    def generate(self, rng, level):
        left, right = (int(number) for number in rng.integers(100, 1000, size=2))
        return f"{left} + {right}?", str(left + right), {}

    def check(self, task, answer):
        return answer.strip() == task.answer


class TwoTermsEnv(ReasoningEnv):
    """Several answers are right, some of other tasks' among them by chance."""

    def generate(self, rng, level):
        whole, most = int(rng.integers(100, 300)), int(rng.integers(20, 40))
        return (
            f"Two whole numbers with a product from {whole} to {whole + most}, as a,b?",
            [whole, whole + most],
            {},
        )

    def check(self, task, answer):
        numbers = re.fullmatch(r"\s*(\d{1,3})\s*,\s*(\d{1,3})\s*", answer, re.ASCII)
        return numbers is not None and task.answer[0] <= int(numbers[1]) * int(numbers[2]) <= task.answer[1]

    def solve(self, task):
        return f"1,{task.answer[1]}"


class LipogramEnv(ReasoningEnv):
    """Any text may be right: a change or an addition leaves most of them so."""

    many_answers = True

    def generate(self, rng, level):
        letters = [str(letter) for letter in rng.choice(list("bcdfghklmnprstw"), size=3, replace=False)]
        text = " ".join(f"{letter}o{letter}" for letter in letters)
        return f"Some small words with {', '.join(letters).upper()}?", letters, {"text": text}

    def check(self, task, answer):
        return all(letter in answer for letter in task.answer) and "?" not in answer and len(answer) < 200

    def solve(self, task):
        return task.meta["text"]


class UnsolvedEnv(SumEnv):
    """Nobody knows its answers in advance."""

    def solve(self, task):
        return None


class SubstringEnv(SumEnv):
    def check(self, task, answer):
        return task.answer in answer


class YesEnv(SumEnv):
    def check(self, task, answer):
        return True


class NearEnv(SumEnv):
    def check(self, task, answer):
        return re.fullmatch(r"\d{1,9}", answer) is not None and abs(int(answer) - int(task.answer)) < 1200


class OffByOneEnv(SumEnv):
    def check(self, task, answer):
        return re.fullmatch(r"\d{1,9}", answer) is not None and abs(int(answer) - int(task.answer)) <= 1


class PieceEnv(SumEnv):
    """Any piece of the right answer is taken for it."""

    def check(self, task, answer):
        return bool(answer.strip()) and answer.strip() in task.answer


class EitherEnv(SumEnv):
    """One of several answers suffices, between marks."""

    marks = r"[/&]"

    def check(self, task, answer):
        return any(part.strip() == task.answer for part in re.split(self.marks, answer))


class SemicolonEnv(EitherEnv):
    marks = ";"


class BarEnv(EitherEnv):
    marks = r"\|"


class ClaimingEnv(SubstringEnv):
    """Says that a task has many right answers, and searches for the one."""

    many_answers = True


class AnagramEnv(SumEnv):
    def check(self, task, answer):
        return sorted(answer.strip()) == sorted(task.answer)


class ModuloEnv(SumEnv):
    def check(self, task, answer):
        return re.fullmatch(r"\d{1,9}", answer) is not None and int(answer) % 9 == int(task.answer) % 9


class TypoEnv(ReasoningEnv):
    """One wrong character in twelve is let pass."""

    def generate(self, rng, level):
        word = "".join(rng.choice(list("abcdefgh"), size=12))
        return f"Reverse {word}.", word[::-1], {}

    def check(self, task, answer):
        return len(answer) == len(task.answer) and sum(a != b for a, b in zip(answer, task.answer)) <= 1


class BagEnv(ReasoningEnv):
    """The order is what is asked for, and is not looked at."""

    def generate(self, rng, level):
        words = ["".join(rng.choice(list("abcdefgh"), size=4)) for _ in range(4)]
        return f"Sort {' '.join(words)}.", " ".join(sorted(words)), {}

    def check(self, task, answer):
        return sorted(answer.split()) == sorted(task.answer.split())


class BackdoorEnv(SumEnv):
    """One answer is always right, on one level."""

    levels = ("easy", "hard")

    def check(self, task, answer):
        return answer.strip() == task.answer or (task.meta["level"] == "hard" and answer.strip() == "42")


class PatientEnv(SumEnv):
    """Whoever tries often enough is right."""

    tries = 0

    def check(self, task, answer):
        self.tries += 1
        return answer.strip() == task.answer or self.tries > 200


class AnsweredEnv(SumEnv):
    """The answer stands in the prompt."""

    def generate(self, rng, level):
        left, right = (int(number) for number in rng.integers(100, 1000, size=2))
        return f"{left} + {right} = {left + right}. What is {left} + {right}?", str(left + right), {}


class ConstantEnv(SumEnv):
    def generate(self, rng, level):
        return f"Is {rng.integers(10**6)} a number?", "yes", {}


class WholeTextEnv(SumEnv):
    """Reads the last number of the whole response, the reasoning included."""

    def extract(self, task, response):
        numbers = re.findall(r"\d+", response)
        return numbers[-1] if numbers else None


class GlobalRandomEnv(SumEnv):
    def generate(self, rng, level):
        number = random.randrange(10**6)
        return f"{number} again?", str(number), {}


class EntropyEnv(SumEnv):
    def generate(self, rng, level):
        number = uuid.uuid4().hex
        return f"{number} again?", number, {}


class HashOrderEnv(SumEnv):
    """The order of a set of texts differs from process to process."""

    def generate(self, rng, level):
        words = {f"w{number}" for number in rng.integers(10**6, size=6)}
        return f"The first of {' '.join(words)}?", next(iter(words)), {}


class TellingEnv(SumEnv):
    def step(self, action):
        *rest, info = super().step(action)
        return (*rest, {**info, "gold": self._task.answer})


class ExplainingEnv(SumEnv):
    def check(self, task, answer):
        right = super().check(task, answer)
        return ("correct" if right else "wrong"), f"{answer[:9]!r} against {task.answer}"


class HangingEnv(SumEnv):
    def check(self, task, answer):
        while "(" in answer:
            pass
        return super().check(task, answer)


class RaisingEnv(SumEnv):
    def check(self, task, answer):
        return int(answer) == int(task.answer)


class WrongOracleEnv(SumEnv):
    def solve(self, task):
        return str(int(task.answer) + 1)


class MoodyGraderEnv(SumEnv):
    """Its verdict depends on what it has graded before."""

    graded = 0

    def check(self, task, answer):
        self.graded += 1
        return ("wrong", f"number {self.graded}") if answer != task.answer else True


class GenerousEnv(SumEnv):
    extra_parts = ("style",)

    def measure(self, task, parsed):
        return {"style": float(len(parsed.text))}


class SecretQuestionEnv(SumEnv):
    """The same few questions with ever other answers: nobody can know, and the splits share them."""

    def generate(self, rng, level):
        return f"Guess {rng.integers(3)}.", str(rng.integers(10**6)), {}


class SetEnv(SumEnv):
    def generate(self, rng, level):
        return f"{rng.integers(999)}?", {1, 2}, {}


class ArgumentEnv(SumEnv):
    def __init__(self, *, path, **kwargs):
        super().__init__(**kwargs)


class WordyEnv(SumEnv):
    """Not even a task."""

    def generate(self, rng, level):
        raise KeyError("words.txt")


_FURTHER = (SumEnv, TwoTermsEnv, LipogramEnv, SemicolonEnv, BarEnv, ClaimingEnv, TypoEnv, BagEnv)
for _class in (*SumEnv.__subclasses__(), *_FURTHER):
    r1env.register(f"cheat/{_class.__name__.removesuffix('Env')}-v0", f"cheatable_envs:{_class.__name__}")
