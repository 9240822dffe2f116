"""Generated multiple-choice questions in science: one right option, the others made from typical mistakes.

How options are made so that they alone do not give the answer away is in `r1env.envs.topics`.

Every value is exact (`fractions.Fraction`) and shown exactly, so that "no other option is right" is a
comparison of numbers and not of texts. A question's options all carry the same unit.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from r1env.envs.topics import Draft, Form, Number, Topic, below


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """One generated question, its options in order."""

    text: str
    """What is asked, without the options."""
    options: tuple[str, ...]
    """The options' texts."""
    right: int
    """Index of the right one."""
    working: str
    """The calculation that leads to it, on one line."""


def generate(rng: np.random.Generator, level: str) -> Question:
    """Draws a question of a level.

    Args:
        rng: Where all randomness comes from.
        level: A key of `LEVELS`.
    """
    topics, count = LEVELS[level]
    topic = topics[below(rng, len(topics))]
    drawn = topic.options(rng, count)
    values = [drawn[at] for at in rng.permutation(count)]
    right = below(rng, count)
    asked = topic.ask(rng, values[right], values)
    unit = f" {asked.unit}" if asked.unit else ""
    return Question(asked.text, tuple(f"{shown(value)}{unit}" for value in values), right, asked.working)


def shown(value: Number) -> str:
    """A value as exact decimals: `7/2` gives `3.5`.

    Raises:
        ValueError: its decimals never end.
    """
    value = Fraction(value)
    digits = _decimals(value)
    if digits is None:
        raise ValueError(f"{value} has no finite decimals")
    whole = f"{abs(value.numerator) * 10**digits // value.denominator:0{digits + 1}d}"
    sign = "-" if value < 0 else ""
    return f"{sign}{whole[:-digits]}.{whole[-digits:]}" if digits else f"{sign}{whole}"


def _decimals(value: Fraction) -> int | None:
    """How many decimals a value needs, up to six; None for more."""
    return next((digits for digits in range(7) if 10**digits % value.denominator == 0), None)


def _by_unit(forms: Mapping[str, Sequence[Form]]) -> tuple[Topic, ...]:
    return tuple(Topic(tuple(some)) for some in forms.values())


# Arithmetic: 126 sums and differences, each with many options.


def _sum(a: int, b: int) -> Draft:
    return Draft(f"{a} + {b} = ?", a + b, [abs(a - b), *_near(a + b)], f"{a} + {b} = {a + b}")


def _difference(a: int, b: int) -> Draft | None:
    if a < b:
        return None
    return Draft(f"{a} - {b} = ?", a - b, [a + b, *_near(a - b)], f"{a} - {b} = {a - b}")


def _near(value: int) -> list[int]:
    return [value + step for step in (1, -1, 2, -2, 3)]


_DIGITS = range(1, 10)
_ARITHMETIC = (Topic((Form(_sum, (_DIGITS, _DIGITS)), Form(_difference, (_DIGITS, _DIGITS)))),)

# Units: 10,000 conversions.

_UNITS = (
    # from, to, factor from one to the other, a factor that is taken by mistake
    ("km", "m", 1000, 100),
    ("m", "cm", 100, 1000),
    ("m", "mm", 1000, 100),
    ("cm", "mm", 10, 100),
    ("kg", "g", 1000, 100),
    ("t", "kg", 1000, 100),
    ("L", "mL", 1000, 100),
    ("m²", "cm²", 10_000, 100),
    ("m³", "L", 1000, 100),
    ("h", "min", 60, 100),
    ("min", "s", 60, 100),
    ("d", "h", 24, 60),
    ("kJ", "J", 1000, 100),
    ("MW", "kW", 1000, 10),
)


_Unit = tuple[str, str, int, int]


def _to_small(row: _Unit, amount: Fraction) -> Draft:
    large, small, factor, mistaken = row
    right = amount * factor
    mistakes = [amount * mistaken, amount / factor, right * 10, right / 10]
    working = f"{shown(amount)} * {factor} = {shown(right)}"
    return Draft(f"{shown(amount)} {large} = ? {small}", right, mistakes, working, small)


def _to_large(row: _Unit, amount: Fraction) -> Draft:
    large, small, factor, mistaken = row
    whole = amount * factor
    mistakes = [whole / mistaken, whole * factor, amount * 10, amount / 10]
    working = f"{shown(whole)} / {factor} = {shown(amount)}"
    return Draft(f"{shown(whole)} {small} = ? {large}", amount, mistakes, working, large)


def _conversions() -> tuple[Topic, ...]:
    wholes = [Fraction(amount) for amount in range(2, 200)]
    tenths = [Fraction(amount, 10) for amount in range(2, 200) if amount % 10]
    forms: dict[str, list[Form]] = {}
    for row in _UNITS:
        amounts = [*wholes, *tenths] if row[2] % 10 == 0 else wholes
        forms.setdefault(row[1], []).append(Form(_to_small, ((row,), amounts)))
        forms.setdefault(row[0], []).append(Form(_to_large, ((row,), amounts)))
    return _by_unit(forms)


# Physics: 20,000 questions.


def _distance(v: int, t: int, thing: str) -> Draft:
    text = f"A {thing} moves at {v} m/s for {t} s. How far does it get?"
    return Draft(text, v * t, [v + t, Fraction(v, t), Fraction(v * t, 2)], f"{v} * {t} = {v * t}", "m")


def _speed(v: int, t: int, thing: str) -> Draft:
    text = f"A {thing} covers {v * t} m in {t} s. What is its mean speed?"
    return Draft(text, v, [t, v * t * t, v * t - t, 2 * v, Fraction(v, 2)], f"{v * t} / {t} = {v}", "m/s")


def _force(m: int, a: int) -> Draft:
    text = f"Which net force gives a body of {m} kg an acceleration of {a} m/s²?"
    return Draft(text, m * a, [m + a, Fraction(m, a), m * a * 10, m * a * a], f"{m} * {a} = {m * a}", "N")


def _acceleration(m: int, a: int) -> Draft:
    text = f"A net force of {m * a} N acts on a body of {m} kg. What is its acceleration?"
    return Draft(text, a, [m, m * a * m, a * 10, m * a - m, a * a], f"{m * a} / {m} = {a}", "m/s²")


def _kinetic(m: int, v: int) -> Draft:
    text = f"What is the kinetic energy of a body of {m} kg at {v} m/s?"
    right = m * v * v // 2
    mistakes = [m * v * v, m * v // 2, m * v, m * m * v // 2]  # no half, no square, momentum
    return Draft(text, right, mistakes, f"{m} * {v} * {v} / 2 = {right}", "J")


def _potential(m: int, h: int) -> Draft:
    text = f"By how much does the potential energy of {m} kg grow when it is lifted {h} m (g = 10 m/s²)?"
    mistakes = [m * h, 5 * m * h, 10 * m * h * h, 10 * m]
    return Draft(text, 10 * m * h, mistakes, f"{m} * 10 * {h} = {10 * m * h}", "J")


def _voltage(i: int, r: int) -> Draft:
    text = f"A current of {i} A flows through {r} Ω. What is the voltage?"
    return Draft(text, i * r, [i + r, Fraction(r, i), i * i * r, r * r * i], f"{i} * {r} = {i * r}", "V")


def _resistance(i: int, r: int) -> Draft:
    text = f"{i * r} V drive {i} A through a resistor. What is its resistance?"
    return Draft(text, r, [i, i * r * i, i * r - i, i * r, 2 * r], f"{i * r} / {i} = {r}", "Ω")


def _power(i: int, r: int) -> Draft:
    u = i * r
    text = f"What power does a device take up at {u} V and {i} A?"
    return Draft(text, u * i, [r, u + i, u, u * i * i], f"{u} * {i} = {u * i}", "W")


def _density(rho: Fraction, volume: int) -> Draft:
    mass = rho * volume
    text = f"{shown(mass)} g of a substance fill {volume} cm³. What is its density?"
    mistakes = [rho * 10, rho / 10, mass - volume, Fraction(volume), mass]
    return Draft(text, rho, mistakes, f"{shown(mass)} / {volume} = {shown(rho)}", "g/cm³")


_MOTION = (range(2, 41), range(2, 31), ("train", "runner", "ball", "boat"))
_PUSH = (range(2, 51), range(2, 21))
_MOVED = (range(2, 61, 2), range(2, 21))
_CURRENT = (range(2, 13), range(2, 41))
_DENSITIES = [Fraction(rho, 10) for rho in range(4, 121)]
_PHYSICS = _by_unit(
    {
        "m": [Form(_distance, _MOTION)],
        "m/s": [Form(_speed, _MOTION)],
        "N": [Form(_force, _PUSH)],
        "m/s²": [Form(_acceleration, _PUSH)],
        "J": [Form(_kinetic, _MOVED), Form(_potential, _MOVED)],
        "V": [Form(_voltage, _CURRENT)],
        "Ω": [Form(_resistance, _CURRENT)],
        "W": [Form(_power, _CURRENT)],
        "g/cm³": [Form(_density, (_DENSITIES, range(2, 61)))],
    }
)

# Chemistry: 3,000 questions.

_MASSES: Mapping[str, int] = {
    "H": 1, "C": 12, "N": 14, "O": 16, "F": 19, "Na": 23, "Mg": 24, "Al": 27, "S": 32, "K": 39, "Ca": 40, "Fe": 56
}  # fmt: skip
_NUMBERS: Mapping[str, int] = {
    "H": 1, "C": 6, "N": 7, "O": 8, "F": 9, "Na": 11, "Mg": 12, "Al": 13, "S": 16, "K": 19, "Ca": 20, "Fe": 26
}  # fmt: skip
_METALS = (("Na", 1), ("K", 1), ("Mg", 2), ("Ca", 2), ("Al", 3), ("Fe", 2), ("Fe", 3))
_COMPOUNDS: tuple[tuple[tuple[str, int], ...], ...] = (
    (("H", 2), ("O", 1)),
    (("C", 1), ("O", 2)),
    (("N", 1), ("H", 3)),
    (("C", 1), ("H", 4)),
    (("S", 1), ("O", 2)),
    (("S", 1), ("O", 3)),
    (("H", 2), ("S", 1)),
    (("Mg", 1), ("O", 1)),
    (("Fe", 2), ("O", 3)),
    (("Al", 2), ("O", 3)),
    (("Ca", 1), ("C", 1), ("O", 3)),
    (("H", 2), ("S", 1), ("O", 4)),
    (("Na", 1), ("O", 1), ("H", 1)),
    (("K", 1), ("N", 1), ("O", 3)),
    (("C", 2), ("H", 6), ("O", 1)),
    (("C", 6), ("H", 12), ("O", 6)),
    (("C", 3), ("H", 8)),
    (("Na", 2), ("C", 1), ("O", 3)),
    (("Ca", 1), ("F", 2)),
    (("N", 2), ("O", 5)),
)


_Compound = tuple[tuple[str, int], ...]


def _formula(compound: _Compound) -> str:
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in compound)


def _weighed(compound: _Compound) -> tuple[int, int, str, str]:
    """Molar mass, the same without the counts, the atomic masses as a text, and the sum that is the molar mass."""
    molar = sum(_MASSES[symbol] * count for symbol, count in compound)
    plain = sum(_MASSES[symbol] for symbol, _ in compound)
    given = ", ".join(f"{symbol} {_MASSES[symbol]}" for symbol, _ in compound)
    return molar, plain, given, " + ".join(f"{count} * {_MASSES[symbol]}" for symbol, count in compound)


def _mass(compound: _Compound, moles: Fraction) -> Draft:
    molar, plain, given, terms = _weighed(compound)
    text = f"What mass have {shown(moles)} mol of {_formula(compound)}, with the atomic masses {given}?"
    right = moles * molar
    wrong: list[Number] = [molar / moles, molar, moles * plain, right * 10, right + molar]
    return Draft(text, right, wrong, f"{terms} = {molar}; {shown(moles)} * {molar} = {shown(right)}", "g")


def _moles(compound: _Compound, moles: Fraction) -> Draft:
    molar, plain, given, terms = _weighed(compound)
    mass = moles * molar
    text = f"How many moles are {shown(mass)} g of {_formula(compound)}, with the atomic masses {given}?"
    wrong = [mass * molar, mass / plain, moles * 10, moles / 2, moles + 1]
    return Draft(text, moles, wrong, f"{terms} = {molar}; {shown(mass)} / {molar} = {shown(moles)}", "mol")


def _atoms(compound: _Compound, molecules: int, place: int) -> Draft | None:
    if place >= len(compound):
        return None
    symbol, count = compound[place]
    text = f"How many {symbol} atoms are in {molecules} units of {_formula(compound)}?"
    right = molecules * count
    atoms = sum(n for _, n in compound)
    wrong = [molecules, molecules * atoms, molecules + count, count, right + molecules]
    return Draft(text, right, wrong, f"{molecules} * {count} = {right}", "atoms")


def _electrons(metal: tuple[str, int]) -> Draft:
    symbol, charge = metal
    protons = _NUMBERS[symbol]
    text = f"How many electrons has an ion {symbol} of charge {charge}+ with {protons} protons?"
    right = protons - charge
    wrong = [protons, protons + charge, charge, _MASSES[symbol], _MASSES[symbol] - protons]
    return Draft(text, right, wrong, f"{protons} - {charge} = {right}")


def _neutrons(symbol: str, more: int) -> Draft:
    protons, mass_number = _NUMBERS[symbol], _MASSES[symbol] + more
    right = mass_number - protons
    text = f"How many neutrons has an atom of {symbol} with {protons} protons and mass number {mass_number}?"
    wrong = [protons, mass_number, mass_number + protons, right + 1, right - 1]
    return Draft(text, right, wrong, f"{mass_number} - {protons} = {right}")


_AMOUNTS = [Fraction(halves, 2) for halves in range(1, 41)]
_CHEMISTRY = _by_unit(
    {
        "g": [Form(_mass, (_COMPOUNDS, _AMOUNTS))],
        "mol": [Form(_moles, (_COMPOUNDS, _AMOUNTS))],
        "atoms": [Form(_atoms, (_COMPOUNDS, range(2, 31), range(3)))],
        "": [Form(_electrons, (_METALS,)), Form(_neutrons, (list(_NUMBERS)[1:], range(3)))],
    }
)

# Sequences: 2,000 questions.


def next_terms(terms: Sequence[int]) -> dict[str, int]:
    """The next term after five or more, by each of the rules that all of them follow.

    Rules: a constant step, a constant factor, steps that grow by a constant, each term the sum of two before.
    """
    steps = [b - a for a, b in itertools.pairwise(terms)]
    growths = [b - a for a, b in itertools.pairwise(steps)]
    found = {}
    if len(set(steps)) == 1:
        found["step"] = terms[-1] + steps[-1]
    if all(terms) and all(b * terms[0] == a * terms[1] for a, b in itertools.pairwise(terms)):
        found["factor"] = terms[-1] * terms[1] // terms[0]
    if len(set(growths)) == 1:
        found["growth"] = terms[-1] + steps[-1] + growths[-1]
    if all(a + b == c for a, b, c in zip(terms, terms[1:], terms[2:], strict=False)):
        found["sum"] = terms[-2] + terms[-1]
    return found


def _step(first: int, step: int) -> Draft | None:
    last = first + 4 * step
    return _next([first + n * step for n in range(5)], f"step {step}: {last} + {step} = ", step)


def _factor(first: int, factor: int) -> Draft | None:
    last = first * factor**4
    return _next([first * factor**n for n in range(5)], f"factor {factor}: {last} * {factor} = ", factor)


def _growth(first: int, step: int, growth: int) -> Draft | None:
    terms = [first + n * step + growth * n * (n - 1) // 2 for n in range(5)]
    more = step + 4 * growth
    return _next(terms, f"next step {more}: {terms[-1]} + {more} = ", growth)


def _sum_of_two(first: int, second: int) -> Draft | None:
    terms = [first, second]
    while len(terms) < 5:
        terms.append(terms[-2] + terms[-1])
    return _next(terms, f"sum of two: {terms[-2]} + {terms[-1]} = ", second)


def _next(terms: list[int], working: str, step: int) -> Draft | None:
    right, *others = set(next_terms(terms).values())
    if others:  # two rules that disagree
        return None
    last, before = terms[-1], terms[-2]
    wrong = [last + (last - before), last + before, last * 2, right + 1, right - 1, right + step, last + 1]
    return Draft(f"{', '.join(map(str, terms))}, ?", right, wrong, f"{working}{right}")


_FIRST, _STEPS = range(1, 21), range(2, 16)
_SEQUENCES = (
    Topic(
        (
            Form(_step, (_FIRST, _STEPS)),
            Form(_factor, (_FIRST, range(2, 6))),
            Form(_growth, (_FIRST, _STEPS, range(1, 6))),
            Form(_sum_of_two, (_FIRST, _STEPS)),
        )
    ),
)


LEVELS: Mapping[str, tuple[tuple[Topic, ...], int]] = {
    "arithmetic": (_ARITHMETIC, 5),
    "units": (_conversions(), 4),
    "physics": (_PHYSICS, 4),
    "chemistry": (_CHEMISTRY, 4),
    "sequences": (_SEQUENCES, 4),
}
"""Levels, the default first, with their number of options: one sum or difference; conversions; mechanics and
circuits; amounts of substance; the next term of a sequence."""

NAMES: tuple[str, ...] = tuple(LEVELS)
