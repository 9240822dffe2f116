"""SwiGLU for GPUs: one program a row. Speed unmeasured."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


def unfit(gate_up: Tensor) -> str | None:
    """Why this cannot run on such tensors; None if it can."""
    if gate_up.dtype == torch.float64:
        return "it computes in float32, and gate_up is float64"
    return None


@triton.jit
def forward_kernel(gate_up, weight, out, width, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr):
    """One row, BLOCK columns at a time."""
    row = tl.program_id(0).to(tl.int64)
    factor = tl.load(weight + row).to(tl.float32) if WEIGHTED else 1.0
    for start in range(0, width, BLOCK):
        i = start + tl.arange(0, BLOCK)
        place = gate_up + 2 * row * width + i
        gate = tl.load(place, i < width, 0.0).to(tl.float32)
        up = tl.load(place + width, i < width, 0.0).to(tl.float32)
        result = gate * tl.sigmoid(gate) * up * factor
        tl.store(out + row * width + i, result.to(out.dtype.element_ty), i < width)


@triton.jit
def backward_kernel(
    grad, gate_up, weight, grad_gate_up, grad_weight, width, WEIGHTED: tl.constexpr, BLOCK: tl.constexpr
):
    """One row, BLOCK columns at a time."""
    row = tl.program_id(0).to(tl.int64)
    factor = tl.load(weight + row).to(tl.float32) if WEIGHTED else 1.0
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        i = start + tl.arange(0, BLOCK)
        place = 2 * row * width + i
        gate = tl.load(gate_up + place, i < width, 0.0).to(tl.float32)
        up = tl.load(gate_up + place + width, i < width, 0.0).to(tl.float32)
        given = tl.load(grad + row * width + i, i < width, 0.0).to(tl.float32)
        sigmoid = tl.sigmoid(gate)
        silu = gate * sigmoid
        grad_gate = given * factor * up * sigmoid * (1 + gate * (1 - sigmoid))
        tl.store(grad_gate_up + place, grad_gate.to(grad_gate_up.dtype.element_ty), i < width)
        tl.store(
            grad_gate_up + place + width, (given * factor * silu).to(grad_gate_up.dtype.element_ty), i < width
        )
        total += given * silu * up
    tl.store(grad_weight + row, tl.sum(total).to(grad_weight.dtype.element_ty))


def forward(gate_up: Tensor, weight: Tensor | None) -> Tensor:
    """See `kernels.swiglu`."""
    gate_up, weight = gate_up.contiguous(), None if weight is None else weight.contiguous()
    width = gate_up.shape[-1] // 2
    out = gate_up.new_empty((*gate_up.shape[:-1], width))
    if out.numel():
        block = min(BLOCK, triton.next_power_of_2(width))
        forward_kernel[(out.numel() // width,)](
            gate_up, weight, out, width, WEIGHTED=weight is not None, BLOCK=block
        )
    return out


def backward(grad: Tensor, gate_up: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """See `kernels.swiglu`."""
    grad, gate_up = grad.contiguous(), gate_up.contiguous()
    weight = None if weight is None else weight.contiguous()
    grad_gate_up, grad_weight = torch.empty_like(gate_up), gate_up.new_zeros(gate_up.shape[:-1])
    if grad.numel():
        width = grad.shape[-1]
        backward_kernel[(grad_weight.numel(),)](
            grad, gate_up, weight, grad_gate_up, grad_weight, width,
            WEIGHTED=weight is not None, BLOCK=min(BLOCK, triton.next_power_of_2(width)),
        )  # fmt: skip
    return grad_gate_up, grad_weight


COMPILED = {
    "forward_kernel": (
        "*bf16 gate_up, *bf16 weight, *bf16 out, i32 width", {"WEIGHTED": True, "BLOCK": 128},
    ),
    "backward_kernel": (
        "*bf16 grad, *bf16 gate_up, *bf16 weight, *bf16 grad_gate_up, *bf16 grad_weight, i32 width",
        {"WEIGHTED": True, "BLOCK": 128},
    ),
}  # fmt: skip
"""Each kernel's arguments and constants, with which a test compiles it for GPUs that are not there."""
