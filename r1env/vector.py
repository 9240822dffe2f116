"""`VectorEnv`: many copies of one environment, whose responses are graded together in a `GradingPool`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector import VectorEnv as GymVectorEnv
from gymnasium.vector.utils import batch_space

from r1env.env import ReasoningEnv
from r1env.errors import ConfigError, EnvError
from r1env.pool import GradingPool
from r1env.registry import EnvSpec

Texts: TypeAlias = "tuple[str, ...]"
Seeds: TypeAlias = "int | Sequence[int | None] | None"
Step: TypeAlias = (
    "tuple[Texts, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], dict[str, Any]]"
)


class VectorEnv(GymVectorEnv[Texts, Sequence[str], np.ndarray]):
    """Copies of an environment; one `step` grades the responses of all, in killable workers.

    What it returns is what Gymnasium's `SyncVectorEnv` returns for the same seeds, but that a grade which
    hangs costs its deadline and no more. Nothing resets by itself (`AutoresetMode.DISABLED`): after a step
    every episode of a single-turn environment has ended, and `reset` starts the next ones; to step an ended one
    is an error, so that of several turns those that have ended are to be reset by mask.

    ## Observation space
    A `gymnasium.spaces.Tuple` of the environment's own, one text a copy.

    ## Action space
    The same, one response a copy; any sequence of texts will do.

    ## Information
    Arrays over the copies under the environment's names, and masks `_<name>` of who has them.

    Args:
        spec: The environment.
        num_envs: Copies.
        workers: Grading processes; they start here.
        deadline_s: Seconds for one grade (`GradingPool`); None for what the environment says.

    Raises:
        ConfigError: no copies, or an environment with a `step` of its own.
        GraderError: a worker could not start.
    """

    metadata: ClassVar[dict[str, Any]]  # type: ignore[misc]

    def __init__(
        self, spec: EnvSpec, num_envs: int, *, workers: int = 2, deadline_s: float | None = None
    ) -> None:
        if num_envs < 1:
            raise ConfigError(f"a vector of {num_envs} environments cannot be stepped; give at least 1")
        self.envs = [spec.make() for _ in range(num_envs)]
        first = self.envs[0]
        if type(first).step is not ReasoningEnv.step:
            raise ConfigError(
                f"{first.id} has a step of its own, which workers cannot take; let it define follow_up for "
                "several turns, or use gymnasium.vector.SyncVectorEnv"
            )
        self.num_envs = num_envs
        self.spec = first.spec
        self.render_mode = first.render_mode
        self.metadata = {**first.metadata, "autoreset_mode": AutoresetMode.DISABLED}  # type: ignore[misc]
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, num_envs)
        self.action_space = batch_space(first.action_space, num_envs)
        self._observations = [""] * num_envs
        self.pool = GradingPool(spec, workers=workers, deadline_s=deadline_s or first.grade_deadline_s)
        self.pool.start()

    def reset(  # type: ignore[override]
        self, *, seed: Seeds = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Texts, dict[str, Any]]:
        """Starts an episode in every copy, or in those of a mask.

        Args:
            seed: Of the first copy, the i-th one's is i more; or one for each; None leaves their generators
                as they are.
            options: `reset_mask`, a boolean array [num_envs] of the copies to reset; the rest goes to every
                copy's `reset`.

        Raises:
            EnvError: as many seeds as copies were not given, a mask of another form, or an option that the
                environment does not take.
        """
        options = dict(options or {})
        mask = self._mask(options.pop("reset_mask", None))
        infos: dict[str, Any] = {}
        for index, (env, its_seed) in enumerate(zip(self.envs, self._seeds(seed), strict=True)):
            if mask[index]:
                self._observations[index], info = env.reset(seed=its_seed, options=options)
                infos = self._add_info(infos, info, index)
        return tuple(self._observations), infos

    def step(self, actions: Sequence[str]) -> Step:
        """Grades one response a copy.

        Raises:
            EnvError: not one text for each copy, or copies whose episode has ended or never began.
            GraderError: a worker could not be started again.
        """
        texts = list(actions)
        if len(texts) != self.num_envs or not all(isinstance(text, str) for text in texts):
            raise EnvError(
                f"step got {len(texts)} actions; give {self.num_envs} texts, one for each environment"
            )
        if over := [index for index, env in enumerate(self.envs) if not env.in_episode]:
            raise EnvError(
                f"environments {over} have no episode under way; reset them first (options reset_mask)"
            )
        items = [(env.open_task(), env.transcript(text)) for env, text in zip(self.envs, texts, strict=True)]
        grades = self.pool.grade(items)
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        terminations, truncations = (np.zeros(self.num_envs, dtype=np.bool_) for _ in range(2))
        infos: dict[str, Any] = {}
        for index, (env, text, grade) in enumerate(zip(self.envs, texts, grades, strict=True)):
            self._observations[index], rewards[index], terminations[index], truncations[index], info = (
                env.advance(text, grade)
            )
            infos = self._add_info(infos, info, index)
        return tuple(self._observations), rewards, terminations, truncations, infos

    def render(self) -> tuple[str | None, ...]:  # type: ignore[override]
        """Each copy's episode so far as text (`render_mode="ansi"`)."""
        return tuple(env.render() for env in self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the workers."""
        self.pool.close()

    def _mask(self, mask: Any) -> npt.NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        given = np.asarray(mask)
        if given.shape != (self.num_envs,) or given.dtype != np.bool_ or not given.any():
            raise EnvError(
                f"reset_mask is {mask!r}; give a boolean array of {self.num_envs} with at least one True"
            )
        return given

    def _seeds(self, seed: Seeds) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + index for index in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise EnvError(f"reset got {len(seed)} seeds; give one number, or {self.num_envs} of them")
        return list(seed)


def make_vec(
    id: str, num_envs: int, *, workers: int = 2, deadline_s: float | None = None, **kwargs: Any
) -> VectorEnv:
    """Makes copies of a registered environment that are graded together.

    Args:
        id: As of `r1env.make`.
        num_envs: Copies.
        workers: Grading processes.
        deadline_s: Seconds for one grade; None for what the environment says.
        **kwargs: Arguments of the environment.

    Raises:
        EnvError: an unknown id.
        ConfigError: an argument that the environment does not take, no copies, or a `step` of its own.
        GraderError: a worker could not start.
    """
    return VectorEnv(EnvSpec(id, kwargs), num_envs, workers=workers, deadline_s=deadline_s)
