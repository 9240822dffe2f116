"""What a V3 configuration amounts to: parameters, bytes, operations, cache, and the hardware that holds it.

    python -m model.inspect DIR              a checkpoint directory; its config.json alone is enough
    python -m model.inspect DIR --json       the same as one JSON line
    python -m model.inspect DIR --figure F   the architecture with these numbers as an SVG file

Everything is counted from the module itself, built without memory, so a figure cannot disagree with the code.
Legend: D model, C latent, R rotary dimensions, H heads.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1env.errors import ConfigError, R1Error

GPUS = {"80 GB": 80e9, "141 GB": 141e9, "192 GB": 192e9}
"""Memory of common accelerators in bytes."""
USABLE = 0.9
"""Share of it for weights and cache; the rest is activations and the runtime."""


def inspect(directory: Path, *, context: int = 4096) -> dict[str, Any]:
    """Counts a configuration.

    Args:
        directory: Holds config.json.
        context: Tokens at which attention's operations and the cache are reckoned.

    Returns:
        Parameters (`parameters_total`, `parameters_active` per token without the input embedding,
        `parameters_active_with_embedding`, `mtp_parameters`: the main model without its multi-token-prediction
        modules, and these), `parts` {name: {parameters, active, bytes}}, `bytes_total`, `flops_per_token` forward,
        `kv_cache_elements_per_token_per_layer`, `kv_cache_bytes_per_token`, `accelerators` {memory: how many}.

    Raises:
        CheckpointError: there is no readable config.json.
        ConfigError: it does not describe a V3 policy.
    """
    import torch

    from model import fp8, layout
    from model.config import V3Config, read_config
    from model.v3 import V3Policy

    raw = read_config(directory)
    if raw.get("model_type") != "deepseek_v3":
        raise ConfigError(
            f"{directory}: model_type = {raw.get('model_type')!r}; only 'deepseek_v3' is known here"
        )
    config = V3Config.from_dir(directory)
    stored = str(raw.get("torch_dtype") or raw.get("dtype") or "bfloat16")
    width = {"float32": 4, "float64": 8}.get(stored, 2)
    with torch.device("meta"):
        policy = V3Policy(config)

    parts: dict[str, dict[str, float]] = {}
    for name, tensor in (*policy.named_parameters(), *policy.named_buffers()):
        part = _part(name, config.num_hidden_layers)
        counted = parts.setdefault(part, {"parameters": 0, "active": 0, "bytes": 0})
        if name.endswith("e_score_correction_bias"):
            counted["bytes"] += 4 * tensor.numel()  # no parameter: nothing learns it by gradient
            continue
        used = tensor.numel()
        if ".experts." in name and "shared" not in name:
            used = used * config.num_experts_per_tok // config.n_routed_experts
        counted["parameters"] += tensor.numel()
        counted["active"] += used
        for piece in layout.pieces(name, tensor.shape):
            elements = math.prod(piece.shape)
            if raw.get("quantization_config") and layout.is_quantised(piece.name):
                counted["bytes"] += elements + 4 * math.prod(fp8.scale_shape(piece.shape))
            else:
                counted["bytes"] += width * elements
    mtp = parts.get("multi-token prediction", {"parameters": 0, "active": 0, "bytes": 0})
    mtp["bytes"] += sum(width * policy.get_parameter(name).numel() for name in layout.copies(config).values())
    main = [counted for part, counted in parts.items() if part != "multi-token prediction"]
    total, active = (int(sum(c[key] for c in main)) for key in ("parameters", "active"))
    embedding = policy.model.embed_tokens.weight.numel()
    # A tied head is the embedding used as a matrix: it is active as such.
    without = active if config.tie_word_embeddings else active - embedding
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    attention = 2 * layers * heads * (config.qk_head_dim + config.v_head_dim) * context
    elements = config.kv_lora_rank + config.qk_rope_head_dim
    cache = elements * layers * 2
    size = int(sum(c["bytes"] for c in main)) + int(mtp["bytes"])
    return {
        "parameters_total": total,
        "parameters_active": without,
        "parameters_active_with_embedding": active,
        "mtp_parameters": int(mtp["parameters"]),
        "parts": {part: {k: int(v) for k, v in counted.items()} for part, counted in parts.items()},
        "bytes_total": size,
        "context": context,
        "flops_per_token": int(2 * without + attention),
        "kv_cache_elements_per_token_per_layer": elements,
        "kv_cache_bytes_per_token": cache,
        "accelerators": {name: math.ceil((size + cache * context) / (USABLE * m)) for name, m in GPUS.items()},
        "config": {
            key: getattr(config, key)
            for key in (
                *("hidden_size", "num_hidden_layers", "first_k_dense_replace", "num_attention_heads"),
                *("n_routed_experts", "num_experts_per_tok", "n_shared_experts", "num_nextn_predict_layers"),
                *("vocab_size", "kv_lora_rank", "q_lora_rank", "qk_rope_head_dim"),
            )
        },
    }


def _part(name: str, layers: int) -> str:
    """The part of the architecture that a tensor belongs to."""
    if name.startswith("model.embed_tokens"):
        return "embedding"
    if name.startswith("lm_head"):
        return "output head"
    if name.startswith("model.layers.") and int(name.split(".")[2]) >= layers:
        return "multi-token prediction"
    if "self_attn" in name:
        return "attention"
    if ".shared_experts." in name:
        return "shared experts"
    if ".experts." in name:
        return "routed experts"
    if ".mlp.gate." in name:
        return "routers"
    return "dense feed-forward" if ".mlp." in name else "norms"


def show(found: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"parameters         {count(found['parameters_total'])}, without multi-token prediction "
        f"({count(found['mtp_parameters'])})",
        f"active per token   {count(found['parameters_active'])} without the input embedding, "
        f"{count(found['parameters_active_with_embedding'])} with it",
        "",
        f"{'part':24}{'parameters':>12}{'active':>12}{'bytes':>12}",
    ]
    for part, c in sorted(found["parts"].items(), key=lambda item: -item[1]["parameters"]):
        lines.append(
            f"{part:24}{count(c['parameters']):>12}{count(c['active']):>12}{size_text(c['bytes']):>12}"
        )
    needed = ", ".join(f"{n} of {memory}" for memory, n in found["accelerators"].items())
    lines += [
        "",
        f"weights            {size_text(found['bytes_total'])} as stored",
        f"operations         {count(found['flops_per_token'])} a token forward at {found['context']} tokens of context",
        f"latent cache       {found['kv_cache_elements_per_token_per_layer']} elements a token a layer, "
        f"{size_text(found['kv_cache_bytes_per_token'])} a token in 16 bits",
        f"accelerators       {needed}: weights as stored and one sequence of that length in "
        f"{USABLE:.0%} of their memory",
    ]
    return "\n".join(lines)


def count(number: float) -> str:
    """A number of parameters or operations with its unit, as `36.63B`."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size:
            return f"{number / size:.2f}{unit}"
    return str(int(number))


def size_text(number: float) -> str:
    """Bytes with their unit, as `70.27 kB`."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{int(number)} B"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m model.inspect",
        description="Parameters, bytes, operations and cache of a V3 configuration.",
    )
    parser.add_argument("directory", type=Path, help="a checkpoint directory, or a config.json")
    parser.add_argument("--json", action="store_true", help="one JSON document on one line")
    parser.add_argument(
        "--context", type=int, default=4096, metavar="N", help="tokens of context (default: 4096)"
    )
    parser.add_argument("--figure", type=Path, metavar="FILE", help="also draw the architecture as SVG")
    options = parser.parse_args(arguments)
    try:
        if options.context < 0:
            raise ConfigError(f"--context {options.context} must not be negative")
        directory = options.directory.parent if options.directory.name == "config.json" else options.directory
        found = inspect(directory, context=options.context)
        if options.figure:
            from model.figure import draw

            options.figure.write_text(draw(found), encoding="utf-8")
    except R1Error as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{options.figure} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(json.dumps(found) if options.json else show(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
