"""The policies: a DeepSeek-V3 model in plain PyTorch, Hugging Face models beside it, and their engines.

`model.load(DIR)` gives a policy, `model.save(policy, DIR)` writes one. Importing this package loads no
torch: the names below resolve on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.checkpoint import load, save
    from model.config import V3Config
    from model.hf import HFPolicy
    from model.logprobs import token_logprobs
    from model.packed import Packed
    from model.v3 import V3Policy

_HOME = {
    "HFPolicy": "model.hf",
    "Packed": "model.packed",
    "V3Config": "model.config",
    "V3Policy": "model.v3",
    "load": "model.checkpoint",
    "save": "model.checkpoint",
    "token_logprobs": "model.logprobs",
}

__all__ = ["HFPolicy", "Packed", "V3Config", "V3Policy", "load", "save", "token_logprobs"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'model' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
