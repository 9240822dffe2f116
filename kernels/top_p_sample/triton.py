"""Drawing tokens for GPUs without a sort: a program takes a row and finds each boundary bit by bit.

A token's key is its place in the order (falling logit, rising id) as one integer. The k-th token, the nucleus's last and
the drawn one are each the largest key with no more than so much mass before it, which is settled from the highest bit
down by one pass over the row a bit.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


def unfit(logits: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if logits.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"logits are {logits.dtype}; they must have at most 32 bits"
    return None


@triton.jit
def mass_before(
    logits, size, highest, rate, by_logit, bound, last, least,
    ID_BITS: tl.constexpr, BLOCK: tl.constexpr, COUNT: tl.constexpr,
):  # fmt: skip
    """Weight (or number) of the tokens with key < bound, key <= last, and a weight of at least `least` or the highest."""
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, size, BLOCK):
        i = start + tl.arange(0, BLOCK)
        x = tl.load(logits + i, i < size, float("-inf")).to(tl.float32)
        bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)  # -0 equals 0
        rising = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.int64)
        key = tl.where(by_logit, (0x7FFFFFFF - rising) << ID_BITS, 0) + i
        weight = tl.exp(tl.maximum((x - highest) * rate, -104.0))  # exp of it is 0
        stays = (i < size) & (key < bound) & (key <= last) & ((weight >= least) | (weight >= 1))
        total += tl.where(stays, 1.0 if COUNT else weight, 0.0)
    return tl.sum(total)


@triton.jit
def find_key(
    logits, size, highest, rate, by_logit, last, least, limit,
    ID_BITS: tl.constexpr, BLOCK: tl.constexpr, COUNT: tl.constexpr, STRICT: tl.constexpr,
):  # fmt: skip
    """The largest key with a mass before it that is less than `limit` (or equal, unless STRICT)."""
    found = tl.full([], 0, tl.int64)
    bit = tl.full([], 1, tl.int64) << (31 + ID_BITS)
    for _ in range(32 + ID_BITS):
        mass = mass_before(
            logits, size, highest, rate, by_logit, found | bit, last, least, ID_BITS, BLOCK, COUNT
        )
        below = mass < limit if STRICT else mass <= limit
        found = tl.where(below, found | bit, found)
        bit = bit >> 1
    return found


@triton.jit
def sample_kernel(
    logits, uniform, temperature, top_k, top_p, min_p, token, logprob, plain, size,
    ID_BITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row; temperature 0 is a top-k of 1."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * size
    most = tl.full([BLOCK], float("-inf"), tl.float32)
    for start in range(0, size, BLOCK):
        i = start + tl.arange(0, BLOCK)
        most = tl.maximum(most, tl.load(logits + i, i < size, float("-inf")).to(tl.float32))
    highest = tl.max(most)
    heat = tl.load(temperature + row)
    rate = 1.0 / tl.where(heat == 0, 1.0, heat)
    k = tl.load(top_k + row)
    k = tl.where(heat == 0, 1, tl.where(k > 0, k, size))
    nucleus = tl.load(top_p + row)
    least = tl.load(min_p + row)
    cut = (k < size) | (nucleus < 1) | (least > 0)
    end = tl.full([], 1, tl.int64) << (32 + ID_BITS)
    last = end
    if k < size:
        last = find_key(logits, size, highest, rate, cut, end, 0.0, k, ID_BITS, BLOCK, True, True)
    if nucleus < 1:
        total = mass_before(logits, size, highest, rate, cut, end, last, 0.0, ID_BITS, BLOCK, False)
        share = tl.maximum(nucleus * total, 1e-30)  # the likeliest stays
        inside = find_key(logits, size, highest, rate, cut, last, 0.0, share, ID_BITS, BLOCK, False, True)
        last = tl.minimum(last, inside)
    kept = mass_before(logits, size, highest, rate, cut, end, last, least, ID_BITS, BLOCK, False)
    target = tl.load(uniform + row) * kept
    key = find_key(logits, size, highest, rate, cut, last, least, target, ID_BITS, BLOCK, False, False)
    drawn = tl.minimum(key, last) & ((1 << ID_BITS) - 1)
    x = tl.load(logits + drawn).to(tl.float32)
    everything = mass_before(logits, size, highest, 1.0, False, end, end, 0.0, ID_BITS, BLOCK, False)
    tl.store(token + row, drawn)
    tl.store(logprob + row, (x - highest) * rate - tl.log(kept))
    tl.store(plain + row, x - highest - tl.log(everything))


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
    token = logits.new_empty(rows, dtype=torch.int64)
    logprob, plain = (logits.new_empty(rows, dtype=torch.float32) for _ in range(2))

    def column(values: Tensor | None, default: float, dtype: torch.dtype) -> Tensor:
        return (
            logits.new_full((rows,), default, dtype=dtype) if values is None else values.to(dtype).contiguous()
        )

    if rows:
        sample_kernel[(rows,)](
            logits.contiguous(), column(uniform, 0, torch.float32), column(temperature, 1, torch.float32),
            column(top_k, 0, torch.int64), column(top_p, 1, torch.float32), column(min_p, 0, torch.float32),
            token, logprob, plain, size, ID_BITS=max(1, (size - 1).bit_length()), BLOCK=BLOCK,
        )  # fmt: skip
    return token, logprob, plain


COMPILED = {
    "sample_kernel": (
        "*bf16 logits, *fp32 uniform, *fp32 temperature, *i64 top_k, *fp32 top_p, *fp32 min_p, *i64 token, "
        "*fp32 logprob, *fp32 plain, i32 size",
        {"ID_BITS": 17, "BLOCK": BLOCK},
    ),
}
"""Each kernel's arguments and constants, with which a test compiles it for GPUs that are not there."""
