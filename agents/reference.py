"""The policy that a KL term holds the trained one to."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any


def initial_policy(policy: Any, *, lora: bool) -> Callable[[], AbstractContextManager[Any]]:
    """A context that gives the policy as it is now, for the KL term: a copy, or LoRA's frozen base at no cost."""
    if lora:

        @contextlib.contextmanager
        def base() -> Iterator[Any]:
            with policy.without_lora():
                yield policy

        return base
    initial = copy.deepcopy(policy).requires_grad_(False)
    return lambda: contextlib.nullcontext(initial)
