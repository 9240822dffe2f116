"""Drawing tokens for GPUs without a sort: a program takes a row and finds each boundary bit by bit.

A token's key is its place in the order (falling logit, rising id) as one integer. The k-th token and the nucleus's last
are each the largest key with less than so much mass before it, and the drawn token is the largest id with no more than
so much before it among those that stay; each is settled from the highest bit down by one pass over the row a bit.
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
def load_tile(logits, start, size, highest, rate, last, least, ID_BITS: tl.constexpr, BLOCK: tl.constexpr):
    """Ids, keys and weights of a stretch, and which stay: key <= last, and a weight of at least `least` or the highest."""
    i = start + tl.arange(0, BLOCK)
    x = tl.load(logits + i, i < size, float("-inf")).to(tl.float32)
    bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)  # -0 equals 0
    rising = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.int64)
    key = ((0x7FFFFFFF - rising) << ID_BITS) + i
    weight = tl.exp(tl.maximum((x - highest) * rate, -104.0))  # exp of it is 0
    return i, key, weight, (i < size) & (key <= last) & ((weight >= least) | (weight >= 1))


@triton.jit
def mass_before(
    logits, size, highest, rate, bound, last, least,
    ID_BITS: tl.constexpr, BLOCK: tl.constexpr, COUNT: tl.constexpr, BY_ID: tl.constexpr,
):  # fmt: skip
    """Weight (or number) of the tokens that stay and whose key (or id) is below `bound`."""
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, size, BLOCK):
        i, key, weight, stays = load_tile(logits, start, size, highest, rate, last, least, ID_BITS, BLOCK)
        before = i < bound if BY_ID else key < bound
        total += tl.where(stays & before, 1.0 if COUNT else weight, 0.0)
    return tl.sum(total)


@triton.jit
def find(
    logits, size, highest, rate, last, least, limit,
    BITS: tl.constexpr, ID_BITS: tl.constexpr, BLOCK: tl.constexpr, COUNT: tl.constexpr, BY_ID: tl.constexpr,
):  # fmt: skip
    """The largest key with a mass before it that is less than `limit`; the largest id with one of at most `limit`."""
    found = tl.full([], 0, tl.int64)
    bit = tl.full([], 1, tl.int64) << (BITS - 1)
    for _ in range(BITS):
        mass = mass_before(logits, size, highest, rate, found | bit, last, least, ID_BITS, BLOCK, COUNT, BY_ID)
        below = mass <= limit if BY_ID else mass < limit
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
    rate = 1.0 / tl.where(heat == 0, 1.0, tl.maximum(heat, 1.2e-38))  # finite
    k = tl.load(top_k + row)
    k = tl.where(heat == 0, 1, tl.where(k > 0, k, size))
    nucleus = tl.load(top_p + row)
    least = tl.load(min_p + row)
    end = tl.full([], 1, tl.int64) << (32 + ID_BITS)
    last = end
    if k < size:
        last = find(logits, size, highest, rate, end, 0.0, k, 32 + ID_BITS, ID_BITS, BLOCK, True, False)
    if nucleus < 1:
        total = mass_before(logits, size, highest, rate, end, last, 0.0, ID_BITS, BLOCK, False, False)
        share = tl.maximum(nucleus * total, 1e-30)  # the likeliest stays
        inside = find(logits, size, highest, rate, last, 0.0, share, 32 + ID_BITS, ID_BITS, BLOCK, False, False)
        last = tl.minimum(last, inside)
    kept = mass_before(logits, size, highest, rate, size, last, least, ID_BITS, BLOCK, False, True)
    target = tl.load(uniform + row) * kept
    drawn = find(logits, size, highest, rate, last, least, target, ID_BITS, ID_BITS, BLOCK, False, True)
    final = tl.full([BLOCK], 0, tl.int32)
    for start in range(0, size, BLOCK):
        i, _, _, stays = load_tile(logits, start, size, highest, rate, last, least, ID_BITS, BLOCK)
        final = tl.maximum(final, tl.where(stays, i, 0))
    drawn = tl.minimum(drawn, tl.max(final))  # rounding may put the target at the very end
    x = tl.load(logits + drawn).to(tl.float32)
    everything = mass_before(logits, size, highest, 1.0, size, end, 0.0, ID_BITS, BLOCK, False, True)
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
