"""The environments that come along; `register` adds them exactly as a plugin adds its own."""

from __future__ import annotations

from r1env.registry import register as register_env


def register() -> None:
    """Registers the built-in environments."""
    register_env("r1env/Math-v0", "r1env.envs.math:MathEnv")
    register_env("r1env/Logic-v0", "r1env.envs.logic.env:LogicEnv")
    register_env("r1env/Multilingual-v0", "r1env.envs.multilingual:MultilingualEnv")
    register_env("r1env/Choice-v0", "r1env.envs.choice:ChoiceEnv")
    register_env("r1env/General-v0", "r1env.envs.general:GeneralEnv")
    register_env("r1env/Code-v0", "r1env.envs.code.env:CodeEnv")
    register_env("r1env/CodeRepair-v0", "r1env.envs.code.env:CodeEnv", turns=2)
    register_env("r1env/Mixture-v0", "r1env.mixture:MixtureEnv")
