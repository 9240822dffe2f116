"""Checkpoints: Hugging Face directories, read and written whole or not at all.

Parameter names are the released ones (`model.layout`), weights in FP8 with their factors (`model.fp8`) included.
What is missing, left over or of another shape is named before anything is read; a checkpoint is loaded file by
file into memory of its own, so that the peak is the policy and the file at hand.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from model import files, layout
from model import fp8 as fp8_format
from model.config import V3Config, read_config
from model.layout import Piece, disk_tensors, is_quantised, pieces
from model.scorer import V3Scorer
from model.v3 import V3Policy
from r1env.errors import CheckpointError, ConfigError, RunError, nearest

if TYPE_CHECKING:
    from model.hf import HFPolicy

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_EXPANDED_AT_ONCE = 2**20
"""Weights that are expanded from FP8 before they are put in their place."""
MAX_SHARD_BYTES = 5 * 2**30
"""Size of a file at most, as the field has it; a single larger tensor has a file of its own."""


def load(
    directory: str | Path,
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "auto",
    keep_fp8: bool = False,
) -> V3Policy | V3Scorer | HFPolicy:
    """Loads a policy; a directory of a DeepseekV3ForSequenceClassification gives a scorer.

    Args:
        directory: A Hugging Face directory; for models other than DeepSeek-V3 a hub name, too.
        dtype: A torch dtype or its name; `auto` keeps the one stored, and expands FP8 to config.json's.
        device: A torch device; `auto` takes CUDA where there is one.
        keep_fp8: Leave weights that are stored in FP8 so, and expand them in every product: for inference in a
            quarter of float32's memory.

    Raises:
        CheckpointError: the directory is missing, or a tensor is missing, unknown, damaged or of another
            shape than the configuration says, naming it.
        ConfigError: the configuration describes a policy that cannot be computed, or a name is unknown.
    """
    path = _settled(Path(directory).absolute()) if Path(directory).exists() else _settled(Path(directory))
    where = resolve_device(device)
    as_dtype = None if dtype == "auto" else resolve_dtype(dtype)
    is_hub_name = not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(directory))
    if is_hub_name or read_config(path).get("model_type") != "deepseek_v3":
        from model.hf import HFPolicy

        return HFPolicy.load(str(directory) if is_hub_name else path, dtype=as_dtype, device=where)
    return _load_v3(path, as_dtype, where, fp8=keep_fp8)


def save(
    policy: V3Policy | V3Scorer | HFPolicy,
    directory: str | Path,
    tokenizer: Any = None,
    *,
    fp8: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Writes a policy as a Hugging Face directory, replacing what is there in one step.

    Args:
        policy: What to write; LoRA adapters are merged into a copy of the weights.
        directory: Where; its parents are made.
        tokenizer: Written beside it, with its chat template.
        fp8: Store projections as the release does, in e4m3 with a factor for every 128 × 128 block.
        max_shard_bytes: Size of a file at most; more weights are spread over several with an index.

    Raises:
        RunError: the directory cannot be written; what was there before is untouched.
    """
    with replaced(Path(directory).absolute()) as partial:
        if isinstance(policy, V3Policy | V3Scorer):
            _save_v3(policy, partial, fp8=fp8, max_shard_bytes=max_shard_bytes)
        elif fp8:
            raise ConfigError("fp8=True is for DeepSeek-V3 policies")
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


def _load_v3(
    directory: Path, dtype: torch.dtype | None, device: torch.device, *, fp8: bool
) -> V3Policy | V3Scorer:
    raw = read_config(directory)
    config = V3Config.from_dir(directory)
    table = files.entries(directory)
    if not any(name.startswith(f"model.layers.{config.num_hidden_layers}.") for name in table):
        # transformers writes num_nextn_predict_layers = 1 whether or not there is such a module.
        if config.num_nextn_predict_layers:
            warnings.warn(
                f"{directory}: config.json names {config.num_nextn_predict_layers} multi-token-prediction module(s) "
                "and the files hold none (transformers writes it so); loaded without",
                stacklevel=3,
            )
        config = dataclasses.replace(config, num_nextn_predict_layers=0)
    scores = any("SequenceClassification" in name for name in raw.get("architectures") or ())
    quantised = raw.get("quantization_config")
    if quantised:
        fp8_format.check_config(quantised)
    with torch.device("meta"):
        module = V3Scorer(config) if scores else V3Policy(config)
        if quantised and fp8:
            fp8_format.keep_fp8(module, is_quantised, dtype or _stated_dtype(raw))
    plan = _match(directory, module, config, table)
    state = _targets(module, config, plan, table, dtype, _stated_dtype(raw), device)
    _fill(directory, state, plan, table)
    if config.tie_word_embeddings and not scores:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    module.load_state_dict(state, assign=True)
    if config.tie_word_embeddings and isinstance(module, V3Policy):
        module.lm_head.weight = module.model.embed_tokens.weight
    return module


@dataclasses.dataclass
class _Plan:
    """What is read from where."""

    pieces: dict[str, list[Piece]]
    """Of every tensor in memory."""
    scales: dict[str, str]
    """By a stored FP8 tensor's name that of its factors, where it is expanded on the way."""
    copies: dict[str, str]
    """By the name of a tensor that must equal another: that one's name."""


def _stated_dtype(raw: Mapping[str, Any]) -> torch.dtype:
    """What config.json says the weights are in: FP8 ones are expanded to that."""
    return DTYPES.get(str(raw.get("torch_dtype", raw.get("dtype", "bfloat16"))), torch.bfloat16)


def _match(
    directory: Path, module: torch.nn.Module, config: V3Config, table: Mapping[str, files.Entry]
) -> _Plan:
    """Which stored tensors make up each wanted one.

    Raises:
        CheckpointError: a tensor is missing, left over, or of another shape or type.
    """
    wanted = {n: t for n, t in module.state_dict().items() if not _is_tied(config, n)}
    plan = _Plan({n: pieces(n, t.shape, table) for n, t in wanted.items()}, {}, {})
    expected = {piece.name: piece.shape for parts in plan.pieces.values() for piece in parts}
    for name, shape in list(expected.items()):
        scale = f"{name}_scale_inv"
        if name in table and table[name].dtype == "F8_E4M3" and len(shape) != 2:
            raise CheckpointError(f"{directory}: tensor {name!r} is stored in FP8, which is for matrices")
        if name in table and table[name].dtype == "F8_E4M3" and scale not in expected:
            plan.scales[name] = scale
            expected[scale] = fp8_format.scale_shape(shape)
    for copy, original in layout.copies(config).items():
        if copy in table and original in expected:
            plan.copies[copy] = original
            expected[copy] = expected[original]
    if config.tie_word_embeddings and "lm_head.weight" in table:
        plan.copies["lm_head.weight"] = "model.embed_tokens.weight"
        expected["lm_head.weight"] = expected["model.embed_tokens.weight"]

    missing = [n for n in expected if n not in table]
    if missing:
        raise CheckpointError(f"{directory}: tensor {missing[0]!r} is missing{_others(missing)}")
    extra = sorted(n for n in table if n not in expected)
    if extra:
        raise CheckpointError(
            f"{directory}: tensor {extra[0]!r} does not belong to the model of config.json{_others(extra)}"
        )
    for name, shape in expected.items():
        if table[name].shape != shape:
            raise CheckpointError(
                f"{directory}: tensor {name!r} has shape {list(table[name].shape)}, "
                f"config.json asks for {list(shape)}"
            )
        if table[name].dtype not in files.DTYPES:
            raise CheckpointError(
                f"{directory}: tensor {name!r} is stored as {table[name].dtype}; "
                f"only {', '.join(files.DTYPES)} can be read"
            )
    return plan


def _is_tied(config: V3Config, name: str) -> bool:
    return config.tie_word_embeddings and name == "lm_head.weight"


def _others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _targets(
    module: torch.nn.Module,
    config: V3Config,
    plan: _Plan,
    table: Mapping[str, files.Entry],
    dtype: torch.dtype | None,
    stated: torch.dtype,
    device: torch.device,
) -> dict[str, Tensor]:
    """Memory for every tensor, not yet filled."""
    found = {}
    for name, tensor in module.state_dict().items():
        if _is_tied(config, name):
            continue
        first = plan.pieces[name][0].name
        stored = files.DTYPES[table[first].dtype]
        odd = [p.name for p in plan.pieces[name] if table[p.name].dtype != table[first].dtype]
        if odd and dtype is None:
            raise CheckpointError(
                f"tensor {odd[0]!r} is stored as {table[odd[0]].dtype}, {first!r} as {table[first].dtype}: here they "
                "are one; say with dtype= which it is to be"
            )
        if name.endswith(("e_score_correction_bias", "_scale_inv")) or tensor.dtype == fp8_format.DTYPE:
            # The bias decides near-ties and stays in float32 as released; FP8 that is kept is kept as it is.
            kept = tensor.dtype
        else:
            kept = dtype or (stated if first in plan.scales else stored)
        found[name] = torch.empty(tensor.shape, dtype=kept, device=device)
    return found


def _fill(directory: Path, state: Mapping[str, Tensor], plan: _Plan, table: Mapping[str, files.Entry]) -> None:
    """Copies every stored tensor to its place, file by file, each verified.

    Nothing is given to the caller before all are read, so that a damaged one leaves no half-loaded policy.
    """
    places = {piece.name: (state[n], piece) for n, parts in plan.pieces.items() for piece in parts}
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for file, names in files.by_file(table).items():
            with files.opened(file) as source:

                def read(name: str, source: files.Source = source) -> None:
                    if name not in places or name in plan.scales:
                        source.verify(name, table[name])
                    if name not in places:
                        return
                    whole, piece = places[name]
                    into = whole[piece.index] if piece.index else whole
                    if name in plan.scales:
                        scale = table[plan.scales[name]]
                        with files.opened(scale.file) as other:  # it may lie in another file
                            _expand(source.tensor(table[name]), other.tensor(scale), into)
                            source.forget(table[name])
                    else:
                        source.read(name, table[name], into)

                list(pool.map(read, names))  # the first error in the order of the file is raised
    for copy, original in plan.copies.items():
        entry = table[copy]
        with files.opened(entry.file) as source:
            if not torch.equal(source.tensor(entry).to(state[original]), state[original]):
                raise CheckpointError(
                    f"{directory}: tensor {copy!r} differs from {original!r}: here the two are one"
                )


def _expand(values: Tensor, scale: Tensor, into: Tensor) -> None:
    """Writes FP8 weights [O, I] out, some blocks of rows at a time: nothing as large as the matrix is held beside it."""
    blocks = max(1, _EXPANDED_AT_ONCE // (fp8_format.BLOCK * max(1, values.shape[1])))
    for first in range(0, len(scale), blocks):
        rows = slice(first * fp8_format.BLOCK, (first + blocks) * fp8_format.BLOCK)
        into[rows] = fp8_format.dequantise(values[rows], scale[first : first + blocks], into.dtype)


# --- writing ---------------------------------------------------------------------------------------------


def _save_v3(module: V3Policy | V3Scorer, directory: Path, *, fp8: bool, max_shard_bytes: int) -> None:
    config = module.config
    tensors: dict[str, Tensor | files.Later] = dict(disk_tensors(module.state_dict(), config))
    raw = config.to_dict()
    if isinstance(module, V3Scorer):
        raw["architectures"] = ["DeepseekV3ForSequenceClassification"]
        raw["num_labels"] = 1
        raw["num_nextn_predict_layers"] = 0
    if fp8:
        tensors = _in_fp8(disk_tensors(module.state_dict(), config))
    if any(tensor.dtype == fp8_format.DTYPE for tensor in tensors.values()):
        raw["quantization_config"] = fp8_format.CONFIG
    files.write(tensors, directory, max_shard_bytes=max_shard_bytes)
    dtype = str(module.model.embed_tokens.weight.dtype).removeprefix("torch.")
    _write_json(directory / "config.json", {**raw, "torch_dtype": dtype})
    ids = {k: getattr(config, k) for k in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(directory / "generation_config.json", {"do_sample": True, **ids})


def _in_fp8(tensors: Mapping[str, Tensor]) -> dict[str, Tensor | files.Later]:
    """The same with every projection quantised, when its turn comes, and its factors beside it."""
    found: dict[str, Tensor | files.Later] = {}
    for name, tensor in tensors.items():
        if is_quantised(name) and tensor.dtype != fp8_format.DTYPE:
            scale = torch.empty(fp8_format.scale_shape(tuple(tensor.shape)), device="meta")
            found[name] = files.Later(
                torch.empty(tensor.shape, dtype=fp8_format.DTYPE, device="meta"),
                functools.partial(_quantised, tensor, 0),
            )
            found[f"{name}_scale_inv"] = files.Later(scale, functools.partial(_quantised, tensor, 1))
        else:
            found[name] = tensor
    return found


def _quantised(tensor: Tensor, part: int) -> Tensor:
    return fp8_format.quantise(tensor.detach())[part]


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
