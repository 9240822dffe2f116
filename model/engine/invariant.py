"""Sampling that is the same in any company: what it takes, and whether it can be had.

Usually a product of few rows is computed another way than one of many, and adds up in another order. In bfloat16 that
is enough to draw other tokens. Here every product takes the way of few rows, prompts are read one by one, and rows
enter only where they can come to their end, as reading again what a row has written is another product as well. Then a
request's tokens depend on its prompt, its parameters, its seed and the weights, and on nothing else.
(He et al., Thinking Machines Lab, "Defeating Nondeterminism in LLM Inference", 2025, names what breaks this elsewhere.)
"""

from __future__ import annotations

import torch

from kernels import dispatch
from kernels.moe_experts import OP as MOE
from kernels.skinny_linear import OP as LINEAR
from model.fp8 import FP8Experts, FP8Linear
from model.policy import Policy
from model.v3 import V3Policy


def unfit(policy: Policy) -> str | None:
    """Why this policy cannot be sampled from like that; None if it can."""
    if not isinstance(policy, V3Policy):
        return "products of Hugging Face's models are torch's own, whose order of adding up depends on the rows"
    if any(isinstance(module, FP8Linear | FP8Experts) for module in policy.modules()):
        return "products with weights stored in FP8 depend on the rows that share them"
    for op in (LINEAR, MOE):
        chosen = dispatch.preferred(op.name)
        if chosen not in ("auto", "cpu"):
            return (
                f"{dispatch.VARIABLE} chooses {op.name}={chosen}, whose order of adding up depends on the rows"
            )
    weight = policy.lm_head_weight
    with dispatch.batch_invariant():
        return LINEAR.why_not("cpu", torch.empty_like(weight[:1]), weight)
