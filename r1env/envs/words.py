"""One-step word problems in English: a little story, one operation, small numbers.

Each operation has eight stories over names and things that can be counted; every story's two numbers
stand in the text as digits, and its answer is a whole number that is never negative.
"""

from __future__ import annotations

import numpy as np

NAMES = (
    "Ada", "Ben", "Chloe", "Dario", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jamal", "Kira", "Liam",
    "Maya", "Noah", "Olga", "Pablo", "Quinn", "Rosa", "Samir", "Tara", "Uma", "Viktor", "Wei", "Yuki",
)  # fmt: skip
THINGS = (
    "apples", "books", "pencils", "marbles", "stickers", "coins", "cookies", "shells", "cards", "flowers",
    "stamps", "balloons", "oranges", "buttons", "eggs", "candles", "stones", "tickets", "postcards", "beads",
)  # fmt: skip
PLACES = ("boxes", "bags", "baskets", "shelves", "drawers", "jars", "rows", "piles")

ADD = (
    "{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?",
    "{name} has {a} {things}. {other} has {b} {things}. How many {things} do they have together?",
    "There are {a} {things} on the table. {name} puts {b} more {things} there. How many are there now?",
    "{name} found {a} {things} in the morning and {b} in the afternoon. How many {things} is that in all?",
    "{name} bought {a} {things} on Monday and {b} {things} on Tuesday. How many {things} did {name} buy?",
    "{other} has {a} {things}. {name} has {b} more {things} than {other}. How many {things} does {name} have?",
    "{name} gave away {a} {things} and has {b} {things} left. How many {things} were there at first?",
    "One box holds {a} {things} and another holds {b}. How many {things} are in both boxes?",
)
SUBTRACT = (
    "{name} has {a} {things} and gives {b} to {other}. How many {things} does {name} have left?",
    "There were {a} {things} in the box. {name} took out {b}. How many {things} are still in it?",
    "{name} has {a} {things}. {other} has {b} {things}. How many more {things} does {name} have than {other}?",
    "{name} needs {a} {things} and already has {b}. How many more {things} does {name} need?",
    "{name} had {a} {things} but lost {b} of them. How many {things} are left?",
    "Of {a} {things}, {b} are red and the others are blue. How many {things} are blue?",
    "{name} has {a} {things}, which is {b} more than {other} has. How many {things} does {other} have?",
    "{name} and {other} have {a} {things} together. {b} of them are {other}'s. How many are {name}'s?",
)
MULTIPLY = (
    "{name} has {a} {places} with {b} {things} in each. How many {things} does {name} have?",
    "{name} buys {a} packs of {b} {things}. How many {things} is that?",
    "Each of {a} children has {b} {things}. How many {things} do they have in all?",
    "{name} collects {b} {things} every day. How many {things} does {name} have after {a} days?",
    "{other} has {b} {things}. {name} has {a} times as many. How many {things} does {name} have?",
    "There are {a} {places}, and every one of them holds {b} {things}. How many {things} are there?",
    "One of the {things} costs {b} dollars. How many dollars do {a} of them cost?",
    "{name} puts {b} {things} on each of {a} plates. How many {things} are on the plates?",
)
DIVIDE = (
    "{name} shares {a} {things} equally among {b} friends. How many {things} does each friend get?",
    "{name} puts {a} {things} into {b} {places}, the same number in each. How many {things} are in one?",
    "{name} packs {a} {things} into bags of {b}. How many bags does {name} fill?",
    "{b} {things} of the same kind cost {a} dollars. How many dollars does one of them cost?",
    "{name} has {a} {things}, which is {b} times as many as {other} has. How many {things} does {other} have?",
    "A game needs {b} {things} for each player. For how many players are {a} {things} enough?",
    "{name} gives away {b} {things} a day. After how many days are all {a} {things} gone?",
    "{a} {things} lie in {b} equal rows. How many {things} are in one row?",
)


def generate(rng: np.random.Generator) -> tuple[str, str, int]:
    """Draws a word problem.

    Returns:
        The question, the calculation behind it (`12 / 4`), and the answer.
    """
    symbol = str(rng.choice(["+", "-", "*", "/"]))
    a, b, answer = _numbers(rng, symbol)
    stories = {"+": ADD, "-": SUBTRACT, "*": MULTIPLY, "/": DIVIDE}[symbol]
    name, other = (str(person) for person in rng.choice(NAMES, size=2, replace=False))
    question = stories[rng.integers(len(stories))].format(
        a=a, b=b, name=name, other=other, things=rng.choice(THINGS), places=rng.choice(PLACES)
    )
    return question, f"{a} {symbol} {b}", answer


def _numbers(rng: np.random.Generator, symbol: str) -> tuple[int, int, int]:
    if symbol == "+":
        a, b = (int(n) for n in rng.integers(2, 31, size=2))
        return a, b, a + b
    if symbol == "-":
        b, answer = (int(n) for n in rng.integers(2, 21, size=2))
        return answer + b, b, answer
    b, other = (int(n) for n in rng.integers(2, 11, size=2))
    return (other, b, other * b) if symbol == "*" else (other * b, b, other)
