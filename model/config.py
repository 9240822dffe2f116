"""The V3 policy's configuration: the released config.json, key for key.

Source: DeepSeek-V3 (arXiv 2412.19437) § 2.1, § 4.2 and the config.json released with it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from r1env.errors import CheckpointError, ConfigError, nearest

# Keys of which this implementation has exactly one reading; another value would load and compute nonsense.
_ONLY = {
    "model_type": "deepseek_v3",
    "hidden_act": "silu",
    "rope_interleave": True,
    "attention_dropout": 0.0,
}
# Values that the released keys may take.
_CHOICES = {
    "scoring_func": ("sigmoid", "softmax"),
    "topk_method": ("noaux_tc", "group_limited_greedy", "greedy"),
}
# Keys of the released file that describe other code's arrangements: written as released, never read.
_FOREIGN = {"ep_size": 1, "pretraining_tp": 1, "use_cache": True}
_YARN_DEFAULTS = {"beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.0}


@dataclasses.dataclass(kw_only=True)
class V3Config:
    """Shape and constants of a DeepSeek-V3 policy; field names are the keys of the released config.json.

    Raises:
        ConfigError: a value that does not fit, naming its key.
    """

    vocab_size: int
    """Rows of the embedding; token ids lie below it."""
    hidden_size: int
    """Width D of the residual stream."""
    intermediate_size: int
    """Width of the dense layers' feed-forward network."""
    moe_intermediate_size: int
    """Width I of one expert."""
    num_hidden_layers: int
    """Number of decoder layers."""
    num_attention_heads: int
    """Number H of attention heads."""
    kv_lora_rank: int
    """Width C of the latent from which all heads' keys and values are made, and which the cache holds."""
    q_lora_rank: int | None
    """Width of the query's latent; None makes queries straight from the residual stream."""
    qk_nope_head_dim: int
    """Width of a head's query and key without rotary position."""
    qk_rope_head_dim: int
    """Width of the rotary part; its key is shared by all heads."""
    v_head_dim: int
    """Width of a head's value."""
    n_routed_experts: int
    """Number E of routed experts."""
    n_shared_experts: int
    """Experts that see every token, stored as one network of that many times the width."""
    num_experts_per_tok: int
    """Routed experts K that a token chooses."""
    first_k_dense_replace: int
    """The first layers that are dense instead of a mixture."""
    moe_layer_freq: int = 1
    """Among the others, those whose index it divides are mixtures."""
    scoring_func: str = "sigmoid"
    """How router logits become scores: `sigmoid` (V3) or `softmax` (DeepSeekMoE, V2)."""
    topk_method: str = "noaux_tc"
    """How experts are chosen. `noaux_tc` (V3): by score plus correction bias, a group judged by its best two;
    `group_limited_greedy` (V2): by score, a group judged by its best; `greedy`: by score, groups ignored."""
    n_group: int = 1
    """Groups into which the experts are divided for routing."""
    topk_group: int = 1
    """Groups among which a token chooses its experts."""
    norm_topk_prob: bool = True
    """Whether the chosen experts' weights are made to sum to one."""
    routed_scaling_factor: float = 1.0
    """Factor on the routed experts' weights."""
    aux_loss_alpha: float = 0.0
    """Weight of the sequence-wise balance loss where a trainer asks for it (`model.balance`)."""
    seq_aux: bool = True
    """That the balance loss is taken sequence by sequence; the only reading this package has."""
    num_nextn_predict_layers: int = 0
    """Multi-token-prediction modules after the last layer, at `model.layers.{num_hidden_layers}` and on."""
    rms_norm_eps: float = 1e-6
    """Added to the mean square inside the layers' RMSNorm (the latents' norms keep 1e-6, as released)."""
    rope_theta: float = 10000.0
    """Base of the rotary frequencies."""
    rope_scaling: dict[str, Any] | None = None
    """YaRN's constants (type, factor, original_max_position_embeddings, …), None without."""
    max_position_embeddings: int = 4096
    """Longest sequence, in tokens, that the policy is meant for."""
    attention_bias: bool = False
    """Whether the attention's down- and output projections have a bias."""
    tie_word_embeddings: bool = False
    """Whether the output head is the embedding's own weight."""
    initializer_range: float = 0.02
    """Standard deviation of fresh weights."""
    bos_token_id: int | None = 0
    """Begin-of-sequence token."""
    eos_token_id: int | list[int] | None = 1
    """End-of-sequence token, or several."""
    pad_token_id: int | None = None
    """Padding token."""

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name == "q_lora_rank":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} = {value!r} must be an integer of at least {least}")
            self._require(value < 2**31, name, "is beyond any policy")
        for name in (
            "rms_norm_eps",
            "rope_theta",
            "routed_scaling_factor",
            "initializer_range",
            "aux_loss_alpha",
        ):
            number, smallest = getattr(self, name), 0.0 if name == "aux_loss_alpha" else 1e-30
            self._require(_is_number(number) and number >= smallest, name, "must be a finite number above 0")
        for name in ("norm_topk_prob", "attention_bias", "tie_word_embeddings", "seq_aux"):
            self._require(isinstance(getattr(self, name), bool), name, "must be true or false")
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            ids = getattr(self, name)
            ids = ids if name == "eos_token_id" and isinstance(ids, list) else [ids]
            known = all(i is None or (isinstance(i, int) and not isinstance(i, bool)) for i in ids)
            self._require(known, name, "must be a token's number")
        self._require(self.qk_rope_head_dim % 2 == 0, "qk_rope_head_dim", "must be even: it turns pairs")
        self._require(
            self.num_experts_per_tok <= self.n_routed_experts,
            "num_experts_per_tok",
            f"exceeds n_routed_experts = {self.n_routed_experts}",
        )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} = {getattr(self, name)!r} is not supported{nearest(str(getattr(self, name)), choices)}"
                )
        self._require(self.topk_group <= self.n_group, "topk_group", f"exceeds n_group = {self.n_group}")
        self._require(
            self.n_routed_experts % self.n_group == 0,
            "n_group",
            f"does not divide n_routed_experts = {self.n_routed_experts}",
        )
        if self.limits_groups:
            size = self.n_routed_experts // self.n_group
            best = "leaves groups of one expert; noaux_tc judges a group by its best two"
            self._require(size >= 2 or self.topk_method != "noaux_tc", "n_group", best)
            self._require(
                self.num_experts_per_tok <= size * self.topk_group,
                "num_experts_per_tok",
                f"exceeds the {size * self.topk_group} experts of topk_group = {self.topk_group} groups",
            )
        self.rope_scaling = _yarn(self.rope_scaling)

    def _require(self, ok: bool, key: str, why: str) -> None:
        if not ok:
            raise ConfigError(f"{key} = {getattr(self, key)!r} {why}")

    @property
    def qk_head_dim(self) -> int:
        """Width of a head's query and key: the part without position and the rotary part."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def limits_groups(self) -> bool:
        """Whether a token's experts come from some of the groups only."""
        return self.topk_method != "greedy" and self.topk_group < self.n_group

    def is_sparse(self, layer: int) -> bool:
        """Whether a layer is a mixture of experts; the multi-token-prediction modules, which come last, are."""
        if layer >= self.num_hidden_layers:
            return True
        return layer >= self.first_k_dense_replace and layer % self.moe_layer_freq == 0

    @property
    def softmax_scale(self) -> float:
        """Factor on attention scores; with YaRN's mscale_all_dim raised by its square (2309.00071 § 3.4)."""
        scale = self.qk_head_dim**-0.5
        if self.rope_scaling and self.rope_scaling["mscale_all_dim"]:
            scale *= yarn_mscale(self.rope_scaling["factor"], self.rope_scaling["mscale_all_dim"]) ** 2
        return scale

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Every token that ends a sequence."""
        if self.eos_token_id is None:
            return ()
        return tuple(self.eos_token_id) if isinstance(self.eos_token_id, list) else (self.eos_token_id,)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> V3Config:
        """Reads the content of a config.json, DeepSeek's or transformers' (4 or 5).

        Keys that do not bear on this policy's computation (`use_cache`, `ep_size`, …) are passed over;
        `quantization_config` says how weights lie on disk, which is the loader's to know (`model.fp8`).

        Raises:
            ConfigError: a key is missing, or has a value that this policy cannot honour.
        """
        raw = dict(raw)
        for key, value in _ONLY.items():
            if raw.get(key, value) != value:
                raise ConfigError(f"{key} = {raw[key]!r} is not supported: only {value!r} is")
        heads = raw.get("num_attention_heads")
        if raw.get("num_key_value_heads", heads) not in (heads, None):
            raise ConfigError(
                f"num_key_value_heads = {raw['num_key_value_heads']!r} must be num_attention_heads = {heads!r}"
            )
        # transformers 5 writes one dictionary `rope_parameters` where the released file has two keys.
        rope = raw.get("rope_parameters")
        if rope is not None and not isinstance(rope, dict):
            raise ConfigError(f"rope_parameters = {rope!r} must be an object")
        if rope:
            raw.setdefault("rope_theta", rope.get("rope_theta", cls.rope_theta))
            raw.setdefault("rope_scaling", {k: v for k, v in rope.items() if k != "rope_theta"})
        fields = {f.name: f for f in dataclasses.fields(cls)}
        missing = [name for name, f in fields.items() if f.default is dataclasses.MISSING and name not in raw]
        if missing:
            raise ConfigError(f"the configuration lacks {missing[0]!r}" + nearest(missing[0], list(raw)))
        return cls(**{name: raw[name] for name in fields if name in raw})

    @classmethod
    def from_dir(cls, directory: str | Path) -> V3Config:
        """Reads `config.json` of a checkpoint directory.

        Raises:
            CheckpointError: there is no readable config.json.
            ConfigError: it does not describe a policy that this package can compute.
        """
        raw = read_config(directory)
        try:
            return cls.from_dict(raw)
        except ConfigError as error:
            raise ConfigError(f"{Path(directory) / 'config.json'}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The config.json that DeepSeek's code, transformers, vLLM and SGLang read."""
        own = dataclasses.asdict(self)
        return {
            "architectures": ["DeepseekV3ForCausalLM"],
            **_ONLY,
            **_FOREIGN,
            **own,
            "num_key_value_heads": self.num_attention_heads,
        }


_LEAST = {
    "vocab_size": 1, "hidden_size": 1, "intermediate_size": 1, "moe_intermediate_size": 1,
    "num_hidden_layers": 1, "num_attention_heads": 1, "kv_lora_rank": 1, "q_lora_rank": 1,
    "qk_nope_head_dim": 1, "qk_rope_head_dim": 2, "v_head_dim": 1, "n_routed_experts": 1,
    "n_shared_experts": 1, "num_experts_per_tok": 1, "first_k_dense_replace": 0, "n_group": 1,
    "topk_group": 1, "max_position_embeddings": 1, "moe_layer_freq": 1, "num_nextn_predict_layers": 0,
}  # fmt: skip


def read_config(directory: str | Path) -> dict[str, Any]:
    """The content of a directory's config.json.

    Raises:
        CheckpointError: the file is missing or is no JSON object.
    """
    path = Path(directory) / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist: not a checkpoint directory") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise CheckpointError(f"{path} holds {type(raw).__name__}, not an object")
    return raw


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def yarn_mscale(factor: float, mscale: float) -> float:
    """YaRN's attention temperature for a context stretched `factor` times (2309.00071 eq. 22)."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _yarn(raw: dict[str, Any] | None) -> dict[str, Any] | None:
    """Brings `rope_scaling` to the released form; None where it asks for plain rotary positions."""
    if not raw:
        return None
    if not isinstance(raw, dict):
        raise ConfigError(f"rope_scaling = {raw!r} must be an object")
    kind = raw.get("type", raw.get("rope_type", "default"))
    if kind == "default":
        return None
    if kind != "yarn":
        raise ConfigError(f"rope_scaling.type = {kind!r} is not supported: only 'yarn' is")
    known = ("factor", "original_max_position_embeddings", *_YARN_DEFAULTS)
    extra = sorted(set(raw) - {*known, "type", "rope_type", "rope_theta"})
    if extra:
        raise ConfigError(f"rope_scaling.{extra[0]} is not supported{nearest(extra[0], known)}")
    scaling: dict[str, Any] = {"type": "yarn"}
    for key in known:
        value = raw.get(key, _YARN_DEFAULTS.get(key))
        if not _is_number(value) or value < 0 or (value == 0 and not key.startswith("mscale")):
            least = "at least 0" if key.startswith("mscale") else "above 0"
            raise ConfigError(f"rope_scaling.{key} = {value!r} must be a finite number {least}")
        scaling[key] = value
    return scaling
