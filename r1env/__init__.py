"""Reasoning environments, rule-based rewards and graders. Never imports torch.

    import r1env

    env = r1env.make("r1env/Math-v0", level="add_sub")
    prompt, info = env.reset(seed=0)
    _, reward, *_ = env.step("<think>3 + 4 = 7</think><answer>7</answer>")

Everything that a script needs is here; the modules hold the rest.
"""

from __future__ import annotations

from r1env.difficulty import DifficultyPool
from r1env.env import Ingredients, Judgement, ReasoningEnv, Split, split_of
from r1env.envs import register as _register_built_ins
from r1env.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    EnvError,
    GraderError,
    MissingDependency,
    PluginWarning,
    R1Error,
    RunError,
)
from r1env.pool import GradingPool, PoolStats
from r1env.prompts import Parsed, PromptConfig, build, parse
from r1env.records import Jsonl, Manifest
from r1env.registry import EnvSpec, load_plugins, make, register, registered_ids
from r1env.rewards import RewardConfig, compose
from r1env.spaces import TextSpace
from r1env.types import Completion, Grade, Message, Rollout, Task, Transcript, Turn, Verdict
from r1env.vector import VectorEnv, make_vec

__all__ = [
    "CheckpointError",
    "Completion",
    "ConfigError",
    "DataError",
    "DifficultyPool",
    "EnvError",
    "EnvSpec",
    "Grade",
    "GraderError",
    "GradingPool",
    "Ingredients",
    "Jsonl",
    "Judgement",
    "Manifest",
    "Message",
    "MissingDependency",
    "Parsed",
    "PluginWarning",
    "PoolStats",
    "PromptConfig",
    "R1Error",
    "ReasoningEnv",
    "RewardConfig",
    "Rollout",
    "RunError",
    "Split",
    "Task",
    "TextSpace",
    "Transcript",
    "Turn",
    "VectorEnv",
    "Verdict",
    "build",
    "compose",
    "load_plugins",
    "make",
    "make_vec",
    "parse",
    "register",
    "registered_ids",
    "split_of",
]

_register_built_ins()
