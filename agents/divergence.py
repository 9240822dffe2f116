"""How far a student's next-token distribution is from a teacher's, and what to do about it.

Legend: M tokens, D and E widths of the two models, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 2**22
"""Logits of one model held at once by default: 16 MB in float32."""


def divergence(student_logits: Tensor, teacher_logits: Tensor, beta: float) -> Tensor:
    """Generalised Jensen-Shannon divergence of each token's distribution (arXiv 2306.13649, eq. 1 and § 3).

    With P the teacher's distribution, Q the student's and M = beta P + (1 - beta) Q it is
    beta KL(P ‖ M) + (1 - beta) KL(Q ‖ M). Its ends would vanish; in their place stand what it tends to when divided
    by beta or by 1 - beta: at 0 the forward KL(P ‖ Q), at 1 the reverse KL(Q ‖ P).

    Args:
        student_logits: [M, V]; carries gradient.
        teacher_logits: [M, V].
        beta: From 0 to 1.

    Returns:
        float32 [M] in nats (float64 for such logits).
    """
    dtype = torch.promote_types(student_logits.dtype, torch.float32)
    student = student_logits.to(dtype).log_softmax(-1)
    teacher = teacher_logits.to(dtype).log_softmax(-1)
    if beta == 0:
        return _kl(teacher, student)
    if beta == 1:
        return _kl(student, teacher)
    mixture = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
    return beta * _kl(teacher, mixture) + (1 - beta) * _kl(student, mixture)


def chunked_divergence(
    student: Any,
    student_hidden: Tensor,
    teacher: Any,
    teacher_hidden: Tensor,
    *,
    beta: float,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> Tensor:
    """`divergence` from hidden states, the logits of a few tokens at a time; in the backward pass once more.

    Where one head is padded to more rows than the other, the entries that both have count.

    Args:
        student: Has the output head `lm_head_weight` [V, D].
        student_hidden: Final hidden states of the tokens before, [M, D]; carries gradient.
        teacher: Likewise [V, E].
        teacher_hidden: [M, E].
        beta: See `divergence`.
        temperature: Divides both logits.
        chunk: Tokens whose logits are held at once; None bounds them by `CHUNK_ELEMENTS`.

    Returns:
        float32 [M] in nats.
    """
    common = min(len(student.lm_head_weight), len(teacher.lm_head_weight))
    head, teacher_head = student.lm_head_weight[:common], teacher.lm_head_weight[:common]
    rows = chunk or max(1, CHUNK_ELEMENTS // common)

    def part(own: Tensor, others: Tensor) -> Tensor:
        return divergence(own @ head.T / temperature, others @ teacher_head.T / temperature, beta)

    pieces = zip(student_hidden.split(rows), teacher_hidden.split(rows), strict=True)
    return torch.cat(
        [checkpoint(part, *piece, use_reentrant=False, preserve_rng_state=False) for piece in pieces]
    )


def reverse_kl_from_samples(logprobs: Tensor, teacher_logprobs: Tensor) -> tuple[Tensor, Tensor]:
    """Policy gradient of the reverse KL(student ‖ teacher) from tokens that the student sampled.

    A token's advantage is log teacher - log student: what it adds to the divergence, negated. That a token also leads
    to later ones is left out, as in GKD (arXiv 2306.13649 § 3), where no gradient flows through sampling.

    Args:
        logprobs: float [M], of the sampled tokens under the student; carries gradient.
        teacher_logprobs: float [M], under the teacher.

    Returns:
        A loss [M] whose gradient is, in expectation over samples, that of the divergence at each token; and the
        estimate of the divergence itself [M], which may be negative at a token.
    """
    estimate = logprobs.detach() - teacher_logprobs
    return estimate * logprobs, estimate


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p ‖ q) over the last axis, of log-probabilities."""
    return (p.exp() * (p - q)).sum(-1)
