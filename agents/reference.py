"""The policy that a KL term holds the trained one to: the first one, or one that follows from time to time."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import torch

InUse: TypeAlias = Callable[[], AbstractContextManager[Any]]
"""Within what it returns, there is a reference policy."""


class Reference:
    """The policy as it is now: a copy of it, or LoRA's frozen base at no cost.

    Called, it gives a context in which the reference policy can be asked, without gradients.

    Args:
        policy: The policy that is going to be trained.
        lora: Whether only adapters will be trained, which the reference then leaves out.
    """

    def __init__(self, policy: Any, *, lora: bool) -> None:
        self._policy = policy if lora else copy.deepcopy(policy)
        self._lora = lora

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Any]:
        """Within: the reference policy."""
        without = self._policy.without_lora() if self._lora else contextlib.nullcontext()
        with torch.no_grad(), without:
            yield self._policy

    def refresh(self, policy: Any, mix: float) -> None:
        """Moves the copy towards the policy: (1 - mix) · reference + mix · policy; with mix = 1 it becomes the policy.

        R1 replaces it every 400 steps (arXiv 2501.12948 v2). The average has the weights' own dtype: in bfloat16 a mix
        below 1/256 is rounded away.
        """
        own, new = self.state_dict(), policy.trainable_state()
        if mix < 1:
            new = {n: own[n].lerp(t, mix) if t.is_floating_point() else t for n, t in new.items()}
        self.load_state_dict(new)

    def state_dict(self) -> dict[str, Any]:
        """The copy's weights: what must be stored where the reference is refreshed."""
        return self._policy.trainable_state()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts them back."""
        self._policy.load_trainable_state(state)
