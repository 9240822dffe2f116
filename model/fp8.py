"""FP8 weights as DeepSeek-V3 stores them: e4m3 numbers, and one float32 factor for every block of 128 × 128.

Source: DeepSeek-V3 (arXiv 2412.19437) § 3.3 and the released `weight_scale_inv` tensors. A stored value times its
block's factor is the weight; blocks at the right and lower edge may be smaller.
Legend: O rows (outputs), I columns (inputs), E experts, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.fp8_block import BLOCK, DTYPE, dequantise, linear, quantise
from r1env.errors import ConfigError

__all__ = [
    "BLOCK",
    "CONFIG",
    "DTYPE",
    "FP8Experts",
    "FP8Linear",
    "check_config",
    "dense_weight",
    "dequantise",
    "keep_fp8",
    "quantise",
    "scale_shape",
]

CONFIG = {
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "quant_method": "fp8",
    "weight_block_size": [BLOCK, BLOCK],
}
"""`quantization_config` of such a checkpoint's config.json."""


def check_config(raw: Mapping[str, Any]) -> None:
    """Accepts the `quantization_config` of this format alone.

    Raises:
        ConfigError: it is another one.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"quantization_config = {raw!r} must be an object")
    for key in ("quant_method", "fmt", "weight_block_size"):
        if raw.get(key, CONFIG[key]) != CONFIG[key]:
            raise ConfigError(
                f"quantization_config.{key} = {raw[key]!r} is not supported: only {CONFIG[key]!r} is; "
                "convert the checkpoint to bfloat16 first"
            )


def scale_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the factors of weights [..., O, I]: [..., ⌈O/128⌉, ⌈I/128⌉]."""
    return (*shape[:-2], -(-shape[-2] // BLOCK), -(-shape[-1] // BLOCK))


class FP8Linear(nn.Module):
    """A linear map whose weights stay in FP8. For inference.

    Args:
        inputs: Width I.
        outputs: Width O.
        dtype: In which the product is computed.
        bias: Whether there is one.
    """

    weight: Tensor
    weight_scale_inv: Tensor

    def __init__(self, inputs: int, outputs: int, dtype: torch.dtype, *, bias: bool) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("weight", torch.empty(outputs, inputs, dtype=DTYPE))
        self.register_buffer("weight_scale_inv", torch.empty(scale_shape((outputs, inputs))))
        self.bias = nn.Parameter(torch.empty(outputs, dtype=dtype), requires_grad=False) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[N, I] to [N, O]."""
        return linear(x, self.weight, self.weight_scale_inv, self.bias)


class FP8Experts(nn.Module):
    """`model.moe.Experts` whose matrices stay in FP8: an expert that is chosen is expanded. For inference.

    Args:
        shapes: Of the stacked `gate_up_proj` [E, 2I, D] and `down_proj` [E, D, I].
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            self.register_buffer(name, torch.empty(shape, dtype=DTYPE))
            # Gate and up are blocked each for itself: their border need not be one of blocks.
            parts = 2 if name == "gate_up_proj" else 1
            rows, columns = scale_shape((shape[1] // parts, shape[2]))
            self.register_buffer(f"{name}_scale_inv", torch.empty(shape[0], parts * rows, columns))

    @torch.no_grad()
    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """The weighted sum of each token's chosen experts, [N, D] to [N, D]."""
        out = torch.zeros_like(x)
        for expert in experts.unique().tolist():
            token, place = (experts == expert).nonzero(as_tuple=True)
            gate, up = (F.linear(x[token], part) for part in self._matrices("gate_up_proj", expert, x.dtype))
            (down,) = self._matrices("down_proj", expert, x.dtype)
            inner = F.silu(gate) * up * weights[token, place, None].to(x.dtype)
            out.index_add_(0, token, F.linear(inner, down))
        return out

    def _matrices(self, name: str, expert: int, dtype: torch.dtype) -> list[Tensor]:
        values, scale = self.get_buffer(name)[expert], self.get_buffer(f"{name}_scale_inv")[expert]
        parts = 2 if name == "gate_up_proj" else 1
        return [dequantise(v, s, dtype) for v, s in zip(values.chunk(parts), scale.chunk(parts))]


def dense_weight(linear: Any) -> Tensor:
    """The weights [O, I] of a linear map, expanded where they are stored in FP8."""
    if isinstance(linear, FP8Linear):
        return dequantise(linear.weight, linear.weight_scale_inv, linear.dtype)
    return linear.weight


def keep_fp8(module: nn.Module, quantised: Callable[[str], bool], dtype: torch.dtype) -> None:
    """Exchanges projections and experts for such as hold FP8, in place and without values.

    Args:
        module: On the meta device.
        quantised: Tells by its name on disk which weight is stored in FP8.
        dtype: In which products are computed.
    """
    for name, child in list(module.named_modules()):
        parent = module.get_submodule(name.rpartition(".")[0])
        leaf = name.rpartition(".")[2]
        if isinstance(child, nn.Linear) and quantised(f"{name}.weight"):
            linear = FP8Linear(child.in_features, child.out_features, dtype, bias=child.bias is not None)
            setattr(parent, leaf, linear)
        elif leaf == "experts":
            shapes = {n: tuple(p.shape) for n, p in child.named_parameters()}
            setattr(parent, leaf, FP8Experts(shapes))  # type: ignore[arg-type]
