"""Two confined programs that talk: tests on one side, what they test on the other.

Runs inside the sandbox. A message is its length in four bytes and a line of `wire`, over a pair of pipes. The side of the
tests believes nothing: what it hears becomes a plain value, or a `Remote`, which equals itself alone.

What a function gives is a value, which the tests compare. Its methods would be the program's own words on whether it is the
right one, and hear what is expected: only objects that the tests have made of a class of the program's have methods.
"""

from __future__ import annotations

import ast
import builtins
import collections
import functools
import importlib
import json
import os
import random
import signal
import struct
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

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


_lost: list[str] = []
"""Why the other side cannot be believed any more, whatever the tests do with the exception that says so."""


class _Way(NamedTuple):
    """How the tests come by something of the other side's."""

    says: Callable[[], str]
    """As text."""
    name: str = ""
    """The name that it has, if any."""
    made: bool = False
    """Whether the tests made it of a class, or it is one: then what it has may be called."""
    calls: bool = True
    """Whether it may be called itself."""

    def attribute(self, name: str) -> _Way:
        return _Way(lambda: f"{self.says()}.{name}", name, self.made, self.made)

    def call(self, args: tuple, kwargs: dict) -> _Way:
        return _Way(functools.partial(_call_text, self.says, args, kwargs), made=_is_class(self.name))


def _ask(way: _Way, **message):
    """Asks the other side; what has no form here becomes a `Remote`."""
    try:
        _send(wire.dumps(message, lambda value: value._number))
        try:
            answer = wire.loads(_hear(), lambda foreign: Remote(foreign, way))
        except ValueError as error:
            raise BadMessage(str(error)) from None
        if not isinstance(answer, dict) or not ("value" in answer or "error" in answer):
            raise BadMessage("an answer of another form")
    except PeerGone:
        _lost.append("the program ended")
        raise
    except BadMessage as error:
        _lost.append(f"protocol: {error}")
        raise
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

    def __init__(self, foreign: wire.Foreign, way: _Way) -> None:
        self.__dict__.update(_number=foreign.number, _type=foreign.name, _way=way)

    def __setattr__(self, name: str, value) -> None:
        _ask(self._way, do="set", of=self, name=name, to=value)

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _ask(self._way.attribute(name), do="get", of=self, name=name)["value"]

    def __call__(self, *args, **kwargs):  # noqa: D102
        if not self._way.calls:
            raise TypeError(
                f"{self._way.says()} is called, but what a function gives is a value without methods of its own"
            )
        return _call({"of": self, "name": None}, self._way, args, kwargs)

    def __iter__(self):
        return iter(_ask(self._way, do="list", of=self)["value"])

    def __len__(self) -> int:
        return int(_ask(self._way, do="length", of=self)["value"])

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        return str(_ask(self._way, do="text", of=self)["value"])

    def __repr__(self) -> str:
        return f"<a {self._type} of the program>"


class RemoteName:
    """A name that the program is to define."""

    def __init__(self, name: str) -> None:
        self._name, self._way = name, _Way(lambda: name, name, _is_class(name))

    def __call__(self, *args, **kwargs):  # noqa: D102
        return _call({"name": self._name}, self._way, args, kwargs)

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_ask(self._way, do="get", name=self._name)["value"], name)


def _is_class(name: str) -> bool:
    """Whether a name is one of a class, as far as it tells: Pair, but neither pair nor Pair_Sum."""
    return name[:1].isupper() and "_" not in name


_last: Callable[[], str] = str
"""What was called last, as text."""


def _call_text(says: Callable[[], str], args: tuple, kwargs: dict) -> str:
    try:
        given = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
        return f"{says()}({', '.join(given)})"[:2000]
    except Exception:
        return f"{says()}(…)"


def _call(target: dict, way: _Way, args: tuple, kwargs: dict):
    global _last
    given = way.call(args, kwargs)
    _last = given.says
    sent = list(args)
    answer = _ask(given, do="call", args=sent, kwargs=kwargs, **target)
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
    """Every assertion is counted, and the next one runs even where one has failed.

    Names end as they begin: Python changes others within a class.
    """

    def __init__(self) -> None:
        self.count = 0

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return self._counted(node, [], node.test)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return self._counted(node, [node], ast.Constant(True)) if _asserts(node.value) else node

    def visit_With(self, node: ast.With) -> ast.AST:
        self.generic_visit(node)
        asserts = any(_asserts(item.context_expr) for item in node.items)
        return self._counted(node, [node], ast.Constant(True)) if asserts else node

    def _counted(self, node: ast.stmt, before: list[ast.stmt], test: ast.expr) -> ast.AST:
        site = ast.Constant(self.count)
        self.count += 1
        check = ast.Call(ast.Name("__r1_check__", ast.Load()), [test, site], [])
        error = ast.Name("__r1_error__", ast.Load())
        failed = ast.Call(ast.Name("__r1_failed__", ast.Load()), [error, site], [])
        handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), "__r1_error__", [ast.Expr(failed)])
        return ast.copy_location(ast.Try([*before, ast.Expr(check)], [handler], [], []), node)


def _asserts(node: ast.expr) -> bool:
    """Whether this is a call like `self.assertEqual(…)`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith("assert")
    )


def harness(source: bytes, own_names: list[str]) -> None:
    """Tests the other side with a program.

    `own_names` are names of Python's that are the other side's all the same. Gives {"checks", "failed", "sites", "held", "error", "first", "call", "done"}: assertions evaluated and failed; those
    that stand in the text, and those of them that were evaluated and held each time; what went wrong first, and the call
    before it.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    random.seed()  # the other side was forked from the same process: it would know what is drawn
    found: dict[str, Any] = {"checks": 0, "failed": 0, "error": None, "first": None, "call": "", "done": False}
    held: dict[int, bool] = {}
    asserts = _Asserts()

    def told(error) -> str:  # a test's own words about an assertion may say what was expected
        return "an assertion does not hold" if isinstance(error, AssertionError) else text_of(error)

    def check(value, site: int) -> None:
        if not value:
            raise AssertionError("an assertion does not hold")
        found["checks"] += 1
        held.setdefault(site, True)

    def failed(error, site: int) -> None:
        held[site] = False
        fault(error)

    def fault(error) -> None:
        found["checks"] += 1
        found["failed"] += 1
        if found["first"] is None:
            found.update(first=told(error), call=_last())

    try:
        tree = ast.parse(source)
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        module.__dict__.update(_names(tree, own_names))
        module.__dict__.update(__r1_check__=check, __r1_failed__=failed)
        if b"unittest" in source:
            _watch_unittest(fault)
        exec(compile(ast.fix_missing_locations(asserts.visit(tree)), "tests.py", "exec"), module.__dict__)
        found["done"] = True
    except BaseException as error:
        if (
            isinstance(error, SystemExit) and not error.code
        ):  # their own, as unittest's: none comes from the other side
            found["done"] = True
        else:
            found["error"] = told(error)
    if _lost:
        found["error"] = _lost[0]
    found["call"] = found["call"] or _last()
    found.update(sites=asserts.count, held=sum(held.values()))
    with open(OUTPUT, "wb", closefd=False) as out:
        out.write(json.dumps(found).encode())


def _watch_unittest(fault: Callable[[BaseException], None]) -> None:
    """What unittest notes, and then goes on, is a fault all the same."""
    result = importlib.import_module("unittest").TestResult

    def noting(noted: Callable) -> Callable:
        def note(self, *given):
            if given[-1] is not None:
                fault(given[-1][1])
            noted(self, *given)

        return note

    for name in ("addError", "addFailure", "addSubTest"):
        setattr(result, name, noting(getattr(result, name)))


def _names(tree: ast.AST, own_names: list[str]) -> dict[str, Any]:
    """What a module reads and nowhere defines: Python's modules, of which it uses but attributes, and the other side's."""
    read: collections.Counter[str] = collections.Counter()
    defined = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            read[node.id] += 1
        elif isinstance(node, ast.Name):
            defined.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            read[node.value.id] -= 1  # what is left was used in another way
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            defined.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    names = {name: RemoteName(name) for name in [*(set(read) - defined), *own_names]}
    standard = {name for name in names if name in sys.stdlib_module_names and not read[name]}
    return {**names, **{name: importlib.import_module(name) for name in standard - set(own_names)}}
