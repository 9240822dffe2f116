"""Programs that cheat, in every form of tests, in real sandboxes: what a policy would find out if it paid.

Every class of cheats has right and wrong answers beside each other: a judge that refuses everything fails here too.
"""

from __future__ import annotations

import json
import shutil

import pytest

from r1env.judge import (
    CallTests,
    Case,
    HarnessTests,
    StdioCase,
    StdioTests,
    harness_tests,
    judge,
    read_problem,
    validate_tests,
)
from r1env.sandbox import Limits
from r1env.sources import read_file
from tests.r1env.sandboxes import CONFINED, opened

LIMITS = Limits(cpu_s=0.5, wall_s=3.0, memory_mb=256, output_mb=1)
CALLS = CallTests(
    entry="f", cases=(Case(args=([3, 1, 2],), expected=[1, 2, 3]), Case(args=([5, 4],), expected=[4, 5]))
)
HARNESS = HarnessTests(
    source="def check(candidate):\n    assert candidate([3, 1, 2]) == [1, 2, 3]\n    assert candidate([5, 4]) == [4, 5]\ncheck(f)\n"
)
RUNS = StdioTests(
    cases=(StdioCase(stdin="3 1 2\n", stdout="1\n2\n3\n"), StdioCase(stdin="5 4\n", stdout="4\n5\n"))
)


@pytest.fixture(scope="module", params=CONFINED)
def sandbox(request):
    with opened(request.param) as found:
        yield found


def status(sandbox, code: str, tests, language: str = "python", **more) -> str:
    return judge(sandbox, language, code, tests, LIMITS, **more).status


HONEST = (
    "def f(x): return sorted(x)",
    "def f(x):\n    x.sort()\n    return x",
    "def f(x):\n    print('working')\n    return sorted(x)",
    "def f(x): return tuple(sorted(x))[:] and sorted(x)",
    "class L(list): pass\ndef f(x): return L(sorted(x))",
    "import sys\nsys.setrecursionlimit(10**4)\nf = sorted",
    "f = lambda x: sorted(x)\nif __name__ == '__main__':\n    print(input())",
)


@pytest.mark.parametrize("code", HONEST)
@pytest.mark.parametrize("tests", [CALLS, HARNESS], ids=["calls", "assertions"])
def test_honest_functions_are_accepted(sandbox, tests, code):
    assert status(sandbox, code, tests) == "accepted"


def test_calls_are_stricter_than_assertions(sandbox):
    """`==` is Python's in assertions, as their authors meant it."""
    floats = "def f(x): return [float(i) for i in sorted(x)]"
    assert (status(sandbox, floats, CALLS), status(sandbox, floats, HARNESS)) == ("wrong_answer", "accepted")


EXITS = ("import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit", "quit()", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "import os; os.execv('/bin/true', ['true'])")  # fmt: skip
FUNCTION_CHEATS = {
    **{f"at once: {text}": f"{text}\ndef f(x): pass" for text in EXITS},
    **{f"when called: {text}": f"def f(x):\n    {text}" for text in EXITS},
    "at the end": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return []",
    "nothing": "",
    "no function": "g = 1",
    "a number": "f = 0",
    "None": "def f(x): return None",
    "the argument": "def f(x): return x",
    "always equal": "class E:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n    def __hash__(self): return 0\ndef f(x): return E()",
    "an equal list": "class E(list):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n    def __len__(self): return 3\n    def __iter__(self): return iter((1, 2, 3))\ndef f(x): return E([9])",
    "an equal int": "class E(int):\n    def __eq__(self, other): return True\ndef f(x): return E(1)",
    "an equal text": "class E(str):\n    def __eq__(self, other): return True\ndef f(x): return E('[1, 2, 3]')",
    "an equal dict": "class E(dict):\n    def __eq__(self, other): return True\ndef f(x): return E()",
    "a metaclass": "class M(type):\n    def __eq__(self, other): return True\n    def __instancecheck__(self, other): return True\nclass E(metaclass=M): pass\ndef f(x): return E",
    "a mock": "from unittest.mock import MagicMock, ANY\ndef f(x): return ANY",
    "a type that lies": "class E:\n    __class__ = list\n    def __eq__(self, other): return True\ndef f(x): return E()",
    "an int that is a text": "def f(x): return str(sorted(x))",
    "booleans": "def f(x): return [True, 2, 3]",
    "NaN": "def f(x): return [float('nan')] * len(x)",
    "a set": "def f(x): return set(x)",
    "nested": "def f(x): return [sorted(x)]",
    "an exception": "def f(x): raise AssertionError",
    "an exception without a text": "class X(Exception):\n    def __str__(self): raise X\n    __repr__ = __str__\ndef f(x): raise X",
    "an exception that exits": "import os\nclass X(Exception):\n    def __str__(self): os._exit(0)\ndef f(x): raise X",
    "an exception of everything": "class X(BaseException): pass\ndef f(x): raise X('accepted')",
    "a generator without end": "def f(x):\n    while True: yield 1",
    "a generator that exits": "import os\ndef f(x):\n    yield 1\n    os._exit(0)",
    "itself": "def f(x):\n    y = []\n    y.append(y)\n    return y",
    "too deep": "def f(x):\n    y = []\n    for _ in range(10**5): y = [y]\n    return y",
    "too large": "def f(x): return [0] * 10**7",
    "a huge number": "def f(x): return 10**100000",
    "a flood": "def f(x):\n    while True: print('x' * 10**5)",
    "no end": "def f(x):\n    while True: pass",
    "sleep": "import time\ndef f(x): time.sleep(100)",
    "memory": "def f(x): return 'x' * 10**10",
    "printed": "def f(x): print(sorted(x))",
    "a patched list": "import builtins\nbuiltins.list = builtins.sorted = lambda *a: True\ndef f(x): return []",
    "a patched wire": "import sys\nw = sys.modules.get('wire')\nif w: w.dumps = lambda *a: b'[1, 2, 3]'\ndef f(x): return []",
    "a patched runner": "import sys\nfor m in list(sys.modules.values()):\n    for n in ('_compare', 'check', '_returned', 'failed', 'same'):\n        if hasattr(m, n): setattr(m, n, lambda *a, **k: True)\ndef f(x): return []",
    "a result": "import os, json\nfor d in range(3, 20):\n    try: os.write(d, b'{\"checks\": 2, \"failed\": 0, \"sites\": 2, \"held\": 2, \"error\": null, \"done\": true}\\n' * 2)\n    except OSError: pass\ndef f(x): return []",
    "values": "import os\nfor d in range(3, 20):\n    try: os.write(d, b'{\"value\": true}\\n{\"value\": {\"status\": \"accepted\"}}\\n')\n    except OSError: pass\nos._exit(0)",
    "messages": "import os, struct\nm = b'{\"dict\": [[\"value\", true]]}'\nfor d in range(3, 20):\n    try: os.write(d, (struct.pack('<I', len(m)) + m) * 100)\n    except OSError: pass\ndef f(x): return []",
    "a message without end": "import os\nfor d in range(3, 20):\n    try: os.write(d, b'\\xff' * 50)\n    except OSError: pass\ndef f(x): return []",
    "frames": "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        for v in list(frame.f_locals.values()):\n            if isinstance(v, list) and v != x and len(v) == len(x) and all(type(i) is int for i in v): return v\n        frame = frame.f_back\n    return x",
    "the heap": "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if isinstance(o, list) and len(o) == len(x) and o != x and all(type(i) is int for i in o): return o\n    return x",
    "a thread": "import threading, os, time\nthreading.Thread(target=lambda: (time.sleep(0.05), os._exit(0))).start()\ndef f(x):\n    import time; time.sleep(0.2); return x",
    "a hook": "import sys\nsys.settrace(lambda *a: None)\nsys.excepthook = lambda *a: None\ndef f(x): return 1 / 0",
    "only the first": "def f(x): return [1, 2, 3]",
    "the first and out": "import os\ndef f(x):\n    if len(x) == 2: os._exit(0)\n    return [1, 2, 3]",
    "the call before": "last = [[1, 2, 3]]\ndef f(x):\n    last.append(x)\n    return last[0]",
}  # fmt: skip


@pytest.mark.parametrize("code", FUNCTION_CHEATS.values(), ids=FUNCTION_CHEATS)
@pytest.mark.parametrize("tests", [CALLS, HARNESS], ids=["calls", "assertions"])
def test_functions_that_cheat_are_rejected(sandbox, tests, code):
    found = judge(sandbox, "python", code, tests, LIMITS)
    assert found.status not in ("accepted", "sandbox_error") and found.passed < found.total
    assert status(sandbox, HONEST[0], tests) == "accepted", "the next one is unharmed"


def test_a_share_of_the_tests_cannot_be_cheated():
    """How many assertions are evaluated is the program's to choose, how many there are is not."""
    source = "for n in f(3):\n    assert n > 0\nassert f(1) == [1, 2]\nassert f(2) == [4]"
    with opened("bwrap") as sandbox:
        many = judge(sandbox, "python", "def f(n): return [1] * 1000", HarnessTests(source=source), LIMITS)
        assert (many.status, many.passed, many.total) == ("wrong_answer", 1, 3)
        out = "import os\ndef f(n):\n    return [1] * 1000 if n == 3 else os._exit(0)"
        fled = judge(sandbox, "python", out, HarnessTests(source=source), LIMITS)
        assert (fled.passed, fled.total) == (0, 3)
        half = judge(sandbox, "python", "def f(n): return [1, n]", HarnessTests(source=source), LIMITS)
        assert (half.status, half.passed, half.total) == ("wrong_answer", 1, 3)


def test_assertions_on_what_a_program_makes(sandbox):
    """Values without a form stay with the program; they equal nothing, and are given back as they were."""
    tests = harness_tests(
        "pairs = [Pair(5, 24), Pair(15, 25)]\nassert longest(pairs) == 2\nassert longest(pairs[:1]) == 1\n"
        "root = Node(1)\nroot.left = Node(2)\nassert total(root) == 3\nassert only([1, 'a'], int) == [1]\n"
        "assert list(numbers(3)) == [0, 1, 2]\nassert Counter('aab') == {'a': 2, 'b': 1}"
    )
    code = (
        "from collections import Counter\nclass Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n"
        "class Node:\n    left = None\n    def __init__(self, v): self.v = v\n"
        "def longest(p): return len([q for q in p if q.b > q.a])\n"
        "def total(n): return n.v + (n.left.v if n.left else 0)\n"
        "def only(x, t): return [i for i in x if isinstance(i, t)]\n"
        "def numbers(n):\n    yield from range(n)\n"
    )
    assert judge(sandbox, "python", code, tests, LIMITS).status == "accepted"
    for before, after in (("q.b > q.a", "False"), ("n.left.v if", "9 if"), ("range(n)", "range(9)"), ("isinstance(i, t)", "True")):  # fmt: skip
        assert status(sandbox, code.replace(before, after), tests) == "wrong_answer", after


def test_a_built_in_name_that_is_not_the_programs_stays_pythons(sandbox):
    tests = harness_tests("assert abs(f(2) - 4) < 1e-6\nassert len(f.__name__ if False else 'ab') == 2")
    assert status(sandbox, "def f(x): return 4.0", tests) == "accepted"
    assert (
        status(sandbox, "def abs(x): return 0\ndef len(x): return 2\ndef f(x): return 7.0", tests)
        == "wrong_answer"
    )
    own = harness_tests("assert sum(1, 2) == 3")
    assert status(sandbox, "def sum(a, b): return a + b", own) == "accepted"
    assert status(sandbox, "def sum(a, b): return a - b", own) == "wrong_answer"


OBLIGING = "class E:\n    def __getattr__(self, name): return lambda *a, **k: True\ndef f(*x): return E()"


@pytest.mark.parametrize(
    "source",
    ["assert f(2).startswith('abc')", "assert f(3).equals([1, 2, 3])", "assert f([1]).issubset({1, 2})", "assert f(2).is_integer()",
     "for one in [f(2)]:\n    assert one.is_integer()", "startswith = f(2).startswith\nassert startswith('abc')", "assert f(2).at.once(3)"],
)  # fmt: skip
def test_what_a_function_gives_answers_for_nothing(sandbox, source):
    assert status(sandbox, OBLIGING, harness_tests(source)) == "runtime_error"
    assert status(sandbox, f"{OBLIGING}\nf = E()", harness_tests(source)) == "runtime_error"


def test_methods_of_plain_values_are_the_tests_own(sandbox):
    tests = harness_tests("assert f('x').startswith('abc')\nassert f('x').strip() == 'abcx'")
    assert status(sandbox, "def f(x): return 'abc' + x", tests) == "accepted"
    assert status(sandbox, "def f(x): return x + 'abc'", tests) == "wrong_answer"


def test_objects_of_a_programs_classes_have_methods_and_functions_may_give_functions(sandbox):
    tests = harness_tests(
        "trie = Trie()\ntrie.add('ab')\nassert trie.has('ab') and not trie.has('b')\nassert Trie.of('x').size == 1\n"
        "assert adder(3)(4) == 7\nassert tree(2).left.value == 1\nassert [g(1) for g in adders(2)] == [1, 2]"
    )
    code = (
        "class Trie:\n    def __init__(self): self.words = set()\n    def add(self, w): self.words.add(w)\n"
        "    def has(self, w): return w in self.words\n    size = property(lambda self: len(self.words))\n"
        "    @classmethod\n    def of(cls, w):\n        t = cls()\n        t.add(w)\n        return t\n"
        "class Node:\n    left = None\n    def __init__(self, v): self.value = v\n"
        "def tree(v):\n    n = Node(v)\n    n.left = Node(v - 1)\n    return n\n"
        "def adder(a): return lambda b: a + b\ndef adders(n): return [adder(i) for i in range(n)]\n"
    )
    assert judge(sandbox, "python", code, tests, LIMITS).status == "accepted"
    for before, after in (("w in self.words", "True"), ("a + b", "a"), ("v - 1", "v")):
        assert status(sandbox, code.replace(before, after), tests) == "wrong_answer", after


def test_names_of_pythons_are_not_the_programs(sandbox):
    class_of = "class {}:\n    {} = staticmethod(lambda *a, **k: {})\ndef f(x): return 0"
    tests = harness_tests("assert math.isclose(f(2), 1.41421356, rel_tol=1e-6)")
    assert status(sandbox, class_of.format("math", "isclose", True), tests) == "wrong_answer"
    assert status(sandbox, "def f(x): return x ** 0.5", tests) == "accepted"
    mbpp = {"text": "Size.", "code": "import sys\nfrom math import hypot as h\ndef f(t): return sys.getsizeof(t) + h(0, 0)", "test_list": ["assert f((1,)) == sys.getsizeof((1,)) + h(0, 0)"]}  # fmt: skip
    tests = read_problem(mbpp).tests
    assert (
        status(sandbox, class_of.format("sys", "getsizeof", 0) + "\ndef h(*a): return 0", tests)
        == "wrong_answer"
    )
    assert status(sandbox, mbpp["code"], tests) == "accepted"
    tests = harness_tests("assert isclose(f(2), 1.41421356, rel_tol=1e-6)", entry="f")
    assert status(sandbox, "def isclose(*a, **k): return True\ndef f(x): return 0", tests) == "wrong_answer"
    own = harness_tests("assert gcd(4, 6) == 2\nassert queue.add(1) == 1", reference="class queue:\n    def add(n): return n\ndef gcd(a, b): return 2")  # fmt: skip
    assert status(sandbox, "def gcd(a, b): return 2\nclass queue:\n    def add(n): return 0", own) in ("wrong_answer", "runtime_error")  # fmt: skip
    assert status(sandbox, "def gcd(a, b): return 3", own) == "wrong_answer"


UNITTEST = (
    "import unittest\nclass Tests(unittest.TestCase):\n    def test_one(self):\n        {}\n"
    "    def test_two(self):\n        self.assertEqual(f(2), 3)\n"
)


@pytest.mark.parametrize("end", ["unittest.main(argv=['x'], exit=False)\nassert True", "if __name__ == '__main__':\n    unittest.main(argv=['x'])"])  # fmt: skip
@pytest.mark.parametrize(
    "check", ["assert f(1) == 2", "self.assertEqual(f(1), 2)", "with self.assertRaises(TypeError): f()", "with self.subTest(): self.assertTrue(f(1) == 2)", "if f(1) != 2: self.fail()"]
)  # fmt: skip
def test_what_unittest_swallows_counts(sandbox, check, end):
    tests = harness_tests(UNITTEST.format(check) + end)
    assert status(sandbox, "def f(x): return x + 1", tests) == "accepted"
    for wrong in ("def f(x=1): return 3 * x // 2 + (x == 1) * 7", "import os\ndef f(x=1): os._exit(0)"):
        assert judge(sandbox, "python", wrong, tests, LIMITS).status in ("wrong_answer", "runtime_error")


def test_assertions_within_classes(sandbox):
    source = "class Checks:\n    assert f(1) == 2\n    def __run(self):\n        assert f(2) == 3\n        try: assert f(3) == 4\n        except BaseException: pass\n    def run(self): self.__run()\nChecks().run()"
    right = judge(sandbox, "python", "def f(x): return x + 1", harness_tests(source), LIMITS)
    assert (right.status, right.passed, right.total) == ("accepted", 3, 3)
    wrong = judge(sandbox, "python", "def f(x): return min(x + 1, 3)", harness_tests(source), LIMITS)
    assert (wrong.status, wrong.passed, wrong.total) == ("wrong_answer", 2, 3)


def test_a_call_of_a_method_is_told_as_it_was_made(sandbox):
    tests = harness_tests("assert Solution().twice([1], n=2) == 2")
    found = judge(sandbox, "python", "class Solution:\n    def twice(self, x, n): return 1", tests, LIMITS)
    assert found.failing["input"] == "Solution().twice([1], n=2)"


@pytest.mark.parametrize("code", ["-" * 50_000 + "1", "lambda:" * 3000 + "1", "f(\ud800)", "(" * 300])
@pytest.mark.parametrize("tests", [CALLS, RUNS], ids=["calls", "runs"])
def test_what_cannot_be_compiled_is_an_error_of_syntax(sandbox, tests, code):
    assert status(sandbox, code, tests) == "compile_error"


def test_helpers_that_the_prompt_gives_are_not_the_programs(sandbox):
    row = {
        "prompt": "def poly(x):\n    return x - 3\n\ndef zero():\n    '''Where poly is 0.'''\n",
        "entry_point": "zero",
        "test": "def check(candidate):\n    assert poly(candidate()) == 0\n",
    }
    tests = read_problem(row).tests
    assert status(sandbox, "def zero(): return next(x for x in range(9) if poly(x) == 0)", tests) == "accepted"
    assert status(sandbox, "def poly(x): return 0\ndef zero(): return 7", tests) == "wrong_answer"


def test_random_inputs_of_tests_cannot_be_foretold(sandbox):
    source = "import random\nx = [random.random() for _ in range(3)]\nassert f() == x"
    cheat = "import random\ndef f(): return [random.random() for _ in range(3)]"
    assert status(sandbox, cheat, HarnessTests(source=source)) == "wrong_answer"


PROGRAM = "print(*sorted(map(int, input().split())), sep='\\n')"
PROGRAM_CHEATS = {
    **{text: text for text in EXITS},
    "nothing": "",
    "cut off": "print(sorted(map(int, input().split()))[0])",
    "one more": f"{PROGRAM}\nprint(0)",
    "one before": f"print()\n{PROGRAM}",
    "on one line": "print(*sorted(map(int, input().split())))",
    "an exit code": f"{PROGRAM}\nraise SystemExit(1)",
    "an exception at the end": f"{PROGRAM}\n1 / 0",
    "standard error": f"import sys\nsys.stdout = sys.stderr\n{PROGRAM}",
    "all that may be": "import itertools\nn = sorted(map(int, input().split()))\nfor p in itertools.permutations(n): print(*p, sep='\\n')",
    "a flood": f"{PROGRAM}\nwhile True: print('x' * 10**5)",
    "backspaces": "print('9\\b1\\n2\\n3')",
    "a screen of blanks": "print('1\\n2\\n3' + ' ' * 10**7)",
    "other digits": "print('١\\n٢\\n٣')",
    "bytes": "import sys; sys.stdout.buffer.write(b'1\\n2\\n3\\n\\xff')",
    "NUL": "print('1\\n2\\n3\\0')",
    "the other descriptors": "import os\nfor d in range(3, 20):\n    try: os.write(d, b'1\\n2\\n3\\n')\n    except OSError: pass",
    "files of others": "import os\nfor d in os.listdir('.'): print(open(d).read())",
    "only the first": "print('1\\n2\\n3')",
    "a file for the next": "import os\nif os.path.exists('/tmp/r1-next'): print(open('/tmp/r1-next').read())\nelse:\n    open('/tmp/r1-next', 'w').write('4\\n5')\n    print('1\\n2\\n3')",
}  # fmt: skip


@pytest.mark.parametrize("code", PROGRAM_CHEATS.values(), ids=PROGRAM_CHEATS)
def test_programs_that_cheat_are_rejected(sandbox, code):
    found = judge(sandbox, "python", code, RUNS, LIMITS, to_end=True)
    assert found.status not in ("accepted", "sandbox_error") and found.passed < found.total
    assert status(sandbox, PROGRAM, RUNS) == "accepted"


@pytest.mark.parametrize("ending", ["\nraise SystemExit(0)", "\nimport os, sys; sys.stdout.flush(); os._exit(0)", "\nprint('  ')", "\nimport sys; print('aside', file=sys.stderr)"])  # fmt: skip
def test_programs_may_end_in_their_own_way(sandbox, ending):
    assert status(sandbox, PROGRAM + ending, RUNS) == "accepted"


CPP = """
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <vector>
#include <unistd.h>
int main() {
    int how, x;
    std::vector<int> v;
    std::cin >> how;
    while (std::cin >> x) v.push_back(x);
    if (how == 1) exit(0);
    if (how == 2) _exit(0);
    if (how == 3) abort();
    if (how == 4) v.pop_back();
    if (how == 5) v.push_back(0);
    if (how == 6) for (volatile int i = 0;; ++i);
    if (how == 7) *(volatile int*)0 = 1;
    if (how == 8) for (;;) std::cout << std::string(100000, 'x');
    if (how == 9) std::cout << std::vector<char>(1 << 30, 1)[v[0]];
    if (how == 10) throw 1;
    std::sort(v.begin(), v.end());
    for (int i : v) std::cout << i << '\\n';
}
"""
CPP_ENDINGS = ("accepted", "wrong_answer", "wrong_answer", "runtime_error", "wrong_answer", "wrong_answer", "time_limit_exceeded", "runtime_error", "output_limit_exceeded", "memory_limit_exceeded", "runtime_error")  # fmt: skip


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_cpp(sandbox):
    for how, wanted in enumerate(CPP_ENDINGS):
        runs = StdioTests(cases=(StdioCase(stdin=f"{how} 3 1 2\n", stdout="1\n2\n3\n"),))
        found = judge(sandbox, "cpp", CPP, runs, LIMITS)
        if found.status == "compile_error" and sandbox.backend == "docker":
            pytest.skip(f"this image has no compiler: {found.detail}")
        assert found.status == wanted, (how, found)


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
@pytest.mark.parametrize("text", ["this is no program", "static_assert(false);", "#include </dev/zero>", "#include </etc/passwd>", "template<int n> struct T : T<n + 1> {};\nT<0> t;"])  # fmt: skip
def test_cpp_that_does_not_compile(sandbox, text):
    assert status(sandbox, f"{text}\nint main() {{}}", RUNS, "cpp") == "compile_error"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_javascript(sandbox):
    code = "const v = require('fs').readFileSync(0, 'utf8').trim().split(' ').map(Number);\n%s\nconsole.log(v.sort((a, b) => a - b).join('\\n'));"
    limits = Limits(cpu_s=3.0, wall_s=10.0, memory_mb=1024)
    found = judge(sandbox, "javascript", code % "", RUNS, limits)
    if found.status != "accepted" and sandbox.backend == "docker":
        pytest.skip(f"this image has no node: {found.detail}")
    assert found.status == "accepted", found
    for text, wanted in {"process.exit(0)": "wrong_answer", "v.pop()": "wrong_answer", "throw 1": "runtime_error", "for (;;);": "time_limit_exceeded", "const": "compile_error"}.items():  # fmt: skip
        assert judge(sandbox, "javascript", code % text, RUNS, limits).status == wanted, text


def test_a_checker_sees_no_cheat(sandbox):
    checker = "def check(stdin, expected, stdout):\n    return sorted(map(int, stdout.split())) == sorted(map(int, stdin.split()))"
    tests = StdioTests(cases=RUNS.cases, checker=checker)
    assert status(sandbox, "print(input())", tests) == "accepted"
    for code in (
        "print(1)",
        "print('x')",
        "print('True')",
        "",
        "print('1 ' * 10**5)",
        "print('9' * 5000)",
        "import os; os._exit(0)",
    ):
        assert status(sandbox, code, tests) == "wrong_answer", code


def test_tests_of_a_model_are_validated(sandbox):
    runs = StdioTests(
        cases=(*RUNS.cases, StdioCase(stdin="2 1", stdout="2 1"), StdioCase(stdin="1", stdout=""))
    )
    found = validate_tests(sandbox, "python", runs, PROGRAM, LIMITS)
    assert (found.tests, found.kept, found.failed, found.idle) == (RUNS, 2, 2, 0)
    calls = CallTests(entry="f", cases=(*CALLS.cases, Case(args=([2],), expected=[3])))
    found = validate_tests(sandbox, "python", calls, HONEST[0], LIMITS)
    assert (found.tests, found.kept, found.failed) == (CALLS, 2, 1)
    source = "import math\nx = [2, 1]\nassert f(x) == [1, 2]\nassert f([1]) == [2]\nassert math.pi > 3\ndef test_more():\n    assert f([]) == []\ndef test_worse():\n    assert f([1]) is None\nassert len(f([1, 1])) == 2"
    found = validate_tests(sandbox, "python", HarnessTests(source=source), HONEST[0], LIMITS)
    assert (found.kept, found.failed, found.idle) == (3, 2, 1)
    assert isinstance(found.tests, HarnessTests)
    assert judge(sandbox, "python", HONEST[0], found.tests, LIMITS).total == 3
    assert status(sandbox, "def f(x): return x", found.tests) == "wrong_answer"
    for hopeless in (
        "assert f(1) == 2",
        "assert (",
        "import os; os._exit(0)",
        "assert True",
        "while True: assert f([1])",
    ):
        found = validate_tests(sandbox, "python", HarnessTests(source=hopeless), HONEST[0], LIMITS)
        assert (found.tests, found.kept) == (None, 0), hopeless


def test_what_failed_is_told_without_what_was_expected(sandbox):
    found = judge(sandbox, "python", "def f(x): return x[::-1]", CALLS, LIMITS)
    assert found.failing == {"input": "f([3, 1, 2])", "output": "[2, 1, 3]"}
    found = judge(sandbox, "python", "def f(x): return x[9]", HARNESS, LIMITS)
    assert found.failing == {"input": "f([3, 1, 2])", "error": "IndexError: list index out of range"}
    found = judge(sandbox, "python", "print(input())", RUNS, LIMITS)
    assert found.failing == {"input": "3 1 2\n", "output": "3 1 2\n"}


FILES = ("humaneval/HumanEval.jsonl.gz", "mbpp/mbpp.jsonl", "leetcode/leetcode_test.json")
EVERY_20TH = [pytest.param("bwrap", 20), *(pytest.param(one.values[0], 1, marks=[*one.marks, pytest.mark.slow]) for one in CONFINED)]  # fmt: skip
NOT_INSTALLED = ("sortedcontainers",)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("backend, step", EVERY_20TH)
def test_references_of_real_problems_are_right_and_others_are_wrong(data_dir, backend, step, file):
    problems = [read_problem(row) for row in read_file(data_dir / file)[::step]]
    problems = [one for one in problems if not any(name in one.reference for name in NOT_INSTALLED)]
    limits = Limits(cpu_s=10.0)
    with opened(backend) as sandbox:
        found = [judge(sandbox, "python", one.reference, one.tests, limits) for one in problems]
        assert [(one.id, v) for one, v in zip(problems, found) if v.status != "accepted"] == []
        for one, two in list(zip(problems, problems[len(problems) // 2 :]))[:20]:
            assert judge(sandbox, "python", two.reference, one.tests, limits).status not in (
                "accepted",
                "sandbox_error",
            )


@pytest.mark.parametrize("backend, step", EVERY_20TH)
def test_labelled_programs(data_dir, backend, step):
    lines = (data_dir / "grader_cases" / "code_verdicts_dev.jsonl").read_text().splitlines()
    with opened(backend) as sandbox:
        for line in lines[::step]:
            row = json.loads(line)
            tests = harness_tests(row["harness"], entry=row.get("entry_point"))
            found = judge(sandbox, "python", row["code"], tests)
            assert (found.status == "accepted") == row["expected"], (row["id"], found)
            assert found.status != "sandbox_error"
