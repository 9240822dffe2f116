"""FP8 weights: e4m3 numbers, and one float32 factor for every block of 128 × 128. For inference.

Source: DeepSeek-V3 (arXiv 2412.19437) § 3.3 and the released `weight_scale_inv` tensors. A stored value times its
block's factor is the weight; blocks at the right and lower edge may be smaller.
Legend: N rows, O outputs, I inputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels import products
from kernels.dispatch import Op
from kernels.torch_op import torch_op

OP = Op("fp8_block")
BLOCK = 128
DTYPE = torch.float8_e4m3fn


def quantise(weight: Tensor, *, impl: str = "auto") -> tuple[Tensor, Tensor]:
    """Rounds weights to e4m3, each block scaled so that its largest magnitude is 448. Not differentiable.

    Args:
        weight: [O, I], any floating dtype, finite.
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        Values float8_e4m3fn [O, I], and factors float32 [⌈O/128⌉, ⌈I/128⌉], 1 for a block of zeros. A block whose
        factor would be less than any float, as its largest magnitude is below 3.2e-43, becomes one of zeros.

    Raises:
        ValueError: the weights are not a matrix.
    """
    if weight.ndim != 2:
        raise ValueError(f"weights of shape {list(weight.shape)}; give a matrix [O, I]")
    codes, scale = _quantise(weight.detach(), impl)
    return codes.view(DTYPE), scale


def dequantise(
    values: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32, *, impl: str = "auto"
) -> Tensor:
    """The weights: values times their block's factor, in float32, then rounded to `dtype`. Not differentiable.

    Args:
        values: float8_e4m3fn [O, I].
        scale: float32 [⌈O/128⌉, ⌈I/128⌉].
        dtype: Of the result.
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        [O, I], the same bits whichever implementation runs.

    Raises:
        ValueError: shapes or dtypes are others.
    """
    _check(values, scale)
    return _dequantise(values.view(torch.uint8), scale, dtype, impl)


def linear(
    x: Tensor, values: Tensor, scale: Tensor, bias: Tensor | None = None, *, impl: str = "auto"
) -> Tensor:
    """x @ weight.T + bias. For few rows the weights never exist in a wider form than a block.

    Args:
        x: [..., I], float32, bfloat16 or float16; differentiable.
        values: float8_e4m3fn [O, I]; a constant, as is `scale`.
        scale: float32 [⌈O/128⌉, ⌈I/128⌉].
        bias: [O], in `x`'s dtype; differentiable.
        impl: `auto`, or an implementation by name (`kernels.dispatch`).

    Returns:
        [..., O], in `x`'s dtype.

    Raises:
        ValueError: shapes or dtypes do not fit.
    """
    _check(values, scale)
    if x.shape[-1] != values.shape[1]:
        raise ValueError(f"x {list(x.shape)} does not fit weights {list(values.shape)}")
    if bias is not None and (bias.shape != values.shape[:1] or bias.dtype != x.dtype):
        raise ValueError(f"the bias is {bias.dtype} {list(bias.shape)}; it must be {x.dtype} [{len(values)}]")
    return _linear(x, values.view(torch.uint8), scale, bias, impl)


def blocks(shape: torch.Size) -> tuple[int, int]:
    """Numbers of blocks of a matrix [O, I]: ⌈O/128⌉ and ⌈I/128⌉."""
    return -(-shape[0] // BLOCK), -(-shape[1] // BLOCK)


def _check(values: Tensor, scale: Tensor) -> None:
    if values.dtype != DTYPE or values.ndim != 2:
        raise ValueError(f"the values are {values.dtype} {list(values.shape)}; they must be {DTYPE} [O, I]")
    if scale.dtype != torch.float32 or scale.shape != blocks(values.shape):
        raise ValueError(
            f"the factors are {scale.dtype} {list(scale.shape)}; values of {list(values.shape)} need float32 "
            f"{list(blocks(values.shape))}"
        )


# The ops themselves take and give the values' bits, uint8 codes: opcheck and much else of torch cannot compute in e4m3.


@torch_op("fp8_quantise")
def _quantise(weight: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    values, scale = OP.choose(impl, weight).quantise(weight)
    return values.view(torch.uint8), scale


@_quantise.register_fake
def _(weight: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    return weight.new_empty(weight.shape, dtype=torch.uint8), weight.new_empty(
        blocks(weight.shape), dtype=torch.float32
    )


@torch_op("fp8_dequantise")
def _dequantise(codes: Tensor, scale: Tensor, dtype: torch.dtype, impl: str) -> Tensor:
    return OP.choose(impl, codes, scale).dequantise(codes.view(DTYPE), scale, dtype)


@_dequantise.register_fake
def _(codes: Tensor, scale: Tensor, dtype: torch.dtype, impl: str) -> Tensor:
    return codes.new_empty(codes.shape, dtype=dtype)


@torch_op("fp8_linear")
def _linear(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, impl: str) -> Tensor:
    return OP.choose(impl, x, codes, scale).linear(x, codes.view(DTYPE), scale, bias)


@_linear.register_fake
def _(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, impl: str) -> Tensor:
    return x.new_empty((*x.shape[:-1], len(codes)))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, codes, scale, _, ctx.impl = inputs
    ctx.save_for_backward(codes, scale)


def _autograd(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    grad_x = grad_bias = None
    if ctx.needs_input_grad[0]:
        grad_x = products.matmul(grad, _dequantise(*ctx.saved_tensors, grad.dtype, ctx.impl))
    if ctx.needs_input_grad[3]:
        grad_bias = grad.reshape(-1, grad.shape[-1]).sum(0)
    return grad_x, None, None, grad_bias, None


_linear.register_autograd(_autograd, setup_context=_setup_context)
