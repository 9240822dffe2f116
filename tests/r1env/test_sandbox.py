"""Every backend: what programs get, what they are told, how they end, and that nothing is left of them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types

import pytest

from r1env.errors import ConfigError, SandboxError
from r1env.sandbox import Job, Limits, open_sandbox, runtime, wire
from r1env.sandbox.inside import descend
from r1env.sandbox.zygote import Zygote
from tests.r1env.sandboxes import CONFINED, opened

LIMITS = Limits(wall_s=20.0, memory_mb=128)


@pytest.fixture(scope="module", params=CONFINED)
def sandbox(request):
    with opened(request.param) as found:
        yield found


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The directory of temporary files, which other users can enter, and with nothing in it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for path in (tmp_path, *list(tmp_path.parents)[:3]):
        path.chmod(0o755)
    return tmp_path


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


class Rang(Exception):
    pass


def test_an_exception_in_the_middle_of_a_job_spoils_no_other(sandbox):
    def ring(*_):
        raise Rang

    before = signal.signal(signal.SIGALRM, ring)
    pair = [Job(action=a, text=t.encode(), limits=LIMITS) for a, t in (("harness", "assert f() == 1"), ("serve", "import time\ntime.sleep(1)\ndef f(): return 1"))]  # fmt: skip
    try:
        with opened(sandbox.backend) as interrupted:
            for start in (
                lambda: run(interrupted, "import time; time.sleep(1); print('late')"),
                lambda: interrupted.run_pair(*pair),
            ):
                signal.setitimer(signal.ITIMER_REAL, 0.4)
                with pytest.raises(Rang):
                    start()
                for _ in range(3):
                    assert run(interrupted, "print(7)").stdout == b"7\n"
                    assert run(interrupted, "raise SystemExit(3)").exit_code == 3
                    assert harness(interrupted, "assert f() == 1", "def f(): return 2")[0]["failed"] == 1
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_report_of_another_job_is_not_believed():
    ours, theirs = runtime.connected()
    theirs.send(b"ready")
    zygote = Zygote(
        types.SimpleNamespace(pid=1, poll=lambda: None, wait=lambda timeout: None), ours, io.BytesIO()
    )
    report = {"failure": "", "clearing": False}
    for number, believed in ((0, True), (1, True), (1, False)):
        zygote.begin({}, [])
        assert not zygote.alive, "in the middle of a job"
        theirs.send(json.dumps({**report, "number": number}).encode())
        assert (zygote.heard() is not None, zygote.alive) == (believed, believed)
    zygote.close()
    theirs.close()


def test_a_fork_shares_nothing_with_its_parent(sandbox):
    with opened(sandbox.backend) as shared:
        hears, tells = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                run(shared, "print(1)")
            except SandboxError as error:
                os.write(tells, str(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert b"after the fork" in os.read(hears, 1000)
        assert run(shared, "print(1)").stdout == b"1\n"
        os.close(hears)
        os.close(tells)


ORPHAN = """
import os, sys, time
from r1env.sandbox import Job, Limits, Sandbox
sandbox = Sandbox(sys.argv[1])
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
daemon = b"import os, time\\nif os.fork() == 0:\\n    os.setsid()\\n    if os.fork() == 0:\\n        time.sleep(60)\\n    os._exit(0)\\ntime.sleep(60)"
print(*sandbox.pids, flush=True)
sandbox.run(Job(action="program", text=daemon, limits=Limits(wall_s=90.0)))
"""


def test_a_parent_that_is_killed_leaves_nothing_though_it_had_forked(sandbox):
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, sandbox.backend], stdout=subprocess.PIPE)
    pids = [int(number) for number in parent.stdout.readline().split()]
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while (left := [pid for pid in pids if os.path.exists(f"/proc/{pid}")]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def test_a_program_that_ends_without_closing_leaves_no_file(sandbox, temporary):
    text = "import sys; from r1env.sandbox import Sandbox; kept = Sandbox(sys.argv[1])"
    subprocess.run([sys.executable, "-c", text, sandbox.backend], check=True)
    assert list(temporary.iterdir()) == []


def test_directories_in_use_are_left_alone_by_other_namespaces(temporary):
    mine = runtime.files()
    text = "from r1env.sandbox import runtime; runtime.files()"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        pytest.skip(f"no namespace of processes: {done.stderr[-200:]!r}")
    assert os.path.exists(os.path.join(mine, "zygote.py"))
    runtime.remove(mine)
    assert not os.path.exists(mine)


def test_user_ids_are_handed_out_once(tmp_path):
    text = "from r1env.sandbox import runtime; print(runtime.user_ids('test', 100, 4, 9)[0]); input()"
    ids, lock = runtime.user_ids("test", 100, 4, 9)
    with subprocess.Popen(
        [sys.executable, "-c", text], env={**os.environ, "TMPDIR": str(tmp_path)}, stdin=-1, stdout=-1
    ) as other:
        others = json.loads(other.stdout.readline())
        assert (
            len(ids) == len(others) == 4
            and not set(ids) & set(others)
            and {*ids, *others} <= set(range(100, 136))
        )
        other.communicate(b"\n")
    lock.close()
    assert runtime.user_ids("test", 100, 4, 9)[0] == ids
    more = [runtime.user_ids("test", 100, 4, 9) for _ in range(9)]
    with pytest.raises(SandboxError, match="all 9 blocks"):
        runtime.user_ids("test", 100, 4, 9)
    assert len({uid for block, _ in more for uid in block}) == 36


def test_what_takes_long_to_remove_is_held_against_the_program(monkeypatch, temporary):
    """Where no file system of its own bounds the work directory; the zygote's patience is cut short here."""
    files = runtime.files

    def impatient():
        path = files()
        with open(os.path.join(path, "zygote.py"), "r+") as file:
            text = file.read()
            assert "_CLEARING_S = 2.0" in text
            file.seek(0)
            file.write(text.replace("_CLEARING_S = 2.0", "_CLEARING_S = 0.0"))
        return path

    monkeypatch.setattr(runtime, "files", impatient)
    with open_sandbox("subprocess", unsafe=True) as sandbox:
        (first,) = sandbox.pids
        result = run(sandbox, "import os\nfor n in range(5000): os.mkdir(str(n))\nprint('done')", cpu_s=20.0)
        assert (result.status, result.stdout) == (
            "output_limit_exceeded",
            b"done\n",
        ) and "more files" in result.detail
        assert run(sandbox, "print(1)").stdout == b"1\n"
        deadline = time.monotonic() + 60
        while first in sandbox.pids and time.monotonic() < deadline:
            assert run(sandbox, "print(1)").status == "ok"
        assert first not in sandbox.pids and len(os.listdir(temporary)) == 1
    assert os.listdir(temporary) == []


def test_executables_that_are_kept_are_bounded(sandbox, monkeypatch):
    monkeypatch.setattr("r1env.sandbox.zygote._BINARY_BYTES", 1000)
    zygote = next(iter(sandbox._all))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(9):
        zygote.binary(b"%d" % number * 400)
        zygote.binary(b"0" * 400)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert zygote.binary(b"0" * 400) == zygote.binary(b"0" * 400)


def test_scripts_have_a_bounded_address_space_and_room_for_threads(sandbox):
    def script(command, suffix, text):
        job = Job(action="script", text=text, suffix=suffix, command=(command, "{source}"), limits=Limits(memory_mb=192))  # fmt: skip
        return sandbox.run(job)

    limits = b"import resource as r; print(r.getrlimit(r.RLIMIT_AS)[0] >> 20)"
    assert int(script("/usr/bin/python3", ".py", limits).stdout) == 192 + 1024
    found = script("node", ".js", b"console.log(1)")
    if b"No such file" in found.stderr:
        pytest.skip("there is no node inside")
    assert found.stdout == b"1\n"


def test_a_closed_sandbox_says_so(sandbox):
    other = opened(sandbox.backend)
    pids = other.pids
    other.close()
    with pytest.raises(SandboxError, match="was closed"):
        run(other, "print(1)")
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_files_are_removed_at_the_end_or_by_the_next_one(sandbox, temporary):
    gone = temporary / "r1-sandbox-abcd_123"
    gone.mkdir()
    other = opened(sandbox.backend)
    assert not gone.exists()
    other.close()
    assert list(temporary.iterdir()) == []


def test_choosing_a_backend():
    with pytest.raises(ConfigError, match="did you mean 'bwrap'"):
        open_sandbox("bwarp")
    with pytest.raises(ConfigError, match="unsafe=True"):
        open_sandbox("subprocess")
    with open_sandbox("subprocess", unsafe=True) as trusting:
        assert run(trusting, "print(open('/etc/passwd').read()[:4])").stdout == b"root\n"


def test_a_backend_that_cannot_start_is_no_reason_to_stop(monkeypatch):
    from r1env.sandbox import attacks, bwrap, landlock

    opened("landlock").close()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(bwrap, "why_not", lambda: None)
        patch.setattr(bwrap, "start", refuse)
        with open_sandbox() as found:
            assert found.backend == "landlock"
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        with pytest.raises(SandboxError, match="noexec"):
            landlock.start()
    started = []
    monkeypatch.setattr(attacks, "selftest", lambda sandbox: started.extend(sandbox.pids) or refuse())
    with pytest.raises(SandboxError, match="Permission denied"):
        open_sandbox("landlock")
    assert started and not any(os.path.exists(f"/proc/{pid}") for pid in started)


@pytest.mark.parametrize(
    "uid, command, said",
    [
        (0, "/nowhere", "/nowhere cannot be run: No such file or directory"),
        (2**31, "/bin/true", "may not become the user"),
    ],
)
def test_a_root_that_cannot_become_another_user_is_told_why(uid, command, said):
    if os.getuid() != 0:
        pytest.skip("this is about root")
    what = json.dumps({"uid": uid, "mounts": [], "command": [command]})
    limited = ["unshare", "-Ur"] if uid else []  # where but one user id is mapped
    done = subprocess.run([*limited, sys.executable, descend.__file__, what], capture_output=True, text=True)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


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
