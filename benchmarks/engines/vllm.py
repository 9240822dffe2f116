"""Samples from vLLM in this process: on GPUs, or its CPU build (docs/engines-for-benchmarks.md says how it is installed)."""

from __future__ import annotations

import collections
import gc
import hashlib
import importlib.util
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.engines import Setup, texts
from benchmarks.types import Ask, Said, SampleError
from r1env import records
from r1env.errors import CheckpointError, ConfigError, MissingDependency

K = TypeVar("K")

SEEDS = 2**63
_CACHE_SHARE = 0.25
"""Of the memory that is free on a CPU: what keys and values get. vLLM would take nine tenths of all there is."""

_QUIET = {
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout belongs to the command's own document
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


def open(setup: Setup) -> VllmEngine:
    """Loads a checkpoint directory or a hub name; `options` are `VllmEngine`'s arguments.

    Raises:
        MissingDependency: vLLM is not installed here, or does not import.
        CheckpointError: it cannot load the model.
        ConfigError: an option that it does not know.
    """
    return VllmEngine(setup.model, dtype=setup.dtype, **setup.options)


class VllmEngine:
    """A `benchmarks.types.BenchEngine` over vLLM.

    Args:
        model: A Hugging Face directory, or a hub name.
        dtype: A dtype's name; `auto` keeps the one stored (vLLM's own `auto` halves float32).
        max_rows: Samples that are drawn at a time.
        max_tokens: Longest prompt and response together; None for as many as the model and the memory have room for.
        **arguments: Passed on to `vllm.LLM`, e.g. `tensor_parallel_size=8`.

    Raises:
        MissingDependency: vLLM is not installed here, or does not import.
        CheckpointError: it cannot load the model.
        ConfigError: an option that it does not know.
    """

    name = "vllm"
    _occupied = False
    """Whether vLLM runs within this process: its groups of workers are global there."""

    def __init__(
        self,
        model: str | Path,
        *,
        dtype: str = "auto",
        max_rows: int = 256,
        max_tokens: int | None = None,
        **arguments: Any,
    ) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        platform = _platform()
        self._max_rows = max_rows
        self.is_cpu = bool(platform.is_cpu())
        self._closed = False
        self.failed: list[tuple[Ask, SampleError]] = []
        if VllmEngine._occupied:
            raise ConfigError(
                "vLLM holds one model at a time in a process, and one is loaded; serve the other (a judge, say) by "
                "python -m vllm.entrypoints.openai.api_server, and give its address"
            )
        try:
            from transformers import AutoConfig, AutoTokenizer

            config = AutoConfig.from_pretrained(str(model))
            self._tokenizer = AutoTokenizer.from_pretrained(str(model))
            if dtype == "auto" and getattr(config, "dtype", None) is not None:
                dtype = str(config.dtype).removeprefix("torch.")
            given = {
                "dtype": dtype,
                "max_num_seqs": max_rows,
                "max_model_len": max_tokens or -1,  # as much as there is room for
                **(_on_a_cpu(config) if self.is_cpu else {}),
                **arguments,
            }
            self._engine = _load(str(model), given)
        except TypeError as error:
            raise ConfigError(f"vLLM does not take these options: {error}") from error
        except (OSError, ValueError, RuntimeError) as error:
            told = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"vLLM cannot load {model}: {told}") from error
        stated = self._engine.model_config
        self.context: int = stated.max_model_len
        """Tokens of prompt and response together, at most."""
        self._dtype = str(stated.dtype).removeprefix("torch.")
        self._device = "cpu" if self.is_cpu else platform.get_device_name()
        self._numbers = itertools.count()
        VllmEngine._occupied = self._is_inside = os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING") == "0"

    def describe(self) -> Mapping[str, Any]:
        """Model, dtype, chat template, device, threads, versions, hardware."""
        import torch

        template = getattr(self._tokenizer, "chat_template", None)
        return {
            "engine": self.name,
            "model_type": self._engine.model_config.hf_config.model_type,
            "dtype": self._dtype,
            "context": self.context,
            "chat_template_sha256": hashlib.sha256(str(template).encode()).hexdigest() if template else None,
            "device": self._device,
            "threads": torch.get_num_threads(),
            "versions": records.versions(),
            "hardware": records.hardware(),
        }

    def generate(self, asks: Iterable[Ask]) -> Iterator[Said]:
        """Samples as they come; asks are taken as rows end.

        A response may have as many tokens as its prompt leaves of the context, where that is less than asked for; its
        `detail` then says `room`. A prompt that leaves none has a cut response without a token; what vLLM breaks off is
        noted in `failed`.

        Raises:
            ConfigError: chat messages for a model without a chat template.
        """
        from model.tokenizer import decode

        unread: collections.deque[Said] = collections.deque()
        for (ask, prompt), out, seconds in self._finished(self._requests(asks, unread)):
            while unread:
                yield unread.popleft()
            (written,) = out.outputs
            if written.finish_reason not in ("stop", "length"):
                self._lose(ask, f"vLLM ended it by {written.finish_reason!r}")
                continue
            room = self.context - len(prompt)
            yield Said(
                ask=ask,
                text=texts.whole(decode(self._tokenizer, written.token_ids), self._opening(prompt)),
                finish_reason=written.finish_reason,
                tokens=len(written.token_ids),
                prompt_tokens=len(prompt),
                seconds=seconds,
                detail={"room": room} if room < ask.sampling.max_new_tokens else {},
            )
        yield from unread

    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """For (context, continuation): log-probability of the continuation, and whether it is the greedy one.

        A context's tokens are taken for the first tokens of the whole text, as other harnesses take them; an empty
        context is the begin-of-sequence token, or without one the end-of-sequence token.

        Raises:
            SampleError: a pair that is longer than the context.
        """
        found: dict[int, tuple[float, bool]] = {}
        for (i, start), out, _ in self._finished(self._readings(pairs)):
            logprob, is_greedy = 0.0, True
            for token, told in zip(out.prompt_token_ids[start:], out.prompt_logprobs[start:]):
                logprob += told[token].logprob
                is_greedy &= told[token].logprob >= max(other.logprob for other in told.values())
            found[i] = logprob, is_greedy
        return [found[i] for i in range(len(pairs))]

    def load_weights(self, source: str | Path) -> None:
        """Takes another checkpoint of the same architecture, in place: a fraction of the time of a new engine.

        On a CPU vLLM leaves the experts of mixtures as they were, packed for its product: they are packed anew here.
        """
        self._engine.collective_rpc("reload_weights", kwargs={"weights_path": str(source)})
        if self.is_cpu:
            self._engine.apply_model(_pack_experts)
        self._engine.reset_prefix_cache()

    def close(self) -> None:
        """Gives memory and processes back."""
        if self._closed:
            return
        self._closed = True
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self._engine.engine_core.shutdown()
        del self._engine
        gc.collect()
        cleanup_dist_env_and_memory()
        if self._is_inside:
            VllmEngine._occupied = False

    def _requests(
        self, asks: Iterable[Ask], unread: collections.deque[Said]
    ) -> Iterator[tuple[tuple[Ask, list[int]], list[int], Any]]:
        """What the engine is to be asked; `unread` gets what cannot be."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        from model.tokenizer import encode_prompt

        for ask in asks:
            if not isinstance(ask.messages, str) and not self._tokenizer.chat_template:
                raise ConfigError(
                    "the model's tokenizer has no chat template: it is a base model; give --prompt r1_zero, which words "
                    "problems as one text"
                )
            prompt = encode_prompt(self._tokenizer, ask.messages)
            room = self.context - len(prompt)
            if room < 1:
                unread.append(texts.unread(ask, len(prompt)))
                continue
            params = SamplingParams(
                temperature=ask.sampling.temperature,
                top_p=ask.sampling.top_p,
                max_tokens=min(ask.sampling.max_new_tokens, room),
                seed=ask.seed % SEEDS,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            yield (ask, prompt), prompt, params

    def _readings(self, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[int, int], list[int], Any]]:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        begin = self._tokenizer.bos_token_id
        begin = self._tokenizer.eos_token_id if begin is None else begin
        read = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=1,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        for i, pair in enumerate(pairs):
            context, continuation = texts.split(*pair)
            whole = list(self._tokenizer(context + continuation)["input_ids"])
            start = len(self._tokenizer(context)["input_ids"])
            if start == 0:
                whole, start = [begin, *whole], 1
            if len(whole) >= self.context:
                raise SampleError(
                    f"context and continuation {i} have {len(whole)} tokens together, and the engine reads at most "
                    f"{self.context - 1}"
                )
            yield (i, start), whole, read

    def _finished(self, requests: Iterable[tuple[K, list[int], Any]]) -> Iterator[tuple[K, Any, float]]:
        """Works requests off, as many at a time as there are rows; yields key, output and seconds of each."""
        source = iter(requests)
        running: dict[str, tuple[K, float]] = {}
        goes_on = True
        try:
            while True:
                while goes_on and len(running) < self._max_rows:
                    request = next(source, None)
                    if request is None:
                        goes_on = False
                        break
                    key, prompt, params = request
                    number = str(next(self._numbers))
                    self._engine.add_request(number, {"prompt_token_ids": prompt}, params)
                    running[number] = key, time.monotonic()
                if not running:
                    return
                for out in self._engine.step():
                    if out.finished:
                        key, begun = running.pop(out.request_id)
                        yield key, out, time.monotonic() - begun
        finally:
            if running:
                self._engine.abort_request(list(running))

    def _lose(self, ask: Ask, why: str) -> None:
        told = f"{ask.benchmark} problem {ask.problem}, sample {ask.sample}: {why}"
        self.failed.append((ask, SampleError(told)))

    def _opening(self, prompt: Sequence[int]) -> str:
        return texts.opening(str(self._tokenizer.decode(list(prompt[-16:]), skip_special_tokens=False)))


def _platform() -> Any:
    """What vLLM runs on.

    Raises:
        MissingDependency: it is not installed, or does not import.
    """
    how = "`r1-bench doctor` and docs/engines-for-benchmarks.md say how it is installed"
    if importlib.util.find_spec("vllm") is None:
        raise MissingDependency(
            f"vLLM is not installed in this environment, and r1-bench runs where it is; {how}"
        )
    try:
        import vllm  # noqa: F401
        from vllm.platforms import current_platform
    except Exception as error:  # an operator that is missing is a RuntimeError, a library an OSError
        raise MissingDependency(f"vLLM does not import: {type(error).__name__}: {error}; {how}") from error
    return current_platform


def _on_a_cpu(config: Any) -> dict[str, Any]:
    """What vLLM needs on a CPU to be right, and to start in seconds."""
    os.environ.setdefault(
        "VLLM_ENABLE_V1_MULTIPROCESSING", "0"
    )  # nothing is left over when this process is killed
    # Its kernels for latent attention know the released sizes only; smaller ones run expanded to heads.
    latent = (getattr(config, "kv_lora_rank", None), getattr(config, "qk_rope_head_dim", None))
    if latent != (512, 64):
        os.environ.setdefault("VLLM_MLA_DISABLE", "1")
    given: dict[str, Any] = {
        "enforce_eager": True,
        # Where a prompt is read in parts it takes back what a seeded sample has drawn, which only CUDA's generators can.
        "enable_chunked_prefill": False,
        # Its rotary kernel turns DeepSeek-V3's queries wrongly.
        "compilation_config": {"custom_ops": ["all", "-rotary_embedding"]},
    }
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        import psutil

        given["kv_cache_memory_bytes"] = int(psutil.virtual_memory().available * _CACHE_SHARE)
    return given


def _load(model: str, given: Mapping[str, Any]) -> Any:
    """The engine, without what its CPU workers do to torch in this process."""
    import torch
    from vllm import LLM

    set_num_threads = torch.set_num_threads
    try:
        return LLM(model=model, disable_log_stats=True, **given).llm_engine
    finally:
        torch.set_num_threads = set_num_threads


def _pack_experts(module: Any) -> None:
    """Packs the weights of fused experts anew, as vLLM does when it loads them for the first time."""
    for layer in module.modules():
        kernel = getattr(getattr(layer, "quant_method", None), "moe_kernel", None)
        if kernel is not None:
            kernel.fused_experts.process_weights_after_loading(layer)
