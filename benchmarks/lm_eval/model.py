"""An lm-eval model over any engine of ours.

What lm-eval's own models of servers lose is kept here: every repeat has a seed of its own, the whole response with its
reasoning, finish reason and tokens stands in a side record, and a run that died goes on where it was.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from benchmarks.lm_eval.record import Record, key
from benchmarks.lm_eval.rows import Row, is_ours
from benchmarks.plan import seeds_of
from benchmarks.types import Ask, BenchEngine, Said, Sampling
from r1env.errors import ConfigError, MissingDependency, RunError, nearest
from r1env.prompts import THINK_CLOSE, THINK_OPEN

try:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM, CacheHook
except ImportError as error:
    raise MissingDependency(
        f"lm-eval cannot be imported ({error}); install it: pip install 'lm-eval>=0.4.13'"
    ) from error

Reasoning = Literal["auto", "keep", "drop"]
REASONING: tuple[Reasoning, ...] = ("auto", "keep", "drop")
MAX_NEW_TOKENS = 256
"""Where a task of lm-eval's says nothing: lm-eval's own default."""

_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the same thing; the first that is given counts, as in lm-eval."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "top_k": (0, -1),
    "min_p": (0,),
    "num_beams": (1,),
    "n": (1,),
    "repetition_penalty": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
}
"""Arguments that our engines do not have, and the values with which they change nothing."""

_logger = logging.getLogger(__name__)


class Chat(str):
    """Chat messages as JSON, where lm-eval wants a prompt's text: engines put their own template to them."""


class EngineLM(LM):
    """An engine as lm-eval sees a model.

    Tasks that `benchmarks.lm_eval.export` wrote are asked with the messages that `r1-bench eval` asks, whether or not
    lm-eval is told to apply a chat template. Other tasks are asked as lm-eval words them.

    Args:
        engine: The engine; whoever made it closes it.
        seed: Of the run; a sample's own follows from it, the task, the problem and the sample's index.
        reasoning: Whether lm-eval gets a response's reasoning. `auto` keeps it for exported tasks, whose graders know
            what it is, and drops it for others, whose filters would read answers from it. Stop texts count behind the
            reasoning only.
        record: A file for whole responses; samples that stand there are not drawn again.
        identity: What makes the engine's samples the same ones, for the record: the model, with its files' hash
            (`benchmarks.engines.fingerprint`), and what runs it. By default what the engine tells of itself.

    Raises:
        ConfigError: an unknown `reasoning`.
        RunError: the record cannot be used.
    """

    def __init__(
        self,
        engine: BenchEngine,
        *,
        seed: int = 0,
        reasoning: Reasoning = "auto",
        record: str | Path | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if reasoning not in REASONING:
            raise ConfigError(f"reasoning = {reasoning!r} does not exist{nearest(str(reasoning), REASONING)}")
        self.engine = engine
        self.seed = seed
        self.reasoning = reasoning
        self.identity = dict(engine.describe() if identity is None else identity)
        self.record = None if record is None else Record(Path(record), self.identity)
        self.said: list[Said] = []
        """All samples so far, in the order they were asked for."""
        self.resumed = 0
        """How many of them stood in the record."""
        self._cached = False

    # What lm-eval asks for.

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """A response to each request; the n-th of equal requests gets the n-th sample.

        Raises:
            ConfigError: generation arguments that the engine does not have; sampling through lm-eval's cache.
            RunError: samples that could not be drawn.
        """
        asks, stops, keeps = [], [], []
        for request in requests:
            sampling, until = _sampling(request.args[1])
            if self._cached and sampling.temperature > 0:
                raise ConfigError(
                    "use_cache knows a prompt's response but not which sample it is: with sampling it draws "
                    "everything anew, or gives all samples one text; leave it out and give record=FILE"
                )
            asks.append(self._ask(request, sampling))
            stops.append(until)
            keeps.append(self.reasoning == "keep" or (self.reasoning == "auto" and is_ours(request.doc)))
        said = self._draw(self._numbered(asks), quiet=disable_tqdm)
        self.said += said
        return [_answer(one.text, until, keep) for one, until, keep in zip(said, stops, keeps, strict=True)]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Summed log-probability of each continuation, nats, and whether it is the greedy one.

        Raises:
            ConfigError: the engine cannot tell, or the context is a chat.
        """
        pairs = [request.args for request in requests]
        if any(isinstance(context, Chat) for context, _ in pairs):
            raise ConfigError(
                "log-likelihoods are of plain texts, and these contexts are chats; leave out apply_chat_template"
            )
        return self.engine.loglikelihoods(pairs) if pairs else []

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of each whole text, nats.

        Raises:
            ConfigError: the engine cannot tell.
            SampleError: a text is longer than the model's context, and the engine has no `rolling`.
        """
        texts = [request.args[0] for request in requests]
        if not texts:
            return []
        if (rolling := getattr(self.engine, "rolling", None)) is not None:
            return list(rolling(texts))
        return [total for total, _ in self.engine.loglikelihoods([("", text) for text in texts])]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The messages as they are.

        Raises:
            ConfigError: the assistant's turn is begun (`gen_prefix`): the engines open it themselves.
        """
        if not add_generation_prompt:
            raise ConfigError(
                "a task with gen_prefix begins the assistant's turn, and engines open that turn themselves; "
                "leave out apply_chat_template for it"
            )
        return Chat(json.dumps(chat_history, ensure_ascii=False))

    @property
    def tokenizer_name(self) -> str:
        """Names what `apply_chat_template` does, for lm-eval's cache of requests."""
        return "r1-bench-messages"

    def set_cache_hook(self, cache_hook: CacheHook) -> None:
        """Takes note of lm-eval's cache of responses (`use_cache`)."""
        super().set_cache_hook(cache_hook)
        self._cached = True

    def get_model_info(self) -> dict[str, Any]:
        """For lm-eval's results."""
        return {
            "engine": self.engine.name,
            "engine_facts": dict(self.engine.describe()),
            "identity": self.identity,
            "engine_seed": self.seed,
            "reasoning": self.reasoning,
            "record": None if self.record is None else str(self.record.path),
        }

    # Samples.

    def _ask(self, request: Instance, sampling: Sampling) -> Ask:
        context = request.args[0]
        told = json.loads(context) if isinstance(context, Chat) else context
        if is_ours(request.doc):
            row = Row.of(request.doc)
            if told not in row.contexts:
                raise ConfigError(
                    f"{request.task_name} was given a system instruction, a description or examples, and "
                    f"{row.benchmark}'s protocol has none; leave them out"
                )
            benchmark, problem, messages = row.benchmark, row.problem.task.id, row.problem.messages
        else:
            benchmark = str(request.task_name)
            problem = hashlib.sha256(context.encode()).hexdigest()[:16]
            messages = told if isinstance(told, str) else tuple(told)
        return Ask(benchmark=benchmark, problem=problem, sample=0, messages=messages, seed=0, sampling=sampling)

    def _numbered(self, asks: Sequence[Ask]) -> list[Ask]:
        """The requests with sample index and seed: the n-th that asks the same is sample n."""
        places: dict[tuple[str, str, Sampling], list[int]] = collections.defaultdict(list)
        for place, ask in enumerate(asks):
            places[ask.benchmark, ask.problem, ask.sampling].append(place)
        numbered = list(asks)
        for (benchmark, problem, _), same in places.items():
            for sample, seed in enumerate(seeds_of(self.seed, benchmark, problem, len(same))):
                numbered[same[sample]] = dataclasses.replace(asks[same[sample]], sample=sample, seed=seed)
        return numbered

    def _draw(self, asks: Sequence[Ask], *, quiet: bool) -> list[Said]:
        keys = [key(ask) for ask in asks]
        found = {} if self.record is None else self.record.find(asks)
        self.resumed += len(found)
        missing = [ask for ask, its in zip(asks, keys, strict=True) if its not in found]
        failed_before = len(self.engine.failed)
        for said in tqdm(self.engine.generate(missing), total=len(missing), desc="samples", disable=quiet):
            if self.record is not None:
                self.record.add(said)
            found[key(said.ask)] = said
        lost = sum(its not in found for its in keys)
        if lost:
            why = [str(error) for _, error in self.engine.failed[failed_before:]][:1]
            kept = "the record keeps the others" if self.record else "with record=FILE the others would be kept"
            raise RunError(
                f"{lost} of {len(asks)} samples could not be drawn{': ' if why else ''}{''.join(why)}; "
                f"run again, {kept}"
            )
        said = [found[its] for its in keys]
        cut = sum(one.finish_reason == "length" for one in said)
        if cut:
            _logger.warning("%d of %d responses were cut at the token limit", cut, len(said))
        return said


def _sampling(given: Mapping[str, Any]) -> tuple[Sampling, list[str]]:
    """What lm-eval's generation arguments mean: sampling, and the stop texts.

    Raises:
        ConfigError: an argument that the engines do not have.
    """
    for name, value in given.items():
        known = name in ("until", "do_sample", "temperature", "top_p", *_LIMITS)
        if not known and value is not None and value not in _NEUTRAL.get(name, ()):
            raise ConfigError(
                f"generation argument {name} = {value!r} is none of the engines'; they have temperature, top_p, "
                "max_gen_toks and until"
            )
    until = given.get("until") or []
    limits = [given[name] for name in _LIMITS if given.get(name) is not None]
    temperature = given.get("temperature")
    if given.get("do_sample") is False:
        temperature = 0.0
    elif temperature is None:
        temperature = 1.0 if given.get("do_sample") else 0.0
    top_p = given.get("top_p")
    sampling = Sampling(
        temperature=float(temperature),
        top_p=1.0 if top_p is None else float(top_p),
        max_new_tokens=int(limits[0]) if limits else MAX_NEW_TOKENS,
    )
    return sampling, [until] if isinstance(until, str) else [text for text in until if text]


def _answer(text: str, until: Sequence[str], keep_reasoning: bool) -> str:
    """What lm-eval gets of a response: up to the first stop text behind the reasoning."""
    before, closed, after = text.rpartition(THINK_CLOSE)
    if not closed and text.lstrip().startswith(THINK_OPEN):  # cut in its reasoning
        return text if keep_reasoning else ""
    answer = after.lstrip() if closed else after  # a stop text may be a blank line
    blanks = after[: len(after) - len(answer)]
    ends = [place for stop in until if (place := answer.find(stop)) >= 0]
    answer = answer[: min(ends)] if ends else answer
    return before + closed + blanks + answer if keep_reasoning else answer
