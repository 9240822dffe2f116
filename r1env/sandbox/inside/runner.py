"""What happens in a confined process: a program is run, called, or tests another one.

Runs inside the sandbox. Everything here may be changed by the program that is run, so nothing here decides whether its
answer is right: it only carries values out, as `wire` writes them, and whoever reads them trusts none.
"""

from __future__ import annotations

import _signal
import _thread
import atexit
import builtins
import io
import json
import linecache
import os
import sys
import threading
import traceback
import types

import channel
import wire

PROGRAM, OUTPUT, FROM_PEER, TO_PEER = 3, channel.OUTPUT, channel.FROM_PEER, channel.TO_PEER
"""Descriptors."""
OUT_OF_MEMORY = 120
"""An exit code of ours; a program that borrows it is as wrong as before."""
ENVIRONMENT = {
    "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONHASHSEED": "0", "OPENSSL_CONF": "/dev/null",
}  # fmt: skip
_standard = (sys.stdout, sys.stderr)
_home, _environment = "", {b"": b""}  # of all programs of a zygote, as a rule
_names: dict = {}
_NAMES = len(vars(types.ModuleType("__main__"))) + 1  # that every module has, with `__builtins__`
_KEPT = (types.ModuleType, types.FunctionType, type)  # what objects may still need when they die
_HOPELESS = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)


def warm_up(work: str) -> None:
    """Does once, before any fork, what every program would do at first."""
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    _live_in(work)
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(__file__)]
    sys.stdin = _text(io.BufferedReader(io.FileIO(0, closefd=False)), "surrogateescape")
    sys.stdout = _text(io.BufferedWriter(io.FileIO(1, "w", closefd=False), 1 << 16), "surrogateescape")
    sys.stderr = io.TextIOWrapper(
        io.FileIO(2, "w", closefd=False), encoding="utf-8", errors="backslashreplace", write_through=True
    )
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, f"__{name}__", getattr(sys, name))
    global _standard
    _standard = (sys.stdout, sys.stderr)
    sys.argv = ["solution.py"]
    _rehearse()


def _rehearse() -> None:
    """What Python finds and keeps when something is done for the first time, every program finds then."""
    wire.loads(wire.dumps([1, 2.5, "x", (1,), {1: 2}]))
    given, taken = os.pipe()
    text = _text(io.BufferedWriter(io.FileIO(taken, "w"), 1 << 16), "surrogateescape")
    print("1", file=text)
    text.close()
    with _text(io.BufferedReader(io.FileIO(given)), "surrogateescape") as lines:
        exec(
            compile("def f(x): return [x for x in x]\nf(lines.readline()[::-1])", "rehearsal", "exec"), locals()
        )


def run(job: dict, work: str) -> None:
    """Does what `job` says, and ends this process."""
    if work != _home:
        _live_in(work)
    actions = {"program": _program, "calls": _calls, "serve": _serve, "harness": _harness}
    if job["action"] in actions:
        code = _guard(actions[job["action"]])
    else:
        code = _guard(lambda: _native(job, work))
    os._exit(code)


def _text(file, errors: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8", errors=errors)


def _live_in(work: str) -> None:
    global _home, _environment
    os.environ.update(HOME=work, TMPDIR=work)
    _home, _environment = work, dict(os.environb)


def _guard(action) -> int:
    """Runs to the end, as Python ends: threads, `atexit`, what the program holds, buffers. The exit code."""
    code = 0
    try:
        action()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except MemoryError:
        code = OUT_OF_MEMORY
    except BaseException:
        code = 1
        _say_why()
    try:
        if _thread._count() or threading._threading_atexits:  # type: ignore[attr-defined]
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        well = _flushed(sys.stdout) and _flushed(sys.stderr)
        # What is left is never collected, as this process does not end by way of Python. So files that the program has
        # not closed are let go of here, and with them its objects that write when they die.
        if len(_names) > _NAMES or sys.stdout is not _standard[0] or sys.stderr is not _standard[1]:
            sys.stdout, sys.stderr = _standard
            for name, value in list(_names.items()):
                if not isinstance(value, _KEPT) and name[:2] != "__":
                    _names.pop(name, None)
            well = _flushed(sys.stdout) and _flushed(sys.stderr) and well
        code = code if well else code or 1
    except BaseException:
        code = code or 1
    return code & 0xFF


def _flushed(file) -> bool:
    """Writes out what a standard stream holds; whether that went well, or there is no open one."""
    try:
        if file is not None:
            file.flush()
    except BaseException:
        return getattr(file, "closed", False) is True
    return True


def _say_why() -> None:
    try:
        traceback.print_exc(limit=-20)
    except BaseException:  # an exception whose text raises
        os.write(2, b"an exception without a text\n")


def _read(descriptor: int) -> bytes:
    """All of a file in memory, without the objects that `open` makes."""
    return os.pread(descriptor, os.lseek(descriptor, 0, os.SEEK_END), 0)


def _module(name: str, source: bytes) -> types.ModuleType:
    """The program as a module, run from top to bottom."""
    global _names
    module = types.ModuleType(name)
    _names = module.__dict__  # not asked of `sys.modules` at the end, where a program may have put anything
    sys.modules[name] = module
    module.__dict__["__builtins__"] = builtins
    text = (
        source.decode("utf-8", "surrogateescape")
        if not source.startswith(b"\xef\xbb\xbf")
        else source[3:].decode()
    )
    linecache.cache["solution.py"] = (len(text), None, text.splitlines(True), "solution.py")
    exec(_compiled(text), module.__dict__)
    return module


def _compiled(text: str) -> types.CodeType:
    try:
        return compile(text, "solution.py", "exec")
    except (RecursionError, MemoryError, ValueError, OverflowError):
        raise SyntaxError("the program is too deep, or no text") from None


def _program() -> None:
    source = _read(PROGRAM)
    os.close(PROGRAM)
    os.close(OUTPUT)
    _module("__main__", source)


def _named(module: types.ModuleType, path: str):
    """A function by its dotted name; a method of a class, of an object made without arguments."""
    names = path.split(".")
    found = getattr(module, names[0])
    for name in names[1:]:
        found = getattr(found() if isinstance(found, type) else found, name)
    return found


def _calls() -> None:
    """Standard input: {"entry": name, "calls": [{"args": list, "kwargs": dict}]}; gives a line a call."""
    asked = wire.loads(_read(0))
    module = _module("solution", _read(PROGRAM))
    with open(OUTPUT, "wb", closefd=False) as out:
        for call in asked["calls"]:
            try:
                value = _named(module, asked["entry"])(*call["args"], **call["kwargs"])
                line = b'{"value": ' + wire.dumps(_whole(value)) + b"}"
            except _HOPELESS:
                raise
            except BaseException as error:
                line = json.dumps({"error": channel.text_of(error)}).encode()
            out.write(line + b"\n")
            out.flush()


def _whole(value):
    """Generators and the like as lists: they have no value of their own."""
    if hasattr(value, "__next__") or isinstance(
        value, (map, filter, zip, range, type({}.keys()), type({}.values()))
    ):
        return list(value)
    return value


def _serve() -> None:
    channel.serve(lambda: _module("solution", _read(PROGRAM)))


def _harness() -> None:
    channel.harness(_read(PROGRAM), json.loads(_read(0) or b"[]"))


def _native(job: dict, work: str) -> None:
    """An executable, an interpreter's script, or a compiler's source."""
    for number in (_signal.SIGINT, _signal.SIGPIPE):  # which Python and the zygote ignore
        # Not by the module `signal`, which makes names of numbers, and takes longer for that than a fork.
        _signal.signal(number, _signal.SIG_DFL)
    if job["action"] == "binary":
        os.set_inheritable(PROGRAM, False)
        os.close(OUTPUT)
        os.execve(PROGRAM, ["program"], _environment)
    source, binary = os.path.join(work, "solution" + job["suffix"]), os.path.join(work, "program")
    with open(source, "wb") as file:
        file.write(_read(PROGRAM))
    command = [part.replace("{source}", source).replace("{binary}", binary) for part in job["command"]]
    if job["action"] == "script":
        for descriptor in (PROGRAM, OUTPUT):
            os.close(descriptor)
        os.execvp(command[0], command)
    child = os.posix_spawnp(command[0], command, _environment)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise SystemExit(code if code > 0 else 1)
    with open(binary, "rb") as made, open(OUTPUT, "wb", closefd=False) as out:
        while part := made.read(1 << 20):
            out.write(part)
