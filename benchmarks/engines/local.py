"""Sampling in this process: `native` for DeepSeek-V3 policies, `transformers` for any Hugging Face model.

Both are `model.engine`, so that requests enter and leave a running batch. A sample's draws follow from its own seed,
whatever else is in the batch.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

import model
from benchmarks.engines import Setup, texts
from benchmarks.types import Ask, Said, SampleError
from model.engine import Request, SamplingParams
from model.engine import build as build_engine
from model.tokenizer import encode_prompt
from r1env import records
from r1env.errors import CheckpointError, ConfigError

MAX_ROWS = {"cpu": 64, "cuda": 256}
"""Samples written at a time, unless `max_rows` says otherwise. Those that are not finished are lost with the process, and
a CPU writes hardly more a second with more of them."""
_MEMORY_SHARE = 1 / 4
"""Of the machine's memory, or the GPU's, that the cache may take."""
_LOGITS_BYTES = 2**28
"""Of the logits that log-likelihoods are read from at once."""


def open(setup: Setup) -> LocalEngine:
    """Loads a checkpoint directory or a hub name.

    Raises:
        CheckpointError: it cannot be loaded, or has no tokenizer.
        ConfigError: the engine does not fit the model.
    """
    from transformers import AutoTokenizer

    policy: Any = model.load(setup.model, dtype=setup.dtype)
    try:
        tokenizer = AutoTokenizer.from_pretrained(setup.model)
    except Exception as error:  # whatever a damaged file makes the readers raise
        reason = next(iter(str(error).splitlines()), "")
        raise CheckpointError(
            f"{setup.model} has no tokenizer that loads: {type(error).__name__}: {reason}"
        ) from error
    return LocalEngine(policy, tokenizer, setup)


class LocalEngine:
    """Samples from a policy in this process.

    Args:
        policy: The model.
        tokenizer: Its own.
        setup: How it came about.

    Raises:
        ConfigError: the engine does not fit the model.
    """

    def __init__(self, policy: Any, tokenizer: Any, setup: Setup) -> None:
        self.name = setup.engine
        self.failed: list[tuple[Ask, SampleError]] = []
        self.policy, self.tokenizer = policy, tokenizer
        self.context = int(_config(policy).max_position_embeddings)
        """Tokens of prompt and response together, at most."""
        room = max(self.context, int(_memory_bytes(policy.device) * _MEMORY_SHARE / _bytes_per_token(policy)))
        self._rows = int(setup.options.get("max_rows", MAX_ROWS.get(policy.device.type, MAX_ROWS["cuda"])))
        self._engine = build_engine(self.name, policy, tokenizer, max_rows=self._rows, max_cache_tokens=room)

    def describe(self) -> dict[str, Any]:
        """Model, dtype, chat template, device, threads, versions, hardware."""
        template = self.tokenizer.chat_template
        config = _config(self.policy)
        device = self.policy.device
        return {
            "engine": self.name,
            "model_type": getattr(config, "model_type", "deepseek_v3"),
            "commit": getattr(config, "_commit_hash", None),
            "parameters": sum(weight.numel() for weight in self.policy.parameters()),
            "dtype": str(self.policy.lm_head_weight.dtype).removeprefix("torch."),
            "context": self.context,
            "chat_template_sha256": template and hashlib.sha256(str(template).encode()).hexdigest(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads(),
            "versions": records.versions(),
            "hardware": records.hardware(),
        }

    def generate(self, asks: Iterable[Ask]) -> Iterator[Said]:
        """Samples as they finish. Takes so many asks ahead that a row that ends always finds a successor.

        Raises:
            ConfigError: chat messages for a model without a chat template.
        """
        source, numbers = iter(asks), itertools.count()
        unread: collections.deque[tuple[Ask, int]] = collections.deque()  # their prompts fill the context
        open_asks: dict[int | str, tuple[Ask, float, int, str]] = {}
        prompt: tuple[Any, list[int], str] = (
            None,
            [],
            "",
        )  # samples of one problem share it, and follow each other

        def fill() -> None:
            nonlocal prompt
            while len(open_asks) < 2 * self._rows and (ask := next(source, None)) is not None:
                if ask.messages is not prompt[0]:
                    prompt = (ask.messages, *self._encode(ask))
                _, ids, opened = prompt
                room = self.context - len(ids)
                if room < 1:
                    unread.append((ask, len(ids)))
                    continue
                number = next(numbers)
                open_asks[number] = (ask, time.perf_counter(), len(ids), opened)
                params = SamplingParams(
                    max_new_tokens=min(ask.sampling.max_new_tokens, room),
                    temperature=ask.sampling.temperature,
                    top_p=ask.sampling.top_p,
                )
                self._engine.submit(Request(id=number, prompt_ids=ids, params=params, seed=ask.seed))

        fill()
        yield from itertools.starmap(texts.unread, _emptied(unread))
        for number, _, completion in self._engine.finished():
            ask, begun, prompt_tokens, opened = open_asks.pop(number)
            yield Said(
                ask=ask,
                text=texts.whole(completion.text, opened),
                finish_reason=completion.finish_reason,
                tokens=len(completion.token_ids),
                prompt_tokens=prompt_tokens,
                seconds=time.perf_counter() - begun,
            )
            fill()
            yield from itertools.starmap(texts.unread, _emptied(unread))

    def _encode(self, ask: Ask) -> tuple[list[int], str]:
        """Token ids of a prompt, and what it writes of the response."""
        if not isinstance(ask.messages, str) and not self.tokenizer.chat_template:
            raise ConfigError(
                "the model's tokenizer has no chat template: it is a base model; give --prompt r1_zero, which words "
                "problems as one text"
            )
        ids = encode_prompt(self.tokenizer, ask.messages)
        return ids, texts.opening(self.tokenizer.decode(ids[-8:]))

    @torch.inference_mode()
    def loglikelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """Summed log-probability of each continuation, and whether each of its tokens is the likeliest.

        Raises:
            SampleError: a pair does not fit the model's context.
        """
        return self._scores([self._pair(*pair) for pair in pairs])

    @torch.inference_mode()
    def rolling(self, documents: Sequence[str]) -> list[float]:
        """Summed log-probability of whole texts of any length, nats.

        A text that is longer than the context is read in windows that share one token, the last of them full: the way
        lm-eval's own models read it.
        """
        windows, owners = [], []
        for owner, text in enumerate(documents):
            ids = [self._start(), *self.tokenizer(text, add_special_tokens=False)["input_ids"]]
            for begin in range(1, len(ids), self.context):
                end = min(begin + self.context, len(ids))
                first = max(0, end - self.context - 1)
                windows.append((ids[first:end], begin - first))
                owners.append(owner)
        totals = [0.0] * len(documents)
        for owner, (total, _) in zip(owners, self._scores(windows), strict=True):
            totals[owner] += total
        return totals

    def _scores(self, encoded: Sequence[tuple[list[int], int]]) -> list[tuple[float, bool]]:
        """Summed log-probability of token ids from a place on, and whether each of them is the likeliest."""
        results: list[tuple[float, bool]] = [(0.0, True)] * len(encoded)
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i][0]))
        per_row = 4 * self.policy.lm_head_weight.shape[0]
        while order:
            width = max(
                1, len(encoded[order[-1]][0]) - 1
            )  # nothing is asked of what comes after the last token
            rows = max(1, _LOGITS_BYTES // (per_row * width))
            batch, order = order[-rows:], order[:-rows]
            ids = torch.zeros(len(batch), width, dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(batch):
                read = torch.tensor(encoded[i][0][:width])
                ids[row, : len(read)], mask[row, : len(read)] = read, 1
            logits = self.policy(ids.to(self.policy.device), mask.to(self.policy.device)).logits
            for row, i in enumerate(batch):
                whole, first = encoded[i]
                said = logits[row, first - 1 : len(whole) - 1].float().cpu()
                wanted = torch.tensor(whole[first:], dtype=torch.int64)
                picked = said.log_softmax(-1).gather(-1, wanted[:, None])
                results[i] = float(picked.double().sum()), bool((said.argmax(-1) == wanted).all())
        return results

    def _pair(self, context: str, continuation: str) -> tuple[list[int], int]:
        """Token ids of both together, and where the continuation begins."""
        context, continuation = texts.split(context, continuation)
        before = list(self.tokenizer(context)["input_ids"])
        ids = list(self.tokenizer(context + continuation)["input_ids"])
        if not before:  # no begin-of-sequence token of its own
            before = [self._start()]
            ids = before + ids
        if len(ids) > self.context:
            raise SampleError(
                f"context and continuation have {len(ids)} tokens, and the model's context is {self.context}"
            )
        return ids, min(len(before), len(ids))

    def _start(self) -> int:
        """The token that the first one follows."""
        start = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if start is None else start)

    def close(self) -> None:
        """Nothing is held that the garbage collector does not free."""


def _emptied(queue: collections.deque[tuple[Ask, int]]) -> Iterator[tuple[Ask, int]]:
    while queue:
        yield queue.popleft()


def _config(policy: Any) -> Any:
    return policy.config if hasattr(policy, "config") else policy.model.config


def _bytes_per_token(policy: Any) -> int:
    """Of the cache, in all layers."""
    config = _config(policy)
    if hasattr(config, "kv_lora_rank"):
        width = config.kv_lora_rank + config.qk_rope_head_dim
    else:
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = (
            2 * heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        )
    return int(config.num_hidden_layers * width * policy.lm_head_weight.element_size())


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
