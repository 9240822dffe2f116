"""What state a program begins in, on every backend: nothing of the zygote's, nothing of the job's before it."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time

import pytest

from r1env.errors import ConfigError
from r1env.sandbox import Job, Limits, open_sandbox
from tests.r1env.sandboxes import CONFINED, descendants, opened

LOOK = """
import ctypes, json, os, resource, signal, sys
libc = ctypes.CDLL(None)
def is_open(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False
limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
print(json.dumps({
    "open": [number for number in range(1100) if is_open(number)],
    "limits": {name: value for name, value in limits.items()},
    "masked": [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    "leads": os.getsid(0) == os.getpid() == os.getpgid(0),
    "gainable": [n for n in range(64) if libc.prctl(23, n, 0, 0, 0) == 1],
    "path": sys.path, "home": os.environ["HOME"], "here": os.getcwd(), "environment": dict(os.environ),
    "threads": sys._current_frames().__len__(),
}))
"""
SHELL = ("/bin/sh", "{source}")


@pytest.fixture(scope="module", params=CONFINED)
def sandbox(request):
    with opened(request.param) as found:
        yield found


def look(sandbox, limits=None):
    return json.loads(sandbox.run(Job(action="program", text=LOOK.encode(), limits=limits or Limits())).stdout)


def shell(sandbox, text, limits=None, **more):
    return sandbox.run(
        Job(action="script", text=text.encode(), suffix=".sh", command=SHELL, limits=limits or Limits(), **more)
    )


def expected(limits, reserve):
    memory, size, cpu = int(limits.memory_mb * 2**20), int(limits.output_mb * 2**20), int(limits.cpu_s) + 1
    return {
        "RLIMIT_AS": [memory + reserve] * 2, "RLIMIT_DATA": [memory] * 2, "RLIMIT_FSIZE": [size] * 2,
        "RLIMIT_STACK": [min(memory, 64 << 20)] * 2, "RLIMIT_CPU": [cpu, cpu + 1], "RLIMIT_NOFILE": [128] * 2,
        "RLIMIT_CORE": [0, 0], "RLIMIT_MEMLOCK": [0, 0], "RLIMIT_MSGQUEUE": [0, 0],
    }  # fmt: skip


def test_limits_are_this_job_s(sandbox):
    ours = Limits(memory_mb=200, output_mb=2, cpu_s=3, processes=5)
    for limits in (Limits(), ours, Limits(memory_mb=256, processes=9), ours, Limits()):
        found = look(sandbox, limits)["limits"]
        wanted = expected(limits, 96 << 20)
        assert {name: found[name] for name in wanted} == wanted
        processes = found["RLIMIT_NPROC"]
        assert processes[0] == processes[1] and limits.processes <= processes[0] <= limits.processes + 4


def test_a_script_s_limits_are_not_a_program_s(sandbox):
    """Of equal numbers an interpreter that is not Python gets more address space, and less stack."""
    limits = Limits(memory_mb=200)
    for _ in range(2):
        assert look(sandbox, limits)["limits"]["RLIMIT_AS"][0] == (200 + 96) << 20
        assert shell(sandbox, "ulimit -v; ulimit -s", limits).stdout.split() == [
            b"%d" % ((200 + 1024) << 10),
            b"8192",
        ]


def test_no_descriptor_signal_or_path_of_the_zygote_s(sandbox):
    found = look(sandbox)
    assert found["open"] == [0, 1, 2]
    assert found["masked"] == [] and found["leads"] and found["threads"] == 1
    assert found["gainable"] == []
    assert not [
        path
        for path in found["path"]
        if path in ("", "/sandbox") or os.path.exists(os.path.join(path, "zygote.py"))
    ]
    assert found["home"] == found["here"] == found["environment"]["TMPDIR"]
    assert set(found["environment"]) == {"LANG", "PATH", "PYTHONHASHSEED", "OPENSSL_CONF", "HOME", "TMPDIR"}


def test_nor_where_the_caller_has_many_files_open():
    """Numbers of the zygote's own descriptors are then high ones."""
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(90)]
    try:
        with opened("bwrap") as sandbox:
            for _ in range(2):
                assert look(sandbox)["open"] == [0, 1, 2]
    finally:
        for descriptor in many:
            os.close(descriptor)


def test_natives_have_signals_as_they_come(sandbox):
    """Python ignores SIGPIPE, and the zygote SIGINT."""
    for name, number in (("PIPE", 13), ("INT", 2)):
        result = shell(sandbox, f"kill -{name} $$; echo alive")
        assert (result.stdout, result.signal) == (b"", number)


def test_natives_live_where_they_are(sandbox):
    for _ in range(3):  # in some backends each job has another directory
        assert (
            shell(sandbox, 'test "$HOME" = "$(pwd)" && test "$TMPDIR" = "$HOME" && echo same').stdout
            == b"same\n"
        )


@pytest.mark.parametrize("size", [0, 1, 4096, 65_536, 65_537, 1_000_003])
def test_programs_and_inputs_of_any_size(sandbox, size):
    source = b"import sys\nprint(len(sys.stdin.buffer.read()))\n#" + b"x" * size
    result = sandbox.run(Job(action="program", text=source, stdin=b"y" * size))
    assert result.stdout == b"%d\n" % size


def test_threads_that_are_left(sandbox):
    """Those that are no daemons end before the program does; a daemon is not waited for."""
    source = """
import threading, time
def late():
    time.sleep(0.3)
    print("late")
threading.Thread(target=late).start()
threading.Thread(target=lambda: time.sleep(60), daemon=True).start()
print("soon")
"""
    assert sandbox.run(Job(action="program", text=source.encode())).stdout == b"soon\nlate\n"
    daemon = (
        "import threading, time\nthreading.Thread(target=lambda: time.sleep(60), daemon=True).start()\nprint(1)"
    )
    result = sandbox.run(Job(action="program", text=daemon.encode()))
    assert (result.status, result.stdout) == ("ok", b"1\n") and result.wall_s < 10


def test_results_that_fill_their_file_are_too_long(sandbox):
    """That of typed values as well as standard output."""
    from r1env.sandbox import wire

    asked = wire.dumps({"entry": "f", "calls": [{"args": [], "kwargs": {}}]})
    source = b"def f():\n    return 'x' * 3_000_000"
    result = sandbox.run(Job(action="calls", text=source, stdin=asked, limits=Limits(output_mb=1)))
    assert result.status == "output_limit_exceeded" and len(result.output) <= 2**20


def test_many_limits_do_not_mix_between_workers():
    """Two workers, each job asks for other limits, and gets its own."""
    wrong = []
    with opened("bwrap", workers=2) as sandbox:

        def work(first):
            for i in range(first, first + 12):
                limits = Limits(memory_mb=100 + i, output_mb=1 + i % 3, cpu_s=1 + i % 4)
                found = look(sandbox, limits)["limits"]
                if any(found[name] != value for name, value in expected(limits, 96 << 20).items()):
                    wrong.append((i, found))

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_what_runs_inside_is_in_no_program_s_reach(sandbox):
    """Its modules cannot be imported, though they are in memory under names that nothing of Python's has."""
    found = sandbox.run(
        Job(action="program", text=b"import importlib.util\nprint(importlib.util.find_spec('descend'))")
    )
    assert found.stdout == b"None\n"


ENDINGS = {
    "atexit": (
        "import sys, io, os, atexit\nsys.stdout = io.StringIO()\n@atexit.register\n"
        "def write():\n    sys.__stdout__.write(sys.stdout.getvalue())\nprint(42)"
    ),
    "atexit that writes itself": "import os, atexit\natexit.register(lambda: os.write(1, b'42\\n'))",
    "a file that nobody closes": "out = open(1, 'w')\nout.write('42\\n')",
    "a descriptor's": "import os\nout = os.fdopen(1, 'w')\nprint(42, file=out)",
    "closed standard output": "import sys\nprint(42)\nsys.stdout.close()",
    "no standard output": "import sys\nprint(42)\nsys.stdout.flush()\nsys.stdout = None",
    "another one afterwards": "import sys, io\nprint(42)\nsys.stdout = io.StringIO()\nprint(43)",
    "one that writes when it dies": (
        "import os, sys, io\nclass Out(io.StringIO):\n    def __del__(self):\n        os.write(1, self.getvalue().encode())\n"
        "sys.stdout = Out()\nprint(42)"
    ),
    "an object that writes when it dies": "import os\nclass A:\n    def __del__(self): os.write(1, b'42\\n')\na = A()",
    "exit within atexit": "import atexit, sys\nprint(42)\natexit.register(sys.exit)",
    "a function's own file": "def main():\n    out = open(1, 'w', closefd=False)\n    out.write('42\\n')\nmain()",
    "an executor's threads": (
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)\n"
        "pool.submit(lambda: print(42))"
    ),
    "no modules left": "import sys\nprint(42)\nsys.modules.clear()",
    "another main module": "import sys\nprint(42)\nsys.modules['__main__'] = 3",
    "sys.exit with a message kept aside": "import sys\nprint(42)\nsys.exit()",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_programs_end_as_python_ends_them(sandbox, name):
    """The oracle is the interpreter itself."""
    import subprocess
    import sys

    plain = subprocess.run([sys.executable, "-I", "-c", ENDINGS[name]], capture_output=True, check=False)
    assert (plain.stdout, plain.returncode) == (b"42\n", 0)
    result = sandbox.run(Job(action="program", text=ENDINGS[name].encode()))
    assert (result.stdout, result.exit_code) == (b"42\n", 0), result


def test_standard_output_that_is_full_is_no_success(sandbox):
    """Written by the last flush, after the program."""
    text = b"print('x' * 60000)\nimport resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    assert sandbox.run(Job(action="program", text=text)).status != "ok"


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


@pytest.mark.parametrize("backend", ["bwrap", "landlock"])
@pytest.mark.parametrize("kind", ["program", "script"])
def test_rights_as_seen_from_outside(backend, kind):
    """A program without /proc and `capget` cannot tell which it has."""
    with opened(backend) as sandbox:
        known = set(sandbox.pids) | {d for pid in sandbox.pids for d in descendants(pid)}
        text, more = ("import time\ntime.sleep(60)", {}) if kind == "program" else ("sleep 60", {"suffix": ".sh", "command": SHELL})  # fmt: skip
        job = Job(action=kind, text=text.encode(), limits=Limits(wall_s=3), **more)
        waiting = threading.Thread(target=sandbox.run, args=(job,))
        waiting.start()
        found = {}
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            for pid in {d for first in sandbox.pids for d in descendants(first)} - known:
                try:
                    found[pid] = status_of(pid)
                except OSError:
                    continue
            time.sleep(0.05)
        waiting.join()
    settled = [status for status in found.values() if status["Seccomp"] == "2"]
    assert settled
    for status in settled:
        rights = {name: status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")}
        assert set(rights.values()) == {"0" * 16}, status["Name"]
        assert os.getuid() != 0 or status["CapBnd"] == "0" * 16
        assert status["NoNewPrivs"] == "1" and status["SigBlk"] == "0" * 16
        assert "0" not in status["Uid"].split()


def test_a_directory_for_temporary_files_with_a_long_name(tmp_path, monkeypatch):
    """The address of a Unix socket has 107 letters."""
    directory = tmp_path / ("x" * 90) / ("y" * 60)
    directory.mkdir(parents=True)
    for path in (directory, *list(directory.parents)[:5]):
        path.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with open_sandbox("bwrap") as sandbox:
        assert sandbox.run(Job(action="program", text=b"print(42)")).stdout == b"42\n"


@pytest.mark.parametrize(
    "wrong", [{"cpu_s": float("inf")}, {"wall_s": float("nan")}, {"memory_mb": 0}, {"processes": -1}]
)
def test_limits_that_are_none(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Limits(**wrong)
