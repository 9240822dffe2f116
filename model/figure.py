"""The architecture as an SVG, with the numbers that `model.inspect` counts."""

from __future__ import annotations

from html import escape
from typing import Any

from model.inspect import count, size_text

WIDTH, HEIGHT = 900, 560
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2430 }
.title { font-size: 18px; font-weight: 600 }
.small { font-size: 11.5px; fill: #596273 }
.head { font-weight: 600 }
rect { rx: 8px; stroke: #b9c1cf; fill: #ffffff }
.frame { fill: #f4f6fa; stroke: #d5dae3 }
.mla { fill: #e3eefc; stroke: #7fa6d8 }
.moe { fill: #e6f4e8; stroke: #7fb98a }
.bar { stroke: none }
path { stroke: #7c8699; fill: none; stroke-width: 1.4 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9f0 } .small { fill: #a3adbf }
  rect { fill: #20242e; stroke: #4a5263 } .frame { fill: #171a21; stroke: #343b48 }
  .mla { fill: #1d2f47; stroke: #4f78ad } .moe { fill: #1d3524; stroke: #4f8a5c }
}
"""
_COLOURS = {
    "routed experts": "#6fae7c", "shared experts": "#a5d1ad", "dense feed-forward": "#cfd98a", "routers": "#d9b38a",
    "attention": "#7fa6d8", "embedding": "#b79fd6", "output head": "#d69fc0", "norms": "#9aa3b2",
    "multi-token prediction": "#e0a27a",
}  # fmt: skip


def draw(found: dict[str, Any]) -> str:
    """An SVG document of what `model.inspect.inspect` returned."""
    c, parts = found["config"], found["parts"]
    dense = min(c["first_k_dense_replace"], c["num_hidden_layers"])
    sparse = c["num_hidden_layers"] - dense
    query = f"query latent {c['q_lora_rank']}" if c["q_lora_rank"] else "queries straight from the stream"
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Architecture with parameter counts"><style>{_STYLE}</style>',
        _text(24, 34, f"{count(found['parameters_total'])} parameters, "
              f"{count(found['parameters_active_with_embedding'])} active for a token", "title"),
        _text(24, 54, f"{found['kv_cache_elements_per_token_per_layer']} cached elements a token a layer "
              f"({size_text(found['kv_cache_bytes_per_token'])} a token in 16 bits), "
              f"{count(found['flops_per_token'])} operations a token at {found['context']} tokens", "small"),
        # the stack, read upwards
        _box(24, 460, 250, 52, "embedding", f"{c['vocab_size']:,} × {c['hidden_size']:,}", parts.get("embedding")),
        _box(24, 382, 250, 52, f"{dense} dense layers", "attention, feed-forward", parts.get("dense feed-forward")),
        _box(24, 238, 250, 118, f"{sparse} mixture layers", "attention, shared and routed experts",
             parts.get("routed experts"), "moe"),
        _box(24, 160, 250, 52, "norm, output head", f"{c['hidden_size']:,} × {c['vocab_size']:,}", parts.get("output head")),
        _box(24, 82, 250, 52, f"{c['num_nextn_predict_layers']} multi-token-prediction modules",
             "share embedding and head", parts.get("multi-token prediction")),
        *(f'<path d="M149 {y} v-26"/>' for y in (460, 382, 238, 160)),
        # one layer
        '<rect class="frame" x="310" y="82" width="566" height="274"/>',
        _text(326, 106, "one mixture layer", "head"),
        _box(326, 238, 534, 102, "multi-head latent attention", "", parts.get("attention"), "mla"),
        _text(342, 290, f"{c['num_attention_heads']} heads; {query}", "small"),
        _text(342, 308, f"cache: latent {c['kv_lora_rank']} and one rotary key {c['qk_rope_head_dim']} for all heads", "small"),
        _text(342, 326, "keys and values of a head are made from the latent; decoding absorbs that into the query", "small"),
        _box(326, 120, 534, 92, "mixture of experts", "", parts.get("routed experts"), "moe"),
        _text(342, 172, f"{c['n_shared_experts']} shared; {c['num_experts_per_tok']} of {c['n_routed_experts']} routed "
              "experts a token", "small"),
        _text(342, 190, "the router's correction bias steers the choice, never the weights", "small"),
        '<path d="M593 238 v-26"/>',
        *_bars(parts),
        "</svg>",
    ]  # fmt: skip
    return "\n".join(out) + "\n"


def _bars(parts: dict[str, Any]) -> list[str]:
    """Two bars: all parameters and active ones by part."""
    out = []
    for row, (key, label) in enumerate((("parameters", "all"), ("active", "active"))):
        y = 392 + 44 * row
        whole = sum(part[key] for part in parts.values()) or 1
        out.append(_text(310, y + 18, label, "small"))
        x = 356.0
        for name, colour in _COLOURS.items():
            width = 520 * parts.get(name, {key: 0})[key] / whole
            out.append(f'<rect class="bar" style="fill:{colour};rx:0" x="{x:.1f}" y="{y}" width="{width:.1f}" height="26">'
                       f"<title>{name}: {count(parts.get(name, {key: 0})[key])}</title></rect>")  # fmt: skip
            x += width
    for i, name in enumerate(n for n in _COLOURS if n in parts):
        x, y = 310 + 190 * (i % 3), 492 + 20 * (i // 3)
        out.append(
            f'<rect class="bar" style="fill:{_COLOURS[name]};rx:2px" x="{x}" y="{y}" width="12" height="12"/>'
        )
        out.append(_text(x + 18, y + 11, f"{name} {count(parts[name]['parameters'])}", "small"))
    return out


def _box(x: int, y: int, width: int, height: int, title: str, below: str, part: Any, kind: str = "") -> str:
    number = f"{count(part['parameters'])}" if part and part["parameters"] else ""
    return "".join((
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>',
        _text(x + 16, y + 24, title, "head"),
        _text(x + 16, y + 42, below, "small"),
        f'<text x="{x + width - 16}" y="{y + 24}" text-anchor="end">{number}</text>' if number else "",
    ))  # fmt: skip


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'
