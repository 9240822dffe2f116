"""Programs that try to beat the sandbox and its judge, as data: one module a family.

None of them gives a right answer honestly, and each that gets hold of something says so by printing a word that no source
spells (`ESCAPED`). They are safe to run where nothing confines them as far as that can be: bombs stop by themselves,
destructive calls are tried in a form that changes nothing.

    with lay() as bait, Sandbox("bwrap") as sandbox:
        for attack in ATTACKS:
            won, _ = attempt(sandbox, attack, bait)
            print(attack.name, won or "nothing")
"""

from __future__ import annotations

from r1env.sandbox.attacks import (
    bombs,
    compiling,
    daemons,
    exits,
    files,
    impostors,
    kernel,
    network,
    patches,
    walks,
)
from r1env.sandbox.attacks.attack import ESCAPED, Attack
from r1env.sandbox.attacks.bait import MARK, Bait, lay
from r1env.sandbox.attacks.trial import attempt
from r1env.sandbox.job import Job
from r1env.sandbox.sandbox import Sandbox

FAMILIES = (exits, impostors, patches, walks, bombs, daemons, files, network, kernel, compiling)
ATTACKS: tuple[Attack, ...] = tuple(attack for family in FAMILIES for attack in family.ATTACKS)
"""All of them, by family."""

__all__ = ["ATTACKS", "ESCAPED", "MARK", "Attack", "Bait", "attempt", "lay", "selftest"]


def selftest(sandbox: Sandbox) -> list[str]:
    """Whether a backend confines at all, in under two seconds: the quick attacks, then an honest program.

    Args:
        sandbox: Just opened.

    Returns:
        What is wrong, in words; empty for a sound sandbox.
    """
    found = []
    with lay() as bait:
        for attack in ATTACKS:
            if attack.quick:
                won, _ = attempt(sandbox, attack, bait)
                found += [f"{attack.name}: {what}" for what in won]
    answer = sandbox.run(Job(action="program", text=b"print(int(input()) + 1)", stdin=b"41\n"))
    if answer.status != "ok" or answer.stdout != b"42\n":
        found.append(f"an honest program ended with {answer.status}: {answer.detail or answer.stderr[-300:]!r}")
    return found
