"""Which implementation of an op runs.

Every op has `ref`, plain PyTorch and the specification, and faster ones where somebody wrote them: `cpu` (C++, or
torch arranged for a processor) and `triton` (GPU). `auto` takes the first of `triton`, `cpu`, `ref` that can run on
the tensors at hand. A choice by name is obeyed or refused with the reason, never quietly replaced: by the argument
`impl`, or for a whole process by `R1_KERNELS=ref`, or op by op, `R1_KERNELS=rms_norm=ref,rope=cpu`. The argument wins.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import importlib
import os
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from kernels.build import KernelUnavailable

ORDER = ("triton", "cpu", "ref")
VARIABLE = "R1_KERNELS"
_invariant = contextvars.ContextVar("batch_invariant", default=False)


@dataclasses.dataclass(frozen=True)
class Op:
    """One op and the folder that holds its implementations.

    An implementation is a module of that folder, named as in `ORDER`. Its `unfit(*tensors)` gives the reason why it
    cannot run on such tensors, or None; `ref` has no such function and runs on all.
    """

    name: str
    """As users write it, and the folder's."""

    def choose(self, impl: str, *tensors: Tensor) -> Any:
        """The module that runs.

        Args:
            impl: `auto`, or a name of `ORDER`.
            tensors: What it will get; `unfit` of every implementation takes these.

        Raises:
            KernelUnavailable: a choice by name cannot run here; the message says why.
            ValueError: there is no such choice.
        """
        if impl == "auto":
            impl = preferred(self.name)
        if impl != "auto":
            module, reason = self._look(impl, tensors)
            if reason is not None:
                raise KernelUnavailable(f"{self.name}: the implementation {impl!r} cannot run: {reason}")
            return module
        for name in ORDER[:-1]:
            module, reason = self._look(name, tensors)
            if reason is None:
                return module
        return _module(self.name, "ref")

    def why_not(self, impl: str, *tensors: Tensor) -> str | None:
        """Why an implementation cannot run on these tensors; None if it can."""
        return self._look(impl, tensors)[1]

    def _look(self, impl: str, tensors: tuple[Tensor, ...]) -> tuple[Any, str | None]:
        if impl not in ORDER:
            raise ValueError(f"{self.name}: no implementation {impl!r}; there are auto, {', '.join(ORDER)}")
        on_gpu = any(t.device.type == "cuda" for t in tensors)
        if impl == "triton" and not on_gpu and not interpreted():
            return None, "it needs CUDA tensors (or TRITON_INTERPRET=1, to try it without a GPU)"
        if impl == "cpu" and on_gpu:
            return None, "the tensors are on a GPU"
        try:
            module = _module(self.name, impl)
        except ImportError as error:
            return None, f"{error}"
        if impl == "ref":
            return module, None
        try:
            return module, module.unfit(*tensors)
        except KernelUnavailable as error:
            return None, str(error)


@contextlib.contextmanager
def batch_invariant(on: bool = True) -> Iterator[None]:
    """Within it `cpu` multiplies many rows the way it multiplies few: a row's result does not depend on the others.

    It is the same to the last bit alone and in any company, where otherwise each number of rows takes the fastest way,
    which adds up in an order of its own. Other implementations promise no such thing.
    """
    token = _invariant.set(on)
    try:
        yield
    finally:
        _invariant.reset(token)


def is_batch_invariant() -> bool:
    """Whether `batch_invariant` is asked for here."""
    return _invariant.get()


@functools.cache
def _module(op: str, impl: str) -> Any:
    return importlib.import_module(f"kernels.{op}.{impl}")


def interpreted() -> bool:
    """Whether Triton's interpreter stands in for a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def preferred(op: str) -> str:
    """What `R1_KERNELS` says of an op: `auto`, or a name of `ORDER`.

    Raises:
        ValueError: it says something else.
    """
    return _parsed(os.environ.get(VARIABLE, "auto"), op)


@functools.cache
def _parsed(setting: str, op: str) -> str:
    found = "auto"
    for part in filter(None, (p.strip() for p in setting.split(","))):
        name, equals, choice = part.partition("=")
        value = choice if equals else name
        if value not in ("auto", *ORDER):
            raise ValueError(f"{VARIABLE}={setting}: {value!r} is none of auto, {', '.join(ORDER)}")
        if not equals or name == op:
            found = value
    return found
