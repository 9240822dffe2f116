"""From a configuration to the parts of a run: environment, policy, tokenizer, engine, grading pools."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from agents.config import EnvConfig, ModelConfig, PromptConfig
from agents.config.parts import Grading, Machine, Sampled
from agents.evaluate import Evaluator
from model import fused
from model.engine import build as build_engine
from r1env import EnvSpec, GradingPool, ReasoningEnv, prompts, records
from r1env.errors import CheckpointError, ConfigError


def prepare_torch(cfg: Machine) -> torch.device:
    """Threads, seeds and the device.

    Raises:
        ConfigError: the device is not there.
    """
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    torch.manual_seed(cfg.seed)
    name = cfg.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    elif name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device={name}: torch sees no CUDA device; device=cpu or device=auto runs here")
    return torch.device(name)


def env_spec(env: EnvConfig, **changed: Any) -> EnvSpec:
    """The environment as a picklable recipe, which grading workers build for themselves."""
    return EnvSpec(env.id, {**env.kwargs(), **{k: v for k, v in changed.items() if v is not None}})


def prompt_config(prompt: PromptConfig) -> prompts.PromptConfig:
    """The configuration's prompt as r1env's."""
    return prompts.PromptConfig(**dataclasses.asdict(prompt))


def load_policy(config: ModelConfig, device: torch.device, seed: int) -> tuple[Any, Any]:
    """The policy and tokenizer of `model.path`; LoRA adapters added if asked for.

    Raises:
        CheckpointError: the directory or its tokenizer is missing or damaged.
        ConfigError: LoRA is asked for on a V3 policy.
    """
    import model

    if config.path is None:
        raise ConfigError(f"model.path must be given for model={config.name}: a directory or a hub name")
    policy: Any = model.load(config.path, dtype=config.dtype, device=device)
    tokenizer = load_tokenizer(config.path)
    if config.lora.rank:
        if not hasattr(policy, "add_lora"):
            raise ConfigError(
                "model.lora.rank: LoRA is for Hugging Face models; set model.lora.rank=0 for this one"
            )
        policy.add_lora(rank=config.lora.rank, alpha=config.lora.alpha, seed=seed)
    return policy, tokenizer


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a directory or a hub name.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        return _tokenizer_class(Path(path)).from_pretrained(path)
    except Exception as error:  # whatever a damaged file makes the readers raise
        reason = next(iter(str(error).splitlines()), "")
        raise CheckpointError(
            f"{path} has no tokenizer that loads: {type(error).__name__}: {reason}"
        ) from error


def _tokenizer_class(path: Path) -> Any:
    """AutoTokenizer, but where the files name the class that has no code of its own (a tiny policy's, for one): to know all
    the others takes AutoTokenizer two seconds of imports."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        named = json.loads((path / "tokenizer_config.json").read_text()).get("tokenizer_class")
        if named == "TokenizersBackend":
            from transformers import PreTrainedTokenizerFast

            return PreTrainedTokenizerFast
    from transformers import AutoTokenizer

    return AutoTokenizer


def file_inputs(*paths: str | None) -> dict[str, str]:
    """path → sha256 of the local files a run reads; hub names and generators have none."""
    found: dict[str, str] = {}
    for path in (Path(p) for p in paths if p):
        files = sorted(path.glob("*")) if path.is_dir() else [path]
        found |= {str(f): records.sha256_file(f) for f in files if f.is_file()}
    return found


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a training script works with."""

    env: ReasoningEnv
    policy: Any
    tokenizer: Any
    engine: Any
    pool: GradingPool
    evaluator: Evaluator
    prompt: prompts.PromptConfig
    device: torch.device


@contextlib.contextmanager
def parts(
    cfg: Sampled,
    load: Callable[[torch.device], tuple[Any, Any]],
    *,
    temperature: float,
    max_new_tokens: int,
) -> Iterator[Parts]:
    """Build everything, the environment first (its mistakes are found before a model is loaded).

    Args:
        cfg: the command's configuration.
        load: makes policy and tokenizer on a device.
        temperature: of evaluation samples.
        max_new_tokens: of evaluation samples.
    """
    device = prepare_torch(cfg)
    spec = env_spec(cfg.env)
    env = spec.make()
    env.num_tasks("train")  # reads a dataset's file now
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(grading_pool(spec, env, cfg.agent))
        eval_pool = pool
        if cfg.eval.extraction not in (None, cfg.env.extraction):
            eval_spec = env_spec(cfg.env, extraction=cfg.eval.extraction)
            eval_pool = stack.enter_context(grading_pool(eval_spec, env, cfg.agent))
        policy, tokenizer = load(device)
        fused.compile_ahead(policy)
        engine = build_engine(
            cfg.engine.name,
            policy,
            tokenizer,
            max_rows=cfg.engine.max_rows,
            max_cache_tokens=cfg.engine.max_cache_tokens,
            speculate=cfg.engine.speculate,
            batch_invariant=cfg.engine.batch_invariant,
        )
        prompt = prompt_config(cfg.prompt)
        evaluator = Evaluator(
            engine=engine,
            tokenizer=tokenizer,
            pool=eval_pool,
            prompt=prompt,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            seed=cfg.seed,
            language=env.language,
        )
        yield Parts(
            env=env,
            policy=policy,
            tokenizer=tokenizer,
            engine=engine,
            pool=pool,
            evaluator=evaluator,
            prompt=prompt,
            device=device,
        )


def grading_pool(spec: EnvSpec, env: ReasoningEnv, agent: Grading) -> GradingPool:
    """A pool for an environment, with the environment's own deadline where the agent sets none."""
    deadline_s = agent.grade_deadline_s or env.grade_deadline_s
    return GradingPool(spec, workers=agent.grade_workers, deadline_s=deadline_s)
