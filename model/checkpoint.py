"""Checkpoints: Hugging Face directories, read and written whole or not at all.

Parameter names are the released ones; experts lie apart on disk (`mlp.experts.{e}.gate_proj.weight`) and
are stacked in memory, and a file that holds them stacked, as transformers may write it, is read as well.
Every tensor's place, shape and (in files written here) checksum is verified before any is taken.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from model.config import V3Config, read_config
from model.v3 import V3Policy
from r1env.errors import CheckpointError, ConfigError, RunError, nearest

if TYPE_CHECKING:
    from model.hf import HFPolicy

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_STORED = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_STACKED = re.compile(r"(.*\.mlp\.experts)\.(gate_up_proj|down_proj)$")
_CHECKSUMS = "crc32"
"""Key in a file's metadata: checksums of the tensors' bytes, a JSON object by name."""


def load(
    directory: str | Path, *, dtype: str | torch.dtype = "auto", device: str | torch.device = "auto"
) -> V3Policy | HFPolicy:
    """Loads a policy.

    Args:
        directory: A Hugging Face directory; for models other than DeepSeek-V3 a hub name, too.
        dtype: A torch dtype or its name; `auto` keeps the one stored.
        device: A torch device; `auto` takes CUDA where there is one.

    Raises:
        CheckpointError: the directory is missing, or a tensor is missing, unknown, damaged or of another
            shape than the configuration says, naming it.
        ConfigError: the configuration describes a policy that cannot be computed, or a name is unknown.
    """
    path = _settled(Path(directory))
    where = resolve_device(device)
    as_dtype = None if dtype == "auto" else resolve_dtype(dtype)
    is_hub_name = not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(directory))
    if is_hub_name or read_config(path).get("model_type") != "deepseek_v3":
        from model.hf import HFPolicy

        return HFPolicy.load(str(directory) if is_hub_name else path, dtype=as_dtype, device=where)
    return _load_v3(path, as_dtype, where)


def save(policy: V3Policy | HFPolicy, directory: str | Path, tokenizer: Any = None) -> None:
    """Writes a policy as a Hugging Face directory, replacing what is there in one step.

    Args:
        policy: What to write; LoRA adapters are merged into a copy of the weights.
        directory: Where; its parents are made.
        tokenizer: Written beside it, with its chat template.

    Raises:
        RunError: the directory cannot be written; what was there before is untouched.
    """
    with replaced(Path(directory)) as partial:
        if isinstance(policy, V3Policy):
            _save_v3(policy, partial)
        else:
            policy.save(partial)
        if tokenizer is not None:
            tokenizer.save_pretrained(partial)


def resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """A torch dtype from its name.

    Raises:
        ConfigError: the name is unknown.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is unknown{nearest(dtype, ['auto', *DTYPES])}")
    return DTYPES[dtype]


def resolve_device(device: str | torch.device) -> torch.device:
    """A torch device; `auto` takes CUDA where there is one.

    Raises:
        ConfigError: the device is unknown or not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from None


@contextlib.contextmanager
def replaced(directory: Path) -> Iterator[Path]:
    """A fresh directory to write into, which takes the place of `directory` when the block ends well.

    A kill at any moment leaves either the old content or the new: between the two renames the old one
    stands at `<name>.old`, where `load` finds it.

    Raises:
        RunError: something cannot be written; the partial directory is removed.
    """
    partial = directory.with_name(f".{directory.name}.partial-{os.getpid()}")
    old = directory.with_name(f"{directory.name}.old")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        for left_by_a_kill in directory.parent.glob(f".{directory.name}.partial-*"):
            shutil.rmtree(left_by_a_kill, ignore_errors=True)
        partial.mkdir()
        yield partial
        if directory.exists():
            shutil.rmtree(old, ignore_errors=True)
            directory.rename(old)
        partial.rename(directory)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise RunError(f"{directory} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _settled(directory: Path) -> Path:
    """The directory, or what a kill in the middle of its replacement left of it."""
    old = directory.with_name(f"{directory.name}.old")
    return old if old.is_dir() and not directory.exists() else directory


# --- reading ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Entry:
    """Where one tensor lies."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """First byte in the file."""
    size: int
    """Bytes."""
    checksum: int | None


def _load_v3(directory: Path, dtype: torch.dtype | None, device: torch.device) -> V3Policy:
    config = V3Config.from_dir(directory)
    with torch.device("meta"):
        policy = V3Policy(config)
    # A tied head is the embedding itself: it has no tensor of its own on disk.
    wanted = {n: t.shape for n, t in policy.state_dict().items() if not _is_tied(config, n)}
    entries = _entries(directory)
    if config.tie_word_embeddings:
        entries.pop("lm_head.weight", None)
    sources = _match(directory, wanted, entries)
    for name, entry in entries.items():
        _verify(name, entry)
    state = {}
    for name, shape in wanted.items():
        fp32 = name.endswith("e_score_correction_bias")  # kept in float32 as released: it decides near-ties
        target = torch.float32 if fp32 else dtype or _STORED[entries[sources[name][0]].dtype]
        tensor = torch.empty(shape, dtype=target, device=device)
        parts = tensor if _is_stack_of(name, sources[name]) else [tensor]
        _fill(parts, [_read(entries[source]) for source in sources[name]])
        state[name] = tensor
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    policy.load_state_dict(state, assign=True)
    if config.tie_word_embeddings:
        policy.lm_head.weight = policy.model.embed_tokens.weight
    return policy


def _is_tied(config: V3Config, name: str) -> bool:
    return config.tie_word_embeddings and name == "lm_head.weight"


def _is_stack_of(name: str, sources: list[str]) -> bool:
    return sources != [name]


def _fill(parts: Any, tensors: list[Tensor]) -> None:
    """Copies tensors into the experts of a stack; gate and up of one expert are the halves of its part."""
    per_part = len(tensors) // len(parts)
    for i, part in enumerate(parts):
        for into, tensor in zip(part.chunk(per_part), tensors[i * per_part : (i + 1) * per_part]):
            into.copy_(tensor)


def _disk_names(name: str, shape: torch.Size) -> dict[str, tuple[int, ...]]:
    """Names and shapes under which a tensor lies on disk: itself, or for stacked experts one by one."""
    match = _STACKED.match(name)
    if match is None:
        return {name: tuple(shape)}
    base, kind = match.groups()
    if kind == "down_proj":
        return {f"{base}.{e}.down_proj.weight": tuple(shape[1:]) for e in range(shape[0])}
    half = (shape[1] // 2, shape[2])
    return {f"{base}.{e}.{part}_proj.weight": half for e in range(shape[0]) for part in ("gate", "up")}


def _match(
    directory: Path, wanted: Mapping[str, torch.Size], entries: Mapping[str, _Entry]
) -> dict[str, list[str]]:
    """Which stored tensors make up each wanted one.

    Raises:
        CheckpointError: a tensor is missing, left over, or of another shape or type.
    """
    sources: dict[str, list[str]] = {}
    expected: dict[str, tuple[int, ...]] = {}
    for name, size in wanted.items():
        names = {name: tuple(size)} if name in entries else _disk_names(name, size)
        sources[name] = list(names)
        expected |= names
    missing = [n for n in expected if n not in entries]
    if missing:
        raise CheckpointError(f"{directory}: tensor {missing[0]!r} is missing{_others(missing)}")
    extra = sorted(n for n in entries if n not in expected)
    if extra:
        raise CheckpointError(
            f"{directory}: tensor {extra[0]!r} does not belong to the model of config.json{_others(extra)}"
        )
    for name, shape in expected.items():
        if entries[name].shape != shape:
            raise CheckpointError(
                f"{directory}: tensor {name!r} has shape {list(entries[name].shape)}, "
                f"config.json asks for {list(shape)}"
            )
        if entries[name].dtype not in _STORED:
            raise CheckpointError(
                f"{directory}: tensor {name!r} is stored as {entries[name].dtype}; "
                f"only {', '.join(_STORED)} can be read"
            )
    return sources


def _others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _entries(directory: Path) -> dict[str, _Entry]:
    """All tensors of a directory's safetensors files, single or sharded, by name."""
    index = directory / "model.safetensors.index.json"
    if index.exists():
        try:
            files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise CheckpointError(f"{index} is damaged: {error!r}") from None
    else:
        files = ["model.safetensors"]
    entries: dict[str, _Entry] = {}
    for file in files:
        entries |= _header(directory / file)
    return entries


def _header(file: Path) -> dict[str, _Entry]:
    """The table of contents of a safetensors file, every tensor checked to lie within it."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            size = file.stat().st_size
            if size < 8 or length > size - 8:
                raise CheckpointError(f"{file} is damaged: its header is cut off; restore it or save again")
            table = json.loads(stream.read(length))
        checksums = json.loads(table.pop("__metadata__", {}).get(_CHECKSUMS, "{}"))
    except FileNotFoundError:
        raise CheckpointError(f"{file} does not exist: the directory holds no weights") from None
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{file} is damaged: its header cannot be read ({error})") from None
    entries = {}
    for name, raw in table.items():
        try:
            begin, end = raw["data_offsets"]
            entry = _Entry(
                file, raw["dtype"], tuple(raw["shape"]), 8 + length + begin, end - begin, checksums.get(name)
            )
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"{file}: tensor {name!r} is damaged: its header entry is {raw!r}") from None
        width = _STORED[entry.dtype].itemsize if entry.dtype in _STORED else None
        if entry.begin + entry.size > size or (width and entry.size != width * torch.Size(entry.shape).numel()):
            raise CheckpointError(
                f"{file}: tensor {name!r} is damaged: its bytes do not fit the file; restore it or save again"
            )
        entries[name] = entry
    return entries


def _read(entry: _Entry) -> Tensor:
    """One tensor, mapped from its file."""
    if entry.size == 0:
        return torch.empty(entry.shape, dtype=_STORED[entry.dtype])
    storage = torch.from_file(str(entry.file), size=entry.begin + entry.size, dtype=torch.uint8)
    return storage[entry.begin :].clone().view(_STORED[entry.dtype]).view(entry.shape)


def _verify(name: str, entry: _Entry) -> None:
    if entry.checksum is not None and _crc32(_read(entry)) != entry.checksum:
        raise CheckpointError(
            f"{entry.file}: tensor {name!r} is damaged: its bytes do not match their checksum; "
            "restore the file or save again"
        )


# --- writing ---------------------------------------------------------------------------------------------


def _save_v3(policy: V3Policy, directory: Path) -> None:
    from safetensors.torch import save_file

    config = policy.config
    tensors: dict[str, Tensor] = {}
    for name, tensor in policy.state_dict().items():
        if _is_tied(config, name):
            continue
        names = _disk_names(name, tensor.shape)
        parts = [tensor]
        if name not in names:
            per_expert = len(names) // len(tensor)
            parts = [half for expert in tensor for half in expert.chunk(per_expert)]
        tensors |= {n: part.detach().cpu().contiguous() for n, part in zip(names, parts)}
    checksums = json.dumps({n: _crc32(t) for n, t in tensors.items()})
    save_file(tensors, directory / "model.safetensors", {"format": "pt", _CHECKSUMS: checksums})
    _sort_header(directory / "model.safetensors")
    dtype = str(policy.lm_head_weight.dtype).removeprefix("torch.")
    _write_json(directory / "config.json", {**config.to_dict(), "torch_dtype": dtype})
    ids = {k: getattr(config, k) for k in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(directory / "generation_config.json", {"do_sample": True, **ids})


def _sort_header(file: Path) -> None:
    """Puts the header's keys in order: safetensors writes metadata as its hash map has it, and equal policies
    must give equal files."""
    with open(file, "r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        metadata = dict(sorted(header.pop("__metadata__").items()))
        text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":"), ensure_ascii=False)
        stream.seek(8)
        stream.write(text.encode().ljust(size))


def _crc32(tensor: Tensor) -> int:
    return zlib.crc32(tensor.flatten().view(torch.uint8).numpy().data) if tensor.numel() else 0


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
