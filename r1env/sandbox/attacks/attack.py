"""One program that tries to beat the sandbox or the judge, as data."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

from r1env.sandbox.job import Limits

Language: TypeAlias = Literal["python", "cpp"]
Style: TypeAlias = Literal["calls", "stdio", "harness"]

ESCAPED = b"ESCAPED"
"""What a program prints when it got what it must not get. No source spells it: a traceback quotes sources."""

LIMITS = Limits(cpu_s=1.0, wall_s=2.0, memory_mb=256, processes=16, output_mb=1.0)
"""What attacks may use: less than users' programs, so that the greedy ones end soon."""

PYTHON_HEAD = """\
import os, sys
def escaped(*what):
    os.write(1, ("ESC" + "APED: %s\\n" % " ".join(map(str, what))[:2000]).encode("utf-8", "replace"))
def libc():
    import ctypes
    return ctypes.CDLL(None, use_errno=True)
def syscall(number, *arguments):
    import ctypes
    function = libc().syscall
    function.restype = ctypes.c_long
    return function(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
"""

CPP_HEAD = """\
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <fcntl.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
static void escaped(const char* what, long value = 0) {
    char line[512];
    int n = snprintf(line, sizeof line, "%s%s: %s %ld\\n", "ESC", "APED", what, value);
    if (write(1, line, n) != n) _exit(99);
}
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One hostile program. It is meant to fail: no attack gives a right answer honestly."""

    name: str
    """Unique, by which tests name it."""
    family: str
    """What kind it is: the name of its module."""
    aim: str
    """What it tries, in one line."""
    source: str
    """The program. `@NAME@` stands for a piece of `Bait`."""
    language: Language = "python"
    """What it is written in."""
    style: Style = "stdio"
    """What it poses as: a function `add(a, b)` whose tests are hidden (called directly, or by a harness), or a
    program that prints twice the number it reads."""
    then: str = ""
    """A program of the same language that runs after it, and looks for what it left."""
    tests: str = ""
    """Of the style `harness`: tests of its own, in place of the usual ones."""
    limits: Limits = LIMITS
    """What it may use."""
    quick: bool = False
    """Whether it belongs to the self-test of a backend's start."""

    def text(self, bait: dict[str, str], *, then: bool = False) -> bytes:
        """The program with its helpers and baits in place.

        Args:
            bait: What stands for each `@NAME@`.
            then: Whether the program that runs after it is meant.
        """
        text = (PYTHON_HEAD if self.language == "python" else CPP_HEAD) + (self.then if then else self.source)
        for name, value in bait.items():
            text = text.replace(f"@{name}@", value)
        return text.encode()
