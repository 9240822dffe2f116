"""Every backend: what programs get, what they are told, how they end, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import time

import pytest

from r1env.errors import ConfigError, SandboxError
from r1env.sandbox import Job, Limits, open_sandbox, wire
from tests.r1env.sandboxes import CONFINED, opened

LIMITS = Limits(wall_s=20.0, memory_mb=128)


@pytest.fixture(scope="module", params=CONFINED)
def sandbox(request):
    with opened(request.param) as found:
        yield found


def run(sandbox, text, stdin="", action="program", **limits):
    import dataclasses

    job = Job(action=action, text=text.encode(), stdin=stdin.encode() if isinstance(stdin, str) else stdin,
              limits=dataclasses.replace(LIMITS, **limits))  # fmt: skip
    return sandbox.run(job)


def calls(sandbox, text, entry, *arguments, **limits):
    asked = wire.dumps({"entry": entry, "calls": [{"args": list(a), "kwargs": {}} for a in arguments]})
    result = run(sandbox, text, asked, "calls", **limits)
    return result, [json.loads(line) for line in result.output.splitlines()]


def test_a_program_reads_and_writes(sandbox):
    result = run(
        sandbox, "import sys\nprint(input()[::-1])\nprint('aside', file=sys.stderr)\nsys.exit(3)", "abc\nmore\n"
    )
    assert (result.stdout, result.stderr, result.exit_code, result.status) == (
        b"cba\n",
        b"aside\n",
        3,
        "runtime_error",
    )
    assert (
        run(sandbox, "import sys\nprint(sys.stdin.buffer.readline(), sys.stdin.read())", "é\nx").stdout
        == b"b'\\xc3\\xa9\\n' x\n"
    )
    assert run(sandbox, "print('ok')").status == "ok"


@pytest.mark.parametrize(
    "text, status, limits",
    [
        ("while True: pass", "time_limit_exceeded", {"cpu_s": 0.3}),
        ("import time; time.sleep(60)", "time_limit_exceeded", {"wall_s": 0.5}),
        ("import os\nfor _ in range(3):\n    if os.fork() == 0: break\nwhile True: pass", "time_limit_exceeded", {"cpu_s": 0.3}),
        ("x = bytearray(10**9)", "memory_limit_exceeded", {}),
        ("x = []\nwhile True: x.append('y' * 10**6)", "memory_limit_exceeded", {}),
        ("while True: print('x' * 10**5)", "output_limit_exceeded", {"output_mb": 1}),
        ("import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\nwhile True: os.write(2, b'x' * 10**5)", "output_limit_exceeded", {"output_mb": 1}),
        ("1 / 0", "runtime_error", {}),
        ("import os; os._exit(7)", "runtime_error", {}),
        ("import os; os.abort()", "runtime_error", {}),
        ("import ctypes; ctypes.string_at(0)", "runtime_error", {}),
        ("import os; os.kill(os.getpid(), 9)", "runtime_error", {}),
        ("def f(): f()\nf()", "runtime_error", {}),
        ("this is no program", "runtime_error", {}),
        ("raise SystemExit('so')", "runtime_error", {}),
        ("import os; os._exit(0)", "ok", {}),
        ("import threading; threading.Thread(target=print, args=('late',)).start()", "ok", {}),
    ],
)  # fmt: skip
def test_how_programs_end(sandbox, text, status, limits):
    result = run(sandbox, text, **limits)
    assert result.status == status, result
    assert (result.detail == "") == (status == "ok")


def test_functions_are_called_with_typed_values(sandbox):
    text = "class Solution:\n    def swap(self, pair): return pair[::-1]\n"
    _, found = calls(sandbox, text, "Solution.swap", [[1, 2]], [(1, "x")], [5])
    assert found[0] == {"value": [2, 1]} and found[1] == {"value": {"tuple": ["x", 1]}}
    assert found[2]["error"].startswith("TypeError")
    _, found = calls(sandbox, "def f(n):\n    yield from range(n)", "f", [3])
    assert found == [{"value": [0, 1, 2]}]
    result, found = calls(
        sandbox, "def f(n):\n    if n == 2: raise SystemExit(0)\n    return n", "f", [1], [2], [3]
    )
    assert (
        found == [{"value": 1}] and result.status == "ok"
    )  # ended before its time: whoever judges sees two values missing


def harness(sandbox, tests, program):
    first, second = sandbox.run_pair(
        Job(action="harness", text=tests.encode(), limits=LIMITS),
        Job(action="serve", text=program.encode(), limits=LIMITS),
    )
    assert first.status == "ok", first
    return json.loads(first.output), second


@pytest.mark.parametrize(
    "tests, program, checks, failed",
    [
        ("assert f(1) == 2\nassert f(2) == 4", "def f(x): return x + 1", 2, 1),
        ("assert f(1) == 2", "class A:\n    def __eq__(s, o): return True\ndef f(x): return A()", 1, 1),
        ("assert f(1) == 2", "class A(int):\n    def __eq__(s, o): return True\ndef f(x): return A(3)", 1, 1),
        ("def check(g):\n    assert g(s='ab') == 'ba'\ncheck(Solution().rev)", "class Solution:\n    def rev(self, s): return s[::-1]", 1, 0),
        ("a = [3, 1]\nf(a)\nassert a == [1, 3]", "def f(a): a.sort()", 1, 0),
        ("a = [3, 1]\nassert f(a) == sorted(a)", "def f(a):\n    a.clear()\n    return []", 1, 1),
        ("assert g([P(1, 2), P(3, 4)]) == [1, 3]", "class P:\n    def __init__(s, a, b): s.a = a\ndef g(l): return [p.a for p in l]", 1, 0),
        ("try:\n    f(0)\n    assert False\nexcept ZeroDivisionError:\n    assert True", "def f(x): return 1 / x", 1, 0),
        ("assert list(f(3)) == [0, 1, 2]\nassert str(g()) == 'so'", "def f(n):\n    return (i for i in range(n))\nclass A:\n    def __str__(self): return 'so'\ng = A", 2, 0),
    ],
)  # fmt: skip
def test_tests_call_a_program_in_another_place(sandbox, tests, program, checks, failed):
    found, _ = harness(sandbox, tests, program)
    assert (found["done"], found["checks"], found["failed"]) == (True, checks, failed), found


@pytest.mark.parametrize(
    "program, error",
    [
        ("import os\nos._exit(0)", "the program ended"),
        ("raise SystemExit(0)", "the program ended"),
        ("import os, time\nos.write(6, b'\\xff' * 100)\ntime.sleep(5)", "protocol"),
        (
            "import os, struct, time\nos.write(6, struct.pack('<I', 7) + b'{\"a\":1}')\ntime.sleep(5)",
            "protocol",
        ),
    ],
)
def test_a_program_that_does_not_answer(sandbox, program, error):
    found, _ = harness(sandbox, "assert f(1) == 2\nassert f(2) == 3", program)
    assert not found["done"] and error in found["error"]


def test_compiled_programs(sandbox):
    source = "#include <iostream>\nint main() { long x; std::cin >> x; std::cout << 2 * x << '\\n'; }"
    compiled = sandbox.run(
        Job(action="compile", text=source.encode(), suffix=".cpp", command=("g++", "-O1", "-o", "{binary}", "{source}"),
            limits=Limits(cpu_s=30, wall_s=120, memory_mb=1024, output_mb=64))
    )  # fmt: skip
    if b"No such file" in compiled.stderr and compiled.exit_code:
        pytest.skip("there is no g++ inside")
    assert compiled.status == "ok", compiled
    for stdin, stdout in ((b"21\n", b"42\n"), (b"-1\n", b"-2\n")):
        assert (
            sandbox.run(Job(action="binary", text=compiled.output, stdin=stdin, limits=LIMITS)).stdout == stdout
        )
    wrong = sandbox.run(Job(action="compile", text=b"int main() { return x; }", suffix=".cpp", command=("g++", "-o", "{binary}", "{source}"), limits=Limits(cpu_s=30, memory_mb=1024)))  # fmt: skip
    assert wrong.status == "runtime_error" and b"not declared" in wrong.stderr


def test_nothing_is_left_for_the_next_job(sandbox):
    run(
        sandbox,
        "import os, builtins\nopen('left', 'w').write('x')\nos.makedirs('a/b/c')\nos.chmod('a', 0)\nbuiltins.print = None",
    )
    daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(0)\nprint('away')"
    started = time.monotonic()
    assert run(sandbox, daemon).stdout == b"away\n"
    assert time.monotonic() - started < 10
    assert run(sandbox, "import os\nprint(os.listdir('.'))").stdout == b"[]\n"


def test_threads_share_the_workers(sandbox):
    with opened(sandbox.backend, workers=2) as shared:
        found = {}

        def work(number):
            found[number] = run(shared, "print(int(input()) ** 2)", str(number)).stdout

        threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {n: f"{n * n}\n".encode() for n in range(20)}


def test_a_worker_outlives_the_thread_that_needed_it(sandbox):
    with opened(sandbox.backend, workers=2) as shared:
        threads = [
            threading.Thread(target=run, args=(shared, "import time; time.sleep(0.5)")) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pids = shared.pids
        time.sleep(0.2)
        assert [run(shared, "print(1)").status for _ in range(4)] == ["ok"] * 4 and shared.pids == pids


def test_descriptors_are_given_back(sandbox):
    harness(sandbox, "assert f() == 1", "def f(): return 1")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        run(sandbox, "print(1)")
        harness(sandbox, "assert f() == 1", "def f(): return 1")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_worker_that_dies_costs_one_job(sandbox):
    with opened(sandbox.backend) as fragile:
        threading.Timer(0.5, lambda: [os.kill(pid, signal.SIGKILL) for pid in fragile.pids]).start()
        result = run(fragile, "import time; time.sleep(10)")
        assert result.status == "sandbox_error" and result.wall_s == 0.0
        deadline = time.monotonic() + 10
        while run(fragile, "print(1)").status == "sandbox_error" and time.monotonic() < deadline:
            pass
        assert run(fragile, "print(1)").stdout == b"1\n"


def test_a_closed_sandbox_says_so(sandbox):
    other = opened(sandbox.backend)
    pids = other.pids
    other.close()
    with pytest.raises(SandboxError, match="was closed"):
        run(other, "print(1)")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_files_are_removed_at_the_end_or_by_the_next_one(sandbox, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(0o755)
    gone = tmp_path / "r1-sandbox-999999999-x"
    gone.mkdir()
    other = opened(sandbox.backend)
    assert not gone.exists()
    other.close()
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith("uids")] == []


def test_choosing_a_backend():
    with pytest.raises(ConfigError, match="did you mean 'bwrap'"):
        open_sandbox("bwarp")
    with pytest.raises(ConfigError, match="unsafe=True"):
        open_sandbox("subprocess")
    with open_sandbox("subprocess", unsafe=True) as trusting:
        assert run(trusting, "print(open('/etc/passwd').read()[:4])").stdout == b"root\n"


def test_auto_takes_the_first_that_passes(monkeypatch):
    from r1env.sandbox import attacks, bwrap, landlock

    monkeypatch.setattr(bwrap, "why_not", lambda: "not today")
    opened("landlock").close()
    with open_sandbox() as found:
        assert found.backend == "landlock"
    monkeypatch.setattr(attacks, "selftest", lambda sandbox: ["a socket"])
    with pytest.raises(
        SandboxError,
        match=r"bwrap: not today; landlock: it did not withstand its own test \(a socket\); docker: ",
    ):
        open_sandbox()
    monkeypatch.setattr(landlock, "why_not", lambda: "nor this")
    with pytest.raises(SandboxError, match="without one no program is run"):
        open_sandbox()
