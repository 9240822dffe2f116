"""Generated multiple-choice questions in science: one right option, the others made from typical mistakes.

Every value is exact (`fractions.Fraction`) and shown exactly, so that "no other option is right" is a
comparison of numbers and not of texts. A question's options all carry the same unit.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np

Number = int | Fraction


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


@dataclasses.dataclass(frozen=True, slots=True)
class _Draft:
    """A question before its options are put in order."""

    text: str
    right: Number
    mistakes: Sequence[Number]
    working: str
    unit: str = ""
    count: int = 4


def generate(rng: np.random.Generator, level: str) -> Question:
    """Draws a question of a level.

    Args:
        rng: Where all randomness comes from.
        level: A key of `LEVELS`.
    """
    while True:
        draft = LEVELS[level](rng)
        wrong = _distractors(rng, draft)
        if len(wrong) == draft.count - 1:
            break
    right = int(rng.integers(draft.count))
    values = [*wrong[:right], draft.right, *wrong[right:]]
    unit = f" {draft.unit}" if draft.unit else ""
    options = tuple(f"{shown(value)}{unit}" for value in values)
    return Question(draft.text, options, right, draft.working)


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
    return next((digits for digits in range(7) if (value * 10**digits).denominator == 1), None)


def _distractors(rng: np.random.Generator, draft: _Draft) -> list[Number]:
    """Values of mistakes that are not the right one, in random order.

    How many of them are below the right one is drawn first, so that its rank among the options tells nothing. Where
    the mistakes of one side run out, multiples and neighbours of the right value stand in.
    """
    below = int(rng.integers(draft.count)) if draft.right > 0 else 0
    chosen: list[Number] = []
    for lower, wanted in ((True, below), (False, draft.count - 1 - below)):
        fitting: list[Number] = []
        for value in (
            *(draft.mistakes[i] for i in rng.permutation(len(draft.mistakes))),
            *_stand_ins(draft.right),
        ):
            side = value < draft.right if lower else value > draft.right
            fits = side and (value >= 0 or draft.right < 0) and value not in fitting
            if fits and _decimals(Fraction(value)) is not None:
                fitting.append(value)
        chosen += fitting[:wanted]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def _stand_ins(right: Number) -> list[Number]:
    exact = Fraction(right)
    step = Fraction(10) ** max(0, len(str(abs(int(right)))) - 2)
    near = [exact + sign * times * step for times in (1, 2, 3, 10) for sign in (1, -1)]
    return [exact / 10, exact * 10, exact / 2, exact * 2, *near, exact / 100, exact * 100, exact / 5, exact * 5]


# Levels. The comment says how many questions there are but for the choice and order of options.


def _int(rng: np.random.Generator, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _pick(rng: np.random.Generator, among: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return among[_int(rng, 0, len(among) - 1)]


def _arithmetic(rng: np.random.Generator) -> _Draft:  # 126 sums and differences, each with many options
    a, b = _int(rng, 1, 9), _int(rng, 1, 9)
    if rng.random() < 0.5:
        a, b = max(a, b), min(a, b)
        right, symbol, other = a - b, "-", a + b
    else:
        right, symbol, other = a + b, "+", abs(a - b)
    near = [right + step for step in (1, -1, 2, -2, 3) if right + step >= 0]
    return _Draft(f"{a} {symbol} {b} = ?", right, [other, *near], f"{a} {symbol} {b} = {right}", count=5)


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


def _units(rng: np.random.Generator) -> _Draft:  # 5,000
    large, small, factor, mistaken = _UNITS[_int(rng, 0, len(_UNITS) - 1)]
    amount = Fraction(_int(rng, 2, 199), 10 if factor % 10 == 0 and rng.random() < 0.5 else 1)
    if rng.random() < 0.5:
        right, start, end, sign = amount * factor, shown(amount), small, "*"
        mistakes = [amount * mistaken, amount / factor, amount * factor * 10, amount * factor / 10]
        source = large
    else:
        right, start, end, sign = amount, shown(amount * factor), large, "/"
        whole = amount * factor
        mistakes = [whole / mistaken, whole * factor, amount * 10, amount / 10]
        source = small
    working = f"{start} {sign} {factor} = {shown(right)}"
    return _Draft(f"{start} {source} = ? {end}", right, mistakes, working, unit=end)


def _speed(rng: np.random.Generator) -> _Draft:
    v, t = _int(rng, 2, 40), _int(rng, 2, 30)
    thing, _ = _pick(rng, (("train", ""), ("runner", ""), ("ball", ""), ("boat", "")))
    if rng.random() < 0.5:
        text = f"A {thing} moves at {v} m/s for {t} s. How far does it get?"
        return _Draft(text, v * t, [v + t, Fraction(v, t), Fraction(v * t, 2)], f"{v} * {t} = {v * t}", "m")
    text = f"A {thing} covers {v * t} m in {t} s. What is its mean speed?"
    return _Draft(text, v, [v * t * t, v * t - t, 2 * v, Fraction(v, 2)], f"{v * t} / {t} = {v}", "m/s")


def _force(rng: np.random.Generator) -> _Draft:
    m, a = _int(rng, 2, 50), _int(rng, 2, 20)
    if rng.random() < 0.5:
        text = f"Which net force gives a body of {m} kg an acceleration of {a} m/s²?"
        return _Draft(text, m * a, [m + a, Fraction(m, a), m * a * 10, m * a * a], f"{m} * {a} = {m * a}", "N")
    text = f"A net force of {m * a} N acts on a body of {m} kg. What is its acceleration?"
    return _Draft(text, a, [m * a * m, a * 10, m * a - m, a * a], f"{m * a} / {m} = {a}", "m/s²")


def _energy(rng: np.random.Generator) -> _Draft:
    m, v = 2 * _int(rng, 1, 30), _int(rng, 2, 20)
    right = m * v * v // 2
    if rng.random() < 0.5:
        text = f"What is the kinetic energy of a body of {m} kg at {v} m/s?"
        mistakes = [m * v * v, m * v // 2, m * v, m * m * v // 2]  # no half, no square, momentum
        return _Draft(text, right, mistakes, f"{m} * {v} * {v} / 2 = {right}", "J")
    text = f"By how much does the potential energy of {m} kg grow when it is lifted {v} m (g = 10 m/s²)?"
    mistakes = [m * v, 5 * m * v, 10 * m * v * v, 10 * m]
    return _Draft(text, 10 * m * v, mistakes, f"{m} * 10 * {v} = {10 * m * v}", "J")


def _circuit(rng: np.random.Generator) -> _Draft:
    i, r = _int(rng, 2, 12), _int(rng, 2, 40)
    u = i * r
    kind = _int(rng, 0, 2)
    if kind == 0:
        text = f"A current of {i} A flows through {r} Ω. What is the voltage?"
        return _Draft(text, u, [i + r, Fraction(r, i), i * i * r, r * r * i], f"{i} * {r} = {u}", "V")
    if kind == 1:
        text = f"{u} V drive {i} A through a resistor. What is its resistance?"
        return _Draft(text, r, [u * i, u - i, u, 2 * r], f"{u} / {i} = {r}", "Ω")
    text = f"What power does a device take up at {u} V and {i} A?"
    return _Draft(text, u * i, [r, u + i, u, u * i * i], f"{u} * {i} = {u * i}", "W")


def _density(rng: np.random.Generator) -> _Draft:
    rho, volume = Fraction(_int(rng, 4, 120), 10), _int(rng, 2, 60)
    mass = rho * volume
    text = f"{shown(mass)} g of a substance fill {volume} cm³. What is its density?"
    mistakes = [rho * 10, rho / 10, mass * volume, mass - volume]
    return _Draft(text, rho, mistakes, f"{shown(mass)} / {volume} = {shown(rho)}", "g/cm³")


_PHYSICS = (_speed, _force, _energy, _circuit, _density)


def _physics(rng: np.random.Generator) -> _Draft:  # some 10,000
    return _PHYSICS[_int(rng, 0, len(_PHYSICS) - 1)](rng)


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


def _chemistry(rng: np.random.Generator) -> _Draft:  # some 4,000
    compound = _COMPOUNDS[_int(rng, 0, len(_COMPOUNDS) - 1)]
    formula = "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in compound)
    given = ", ".join(f"{symbol} {_MASSES[symbol]}" for symbol, _ in compound)
    molar = sum(_MASSES[symbol] * count for symbol, count in compound)
    terms = " + ".join(f"{count} * {_MASSES[symbol]}" for symbol, count in compound)
    plain = sum(_MASSES[symbol] for symbol, _ in compound)
    wrong: list[Number]
    right: Number
    kind = _int(rng, 0, 3)
    moles = Fraction(_int(rng, 1, 40), 2)
    if kind == 0:
        text = f"What mass have {shown(moles)} mol of {formula}, with the atomic masses {given}?"
        right = moles * molar
        wrong = [molar / moles, molar, moles * plain, right * 10, right + molar]
        return _Draft(text, right, wrong, f"{terms} = {molar}; {shown(moles)} * {molar} = {shown(right)}", "g")
    if kind == 1:
        mass = moles * molar
        text = f"How many moles are {shown(mass)} g of {formula}, with the atomic masses {given}?"
        wrong = [mass * molar, mass / plain, moles * 10, moles / 2, moles + 1]
        return _Draft(text, moles, wrong, f"{terms} = {molar}; {shown(mass)} / {molar} = {shown(moles)}", "mol")
    if kind == 2:
        symbol, count = compound[_int(rng, 0, len(compound) - 1)]
        molecules = _int(rng, 2, 30)
        text = f"How many {symbol} atoms are in {molecules} units of {formula}?"
        right = molecules * count
        atoms = sum(n for _, n in compound)
        wrong = [molecules, molecules * atoms, molecules + count, count, right + molecules]
        return _Draft(text, right, wrong, f"{molecules} * {count} = {right}", "atoms")
    if rng.random() < 0.5:
        symbol, charge = _METALS[_int(rng, 0, len(_METALS) - 1)]
        protons = _NUMBERS[symbol]
        text = f"How many electrons has an ion {symbol} of charge {charge}+ with {protons} protons?"
        right = protons - charge
        wrong = [protons, protons + charge, charge, _MASSES[symbol], _MASSES[symbol] - protons]
        return _Draft(text, right, wrong, f"{protons} - {charge} = {right}")
    symbol = list(_NUMBERS)[_int(rng, 1, len(_NUMBERS) - 1)]
    protons, mass_number = _NUMBERS[symbol], _MASSES[symbol] + _int(rng, 0, 2)
    neutrons = mass_number - protons
    text = f"How many neutrons has an atom of {symbol} with {protons} protons and mass number {mass_number}?"
    wrong = [protons, mass_number, mass_number + protons, neutrons + 1, neutrons - 1]
    return _Draft(text, neutrons, wrong, f"{mass_number} - {protons} = {neutrons}")


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


def _sequences(rng: np.random.Generator) -> _Draft:  # some 4,000
    kind = _int(rng, 0, 3)
    first, step = _int(rng, 1, 20), _int(rng, 2, 15)
    terms = [first]
    while len(terms) < 5:
        if kind == 0:
            terms.append(terms[-1] + step)
        elif kind == 1:
            terms.append(terms[-1] * (2 + step % 4))
        elif kind == 2:
            terms.append(terms[-1] + step + (len(terms) - 1) * (1 + first % 5))
        else:
            terms.append(step if len(terms) == 1 else terms[-1] + terms[-2])
    answers = set(next_terms(terms).values())
    right = answers.pop()
    if answers:  # two rules that disagree: no question
        return _sequences(rng)
    last, before = terms[-1], terms[-2]
    working = {
        0: f"step {step}: {last} + {step} = {right}",
        1: f"factor {2 + step % 4}: {last} * {2 + step % 4} = {right}",
        2: f"next step {right - last}: {last} + {right - last} = {right}",
        3: f"sum of two: {before} + {last} = {right}",
    }[kind]
    wrong = [last + (last - before), last + before, last * 2, right + 1, right - 1, right + step, last + 1]
    return _Draft(f"{', '.join(map(str, terms))}, ?", right, wrong, working)


LEVELS: Mapping[str, Callable[[np.random.Generator], _Draft]] = {
    "arithmetic": _arithmetic,
    "units": _units,
    "physics": _physics,
    "chemistry": _chemistry,
    "sequences": _sequences,
}
"""Levels, the default first: one sum or difference; conversions; mechanics and circuits; amounts of substance;
the next term of a sequence."""

NAMES: tuple[str, ...] = tuple(LEVELS)
