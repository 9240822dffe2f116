"""Drawing tokens in C++: only those that a cut can leave are sorted."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels import build

_DTYPES = {torch.float32: "f32", torch.bfloat16: "bf16"}


def unfit(logits: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if logits.dtype not in _DTYPES:
        return f"logits are {logits.dtype}; they must be float32 or bfloat16"
    _function(logits.dtype)
    return None


def sample(
    logits: Tensor,
    uniform: Tensor,
    temperature: Tensor | None,
    top_k: Tensor | None,
    top_p: Tensor | None,
    min_p: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """See `kernels.top_p_sample`."""
    rows, size = logits.shape
    token = torch.empty(rows, dtype=torch.int64)
    logprob, plain = torch.empty(rows), torch.empty(rows)
    given = [
        None if values is None else values.to(dtype).contiguous()
        for values, dtype in (
            (uniform, torch.float32),
            (temperature, torch.float32),
            (top_k, torch.int64),
            (top_p, torch.float32),
            (min_p, torch.float32),
        )
    ]
    logits = logits.contiguous()
    _function(logits.dtype)(
        logits.data_ptr(), *(None if values is None else values.data_ptr() for values in given),
        token.data_ptr(), logprob.data_ptr(), plain.data_ptr(), rows, size, torch.get_num_threads(),
    )  # fmt: skip
    return token, logprob, plain


@functools.cache
def _function(dtype: torch.dtype) -> Any:
    library = build.load(Path(__file__).with_name("cpu.cpp"))
    return build.function(library, f"top_p_sample_{_DTYPES[dtype]}", "pppppppppiii")
