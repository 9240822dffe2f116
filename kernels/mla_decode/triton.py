"""A decoding step of latent attention for GPUs: a program takes some heads of a row and a span of its columns.

One row's columns are spread over several programs, as a batch of a few rows would not fill the device; what the spans
give is weighed together afterwards (flash decoding).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.dispatch import interpreted

HEADS, KEYS = 16, 32
"""Heads of a program, and columns that it holds at once: half as many of latents wider than `MAX_LATENT` in float32, which
would take 327 KiB of shared memory, and sm_90 has 227; so they take 217."""
SPAN = 256
"""Columns of a program."""
MAX_LATENT, MAX_ROPE = 512, 128


def unfit(query: Tensor, cache: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if query.dtype not in (torch.float32, torch.bfloat16, torch.float16) or cache.dtype != query.dtype:
        return f"the query is {query.dtype} and the cache {cache.dtype}; both must be of one type of at most 32 bits"
    if query.shape[-1] > MAX_LATENT + MAX_ROPE:
        return f"{query.shape[-1]} numbers a token do not fit one program; {MAX_LATENT} + {MAX_ROPE} do"
    return None


@triton.jit
def decode_kernel(
    query, cache, lengths, part, normaliser, heads, length, latent, width, row_stride, column_stride,
    SPAN: tl.constexpr, HEADS: tl.constexpr, KEYS: tl.constexpr, LATENT: tl.constexpr, ROPE: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """part [R, H, spans, C] and normaliser [R, H, spans]: a span's own softmax, and the log of its sum."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    span = tl.program_id(2)
    c, s = tl.arange(0, LATENT), latent + tl.arange(0, ROPE)
    here = (head < heads)[:, None]
    q = query + (row * heads + head[:, None]) * width
    q_latent = tl.load(q + c[None], here & (c < latent)[None], 0.0)
    q_rope = tl.load(q + s[None], here & (s < width)[None], 0.0)
    if WIDEN:  # the interpreter's products of bfloat16 are wrong
        q_latent, q_rope = q_latent.to(tl.float32), q_rope.to(tl.float32)
    begin = span * SPAN
    end = tl.minimum(tl.minimum(tl.load(lengths + row), length), begin + SPAN)
    highest = tl.full([HEADS], -1e38, tl.float32)
    total = tl.zeros([HEADS], tl.float32)
    out = tl.zeros([HEADS, LATENT], tl.float32)
    for start in range(begin, end, KEYS):
        t = start + tl.arange(0, KEYS)
        real = t < end
        k = cache + row * row_stride + t[:, None] * column_stride
        k_latent = tl.load(k + c[None], real[:, None] & (c < latent)[None], 0.0)
        k_rope = tl.load(k + s[None], real[:, None] & (s < width)[None], 0.0)
        if WIDEN:
            k_latent, k_rope = k_latent.to(tl.float32), k_rope.to(tl.float32)
        scores = tl.dot(q_latent, tl.trans(k_latent), input_precision="ieee")
        scores = tl.dot(q_rope, tl.trans(k_rope), scores, input_precision="ieee")
        scores = tl.where(real[None], scores, float("-inf"))
        most = tl.maximum(highest, tl.max(scores, 1))
        scale = tl.exp(highest - most)
        share = tl.exp(scores - most[:, None])
        total = total * scale + tl.sum(share, 1)
        out = tl.dot(share.to(k_latent.dtype), k_latent, out * scale[:, None], input_precision="ieee")
        highest = most
    place = (row * heads + head) * tl.num_programs(2) + span
    some = tl.where(total > 0, total, 1.0)
    tl.store(part + place[:, None] * latent + c[None], out / some[:, None], here & (c < latent)[None])
    tl.store(normaliser + place, tl.where(total > 0, highest + tl.log(some), float("-inf")), head < heads)


def decode(query: Tensor, cache: Tensor, latent: int, lengths: Tensor | None) -> Tensor:
    """See `kernels.mla_decode`."""
    rows, heads, width = query.shape
    length = cache.shape[1]
    if query.numel() == 0 or length == 0:
        return query.new_zeros(rows, heads, latent)
    query = query.contiguous()
    if cache.stride(-1) != 1:
        cache = cache.contiguous()
    if lengths is None:
        lengths = torch.full((rows,), length, device=query.device)
    spans = triton.cdiv(length, SPAN)
    part = query.new_empty((rows, heads, spans, latent), dtype=torch.float32)
    normaliser = query.new_empty((rows, heads, spans), dtype=torch.float32)
    decode_kernel[(rows, triton.cdiv(heads, HEADS), spans)](
        query, cache, lengths.contiguous(), part, normaliser, heads, length, latent, width,
        cache.stride(0), cache.stride(1), SPAN=SPAN, HEADS=HEADS,
        KEYS=KEYS // 2 if latent > MAX_LATENT and query.dtype == torch.float32 else KEYS,
        LATENT=_block(latent), ROPE=_block(width - latent), WIDEN=interpreted(),
    )  # fmt: skip
    unused = normaliser == float("-inf")
    share = normaliser.softmax(-1).masked_fill(unused, 0)
    return (share[..., None] * part).sum(2).to(query.dtype)


def _block(size: int) -> int:
    return max(16, triton.next_power_of_2(size))


COMPILED = {
    "decode_kernel": (
        "*bf16 query, *bf16 cache, *i64 lengths, *fp32 part, *fp32 normaliser, i32 heads, i32 length, i32 latent, "
        "i32 width, i64 row_stride, i64 column_stride",
        {"SPAN": SPAN, "HEADS": HEADS, "KEYS": KEYS, "LATENT": 512, "ROPE": 64, "WIDEN": False},
    ),
}
"""Each kernel's arguments and constants, with which a test compiles it for GPUs that are not there."""
