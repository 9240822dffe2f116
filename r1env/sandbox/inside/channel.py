"""Two confined programs that talk: tests on one side, what they test on the other.

Runs inside the sandbox. A message is its length in four bytes and a line of `wire`, over a pair of pipes. The side of the
tests believes nothing: what it hears becomes a plain value, or a `Remote`, which equals itself alone.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import random
import signal
import struct
import sys
import types
from collections.abc import Callable
from typing import Any

import wire

OUTPUT, FROM_PEER, TO_PEER = 4, 5, 6
"""Descriptors."""
_ENDINGS = (StopIteration, StopAsyncIteration)
"""Raised in the tests themselves, these would end a loop over the program's answers as if there were no more."""
_HOPELESS = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)


def text_of(error: BaseException) -> str:
    """An exception in one line, whatever its own text does."""
    try:
        return f"{type(error).__name__}: {error}"[:2000]
    except BaseException:
        return type(error).__name__


class PeerGone(BaseException):
    """The other side has ended; not to be caught by tests."""


class BadMessage(BaseException):
    """The other side sent something else than a value; not to be caught by tests."""


def _send(message) -> None:
    line = message if isinstance(message, bytes) else wire.dumps(message)
    data = memoryview(struct.pack("<I", len(line)) + line)
    try:
        while data:
            data = data[os.write(TO_PEER, data) :]
    except BrokenPipeError:
        raise PeerGone from None


def _hear() -> bytes:
    (size,) = struct.unpack("<I", _exactly(4))
    if size > wire.MAX_BYTES:
        raise BadMessage(f"a message of {size} bytes")
    return _exactly(size)


def _exactly(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(FROM_PEER, min(size, 1 << 20))
        if not part:
            raise PeerGone
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def serve(load: Callable[[], types.ModuleType]) -> None:
    """The candidate's side: does what it is asked, until nobody asks any more."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    kept: list = []

    def keep(value) -> int:
        kept.append(value)
        return len(kept) - 1

    module = load()

    def mine(foreign: wire.Foreign):
        return kept[foreign.number]

    try:
        while True:
            asked = wire.loads(_hear(), mine)
            try:
                answer = wire.dumps(_answer(module, asked), keep)
            except _HOPELESS:
                raise
            except BaseException as error:
                answer = wire.dumps({"error": type(error).__name__, "text": text_of(error).partition(": ")[2]})
            _send(answer)
    except PeerGone:
        pass


def _answer(module: types.ModuleType, asked: dict) -> dict:
    target: Any = asked.get("of", module)
    what = asked["do"]
    if what == "get":
        return {"value": getattr(target, asked["name"])}
    if what == "call":
        function = target if asked["name"] is None else getattr(target, asked["name"])
        arguments, named = asked["args"], asked["kwargs"]
        value = function(*arguments, **named)
        # A function that gives nothing may have changed what it was given.
        return {"value": value, "changed": arguments} if value is None else {"value": value}
    if what == "set":
        setattr(target, asked["name"], asked["to"])
        return {"value": None}
    if what == "list":
        return {"value": list(target)}
    if what == "text":
        return {"value": str(target)}
    return {"value": len(target)}


def _ask(**message):
    _send(wire.dumps(message, lambda value: value._number))
    try:
        answer = wire.loads(_hear(), Remote)
    except ValueError as error:
        raise BadMessage(str(error)) from None
    if not isinstance(answer, dict) or not ("value" in answer or "error" in answer):
        raise BadMessage("an answer of another form")
    if "error" in answer:
        kind = getattr(builtins, str(answer["error"]), None)
        if not (isinstance(kind, type) and issubclass(kind, Exception)) or kind in _ENDINGS:
            kind = RuntimeError
        raise _withtext_of(kind, str(answer.get("text", ""))[:2000])
    return answer


def _withtext_of(kind, text: str) -> BaseException:
    try:
        return kind(text)
    except Exception:  # some want other arguments
        return RuntimeError(text)


class Remote:
    """A value of the other side that has no form here. It equals itself alone, whatever it says of itself."""

    def __init__(self, foreign: wire.Foreign) -> None:
        self.__dict__.update(_number=foreign.number, _type=foreign.name)

    def __setattr__(self, name: str, value) -> None:
        _ask(do="set", of=self, name=name, to=value)

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _ask(do="get", of=self, name=name)["value"]

    def __call__(self, *args, **kwargs):  # noqa: D102
        return _call({"of": self, "name": None}, args, kwargs)

    def __iter__(self):
        return iter(_ask(do="list", of=self)["value"])

    def __len__(self) -> int:
        return int(_ask(do="length", of=self)["value"])

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return str(_ask(do="text", of=self)["value"])

    def __repr__(self) -> str:
        return f"<a {self._type} of the program>"


class RemoteName:
    """A name that the program is to define."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args, **kwargs):  # noqa: D102
        return _call({"name": self._name}, args, kwargs)

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_ask(do="get", name=self._name)["value"], name)


_last: tuple = ()
"""What was called last: its name and arguments."""


def _last_call() -> str:
    """The last call of the other side as text."""
    if not _last:
        return ""
    name, args, kwargs = _last
    try:
        given = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
        return f"{name}({', '.join(given)})"[:2000]
    except Exception:
        return f"{name}(…)"


def _call(target: dict, args: tuple, kwargs: dict):
    global _last
    _last = (target["name"] or "candidate", args, kwargs)
    sent = list(args)
    answer = _ask(do="call", args=sent, kwargs=kwargs, **target)
    changed = answer.get("changed")
    if isinstance(changed, list) and len(changed) == len(args):
        for before, after in zip(args, changed):
            if type(before) is type(after) is list:
                before[:] = after
            elif type(before) is type(after) and isinstance(before, (dict, set)):
                before.clear()
                before.update(after)
    return answer["value"]


class _Asserts(ast.NodeTransformer):
    """Every assert is counted, and the next one runs even where one has failed."""

    def __init__(self) -> None:
        self.count = 0

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        site = ast.Constant(self.count)
        self.count += 1
        test = ast.Call(ast.Name("__r1_check", ast.Load()), [node.test, site], [])
        error = ast.Name("__r1_error", ast.Load())
        handler = ast.ExceptHandler(
            ast.Name("Exception", ast.Load()),
            "__r1_error",
            [ast.Expr(ast.Call(ast.Name("__r1_failed", ast.Load()), [error, site], []))],
        )
        return ast.copy_location(ast.Try([ast.Expr(test)], [handler], [], []), node)


def harness(source: bytes, own_names: list[str]) -> None:
    """Tests the other side with a program.

    `own_names` are built-in names that are the other side's too. Gives {"checks", "failed", "sites", "held", "error", "first", "call", "done"}: assertions evaluated and failed; those
    that stand in the text, and those of them that were evaluated and held each time; what went wrong first, and the call
    before it.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    random.seed()  # the other side was forked from the same process: it would know what is drawn
    found: dict[str, Any] = {"checks": 0, "failed": 0, "error": None, "first": None, "call": "", "done": False}
    held: dict[int, bool] = {}
    asserts = _Asserts()

    def check(value, site: int) -> None:
        if not value:
            raise AssertionError("an assertion does not hold")
        found["checks"] += 1
        held.setdefault(site, True)

    def failed(error, site: int) -> None:
        found["checks"] += 1
        found["failed"] += 1
        held[site] = False
        if found["first"] is None:
            # A test's own words about an assertion may say what was expected.
            first = "an assertion does not hold" if isinstance(error, AssertionError) else text_of(error)
            found.update(first=first[:2000], call=_last_call())

    try:
        tree = ast.parse(source)
        module = types.ModuleType("tests")
        sys.modules["tests"] = module
        for name in (*_undefined(tree), *own_names):
            module.__dict__[name] = RemoteName(name)
        module.__dict__.update(__r1_check=check, __r1_failed=failed)
        exec(compile(ast.fix_missing_locations(asserts.visit(tree)), "tests.py", "exec"), module.__dict__)
        found["done"] = True
    except PeerGone:
        found["error"] = "the program ended"
    except BadMessage as error:
        found["error"] = f"protocol: {error}"
    except BaseException as error:
        found["error"] = text_of(error)
    found["call"] = found["call"] or _last_call()
    found.update(sites=asserts.count, held=sum(held.values()))
    with open(OUTPUT, "wb", closefd=False) as out:
        out.write(json.dumps(found).encode())


def _undefined(tree: ast.AST) -> list[str]:
    """Names that a module reads and nowhere defines."""
    read: set[str] = set()
    defined = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            defined.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    return sorted(read - defined)
