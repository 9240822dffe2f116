"""A function as a torch op, which it is for whoever traces, and a plain call for everybody else.

torch.library's first call imports torch's compiler: more than a second and 150 MB that eager code has no use for. So
outside of tracing the function is called as it is, through an autograd function where a gradient is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode


def torch_op(name: str) -> Callable[[Callable[..., Any]], TorchOp]:
    """Decorates a function of tensors and constants, annotated in full, that changes none of its arguments.

    Args:
        name: The op is `torch.ops.r1.<name>`.
    """
    return lambda function: TorchOp(name, function)


class TorchOp:
    """A function and the op that it is registered as."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._plain: Callable[..., Any] = function
        self._definition = torch.library.custom_op(f"r1::{name}", function, mutates_args=())
        self._op = getattr(torch.ops.r1, name).default
        self.register_fake = self._definition.register_fake
        """Decorates a function that gives the results' shapes and dtypes."""

    def __call__(self, *arguments: Any) -> Any:
        """The function's results."""
        return self._op(*arguments) if _is_traced(arguments) else self._plain(*arguments)

    def register_autograd(self, backward: Callable[..., Any], *, setup_context: Callable[..., Any]) -> None:
        """The gradient, as `torch.library.register_autograd` and `torch.autograd.Function` both have it.

        Only the first of several results has one.
        """
        self._definition.register_autograd(backward, setup_context=setup_context)
        forward = self._plain

        class Eager(torch.autograd.Function):
            # Context and forward in one: with a setup_context of its own, torch binds the arguments anew by the
            # function's signature at every call, which takes longer than a small op.
            @staticmethod
            def forward(ctx: Any, *arguments: Any) -> Any:
                ctx.set_materialize_grads(False)  # results kept for the backward pass get no gradient
                output = forward(*arguments)
                setup_context(ctx, arguments, output)
                return output

            @staticmethod
            def backward(ctx: Any, *grads: Any) -> Any:
                if grads[0] is None:
                    return (None,) * len(ctx.needs_input_grad)
                return backward(ctx, *grads)

        def plain(*arguments: Any) -> Any:
            wanted = torch.is_grad_enabled() and any(
                isinstance(a, Tensor) and a.requires_grad for a in arguments
            )
            return Eager.apply(*arguments) if wanted else forward(*arguments)

        self._plain = plain


def _is_traced(arguments: tuple[Any, ...]) -> bool:
    """Whether somebody looks on who wants to see an op: torch.compile, a fake or proxy mode, a tensor subclass."""
    if torch.compiler.is_compiling() or is_in_torch_dispatch_mode():
        return True
    return any(isinstance(a, Tensor) and type(a) not in (Tensor, nn.Parameter) for a in arguments)
