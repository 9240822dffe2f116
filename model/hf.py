"""Any Hugging Face causal language model (Qwen, Llama, …) as a policy, with LoRA where asked.

The model runs as transformers wrote it, except that its attention is ours: transformers lets a caller
register an attention function and hands it every layer's queries, keys and values. So these models train on
the same padding-free, prompt-sharing layout as the V3 policy, and decode over the same cache.
Legend: N packed tokens, H heads, G heads of keys and values, D model, V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from model.packed import Packed, attention
from model.policy import Decoder, PolicyOutput, copy_state
from r1env.errors import CheckpointError, ConfigError, MissingDependency

_NAME = "r1_packed"


class AttentionPlan(Protocol):
    """Who sees whom in one pass: what our attention function is given instead of a mask."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Queries [N, H, K], keys [N, G, K] and values [N, G, U] of one layer, to [N, H, U]."""


class PackedPlan:
    """Every token sees its own sequence, as `packed` lays it out."""

    def __init__(self, packed: Packed) -> None:
        self.packed = packed

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Attention of one layer, [N, H, K] to [N, H, U]."""
        return attention(self.packed, q, torch.cat([k, v], dim=-1), scale)


class HFPolicy(nn.Module):
    """A transformers model behind the `Policy` protocol.

    Args:
        model: A causal language model; it is used, not copied.

    Raises:
        ConfigError: the model's attention or output head is of a kind that this cannot carry.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self._peft: Any = None
        model.set_attn_implementation(_NAME)
        self._check_head()

    @classmethod
    def load(cls, source: str | Path, *, dtype: torch.dtype | None, device: torch.device) -> HFPolicy:
        """Loads a directory or a hub name; `dtype` None keeps the one stored.

        Raises:
            CheckpointError: it cannot be loaded, or lacks weights of the model.
        """
        model: Any
        report: Any
        try:
            model, report = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]
                source, dtype=dtype or "auto", output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{source} cannot be loaded: {str(error).strip().splitlines()[0]}") from error
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if names := sorted(map(str, report[problem])):
                problem = problem.replace("_", " ")
                raise CheckpointError(f"{source}: {problem}: {names[0]} ({len(names)} in all)")
        return cls(model.to(device).eval())

    def add_lora(self, *, rank: int = 16, alpha: float = 32.0, seed: int = 0) -> None:
        """Freezes the model and trains low-rank adapters on all its linear layers (arXiv 2106.09685).

        Args:
            rank: Width of the adapters.
            alpha: The adapters' product is scaled by alpha / rank.
            seed: Of the adapters' first values.

        Raises:
            MissingDependency: peft is not installed.
        """
        try:
            import peft
        except ImportError:
            raise MissingDependency("LoRA needs peft: pip install 'r1-gym[peft]'") from None
        config = peft.LoraConfig(
            r=rank,
            lora_alpha=alpha,  # type: ignore[arg-type]  # any number will do
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._peft = peft.get_peft_model(self.model, config)

    @contextlib.contextmanager
    def without_lora(self) -> Iterator[None]:
        """Within the block the policy is the frozen base model: a reference for the KL term at no cost."""
        if self._peft is None:
            raise ConfigError("this policy has no LoRA adapters to leave out; call add_lora first")
        with self._peft.disable_adapter():
            yield

    @property
    def lm_head_weight(self) -> Tensor:
        """The output head [V, D]."""
        return self.model.get_output_embeddings().weight

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The tokens that end a completion: the generation config's, else the model config's."""
        for config in (self.model.generation_config, self.model.config):
            ids = getattr(config, "eos_token_id", None)
            if ids is not None:
                return tuple(ids) if isinstance(ids, list) else (ids,)
        return ()

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.lm_head_weight.device

    @property
    def has_experts(self) -> bool:
        """Never: a Hugging Face model keeps its routing to itself."""
        return False

    @property
    def can_draft(self) -> bool:
        """Never."""
        return False

    def hidden(self, packed: Packed) -> Tensor:
        """Hidden states after the final norm [N, D]."""
        return self.run(packed.token_ids, packed.positions, PackedPlan(packed))

    def run(self, token_ids: Tensor, positions: Tensor, plan: AttentionPlan) -> Tensor:
        """The model's trunk over one flat row of tokens, int64 [N], to hidden states [N, D]."""
        out = self.model.base_model(
            input_ids=token_ids[None],
            position_ids=positions[None],
            # A mask of four dimensions is passed through unread: the plan knows who sees whom.
            attention_mask=torch.empty(1, 1, 1, 1, device=token_ids.device),
            use_cache=False,
            plan=plan,
        )
        return out.last_hidden_state[0]

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> PolicyOutput:
        """Logits of whole rows.

        Args:
            input_ids: Token ids, int64 [B, T].
            attention_mask: Nonzero where a token counts, [B, T]; padding may lie on either side.

        Returns:
            Logits [B, T, V]; zero at padding.
        """
        packed, valid = Packed.from_rows(input_ids, attention_mask)
        flat = self.model.get_output_embeddings()(self.hidden(packed))
        logits = flat.new_zeros(*input_ids.shape, flat.shape[-1])
        logits[valid] = flat
        return PolicyOutput(logits)

    def new_decoder(self, max_cache_tokens: int | None = None) -> Decoder:
        """A decoder over a cache of keys and values, which holds at most so many rows × columns."""
        from model.engine.hf import HFDecoder

        return HFDecoder(self, max_cache_tokens)

    def trainable_state(self) -> dict[str, Tensor]:
        """The weights that training changes, detached but not copied: with LoRA the adapters only."""
        return {n: p.detach() for n, p in self.model.named_parameters() if p.requires_grad}

    def load_trainable_state(self, state: Mapping[str, Tensor]) -> None:
        """Copies a `trainable_state` into the live weights.

        Raises:
            CheckpointError: a tensor is missing, unknown or of another shape; nothing is changed then.
        """
        copy_state(self.trainable_state(), state)

    def save(self, directory: Path) -> None:
        """Writes a directory that transformers loads; LoRA adapters merged into a copy of the weights."""
        state = None
        if self._peft is not None:
            state = {
                name.replace(".base_layer.", "."): tensor
                for name, tensor in self.model.state_dict().items()
                if ".lora_" not in name
            }
            for name, module in self.model.named_modules():
                if hasattr(module, "get_delta_weight") and hasattr(module, "base_layer"):
                    base = module.base_layer.weight
                    state[f"{name}.weight"] = base.detach() + module.get_delta_weight("default").to(base.dtype)
        self.model.save_pretrained(directory, state_dict=state)

    @torch.no_grad()
    def _check_head(self) -> None:
        """Trainers multiply hidden states by the head themselves: refuses models that do more than that."""
        head = self.model.get_output_embeddings()
        ids = torch.arange(2, device=self.device)
        own = self.model(input_ids=ids[None], use_cache=False).logits[0]
        ours = self.run(ids, ids, PackedPlan(Packed.from_groups([([0, 1], ())], self.device))) @ head.weight.T
        if not torch.allclose(own.float(), ours.float(), rtol=1e-2, atol=1e-2 * float(own.abs().max())):
            raise ConfigError(
                f"{type(self.model).__name__}: its logits are not its final hidden states times its output "
                "head (scaled, capped or biased logits), or its attention is not plain: not supported"
            )


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """The attention function registered with transformers: [1, H, N, K] and so on, to [1, N, H, U].

    Without a plan (a call that is not ours, such as `generate`) it is transformers' own SDPA.
    """
    plan = kwargs.pop("plan", None)
    if plan is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    for feature in ("sliding_window", "softcap", "s_aux"):
        if kwargs.get(feature) is not None:
            raise ConfigError(f"{type(module).__name__} uses {feature}: not supported")
    scale = kwargs.get("scaling")
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    return plan(module.layer_idx, q, k, v, q.shape[-1] ** -0.5 if scale is None else scale)[None], None


AttentionInterface.register(_NAME, _attend)
AttentionMaskInterface.register(_NAME, sdpa_mask)
