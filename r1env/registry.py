"""Registered environments: Gymnasium's registry, plus plugins that load themselves.

A package adds environments through the entry-point group `r1env.envs`; the value is a callable without
arguments that calls `r1env.register`. In its pyproject.toml:

    [project.entry-points."r1env.envs"]
    acme = "acme_parity:register"

Plugins load when an id is first made or listed here, not on `import r1env`: a plugin imports r1env itself.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from r1env.env import ReasoningEnv
from r1env.errors import ConfigError, EnvError, PluginWarning, nearest

GROUP = "r1env.envs"


class _TakenId(EnvError):
    """Two registrations of one id: the only failure of a plugin that must not pass with a warning."""


_ids: set[str] = set()
_plugins_lock = threading.RLock()
_plugins_loaded = False


def register(id: str, entry_point: str | type[ReasoningEnv], **kwargs: Any) -> None:
    """Registers an environment under `namespace/Name-v0`, for `r1env.make` and `gymnasium.make` alike.

    Registering the same id with the same entry point again does nothing.

    Args:
        id: The id; a change of behaviour raises its version.
        entry_point: The class, or "module:Class", which is imported when an environment is first made.
        **kwargs: Default arguments of the class.

    Raises:
        EnvError: the id is malformed, or taken by something else.
    """
    present = gym.registry.get(id)
    if present is not None:
        if (present.entry_point, present.kwargs) == (entry_point, kwargs):
            return
        raise _TakenId(
            f"environment id {id!r} is already registered, by {present.entry_point}; "
            f"choose another name or version for {entry_point}"
        )
    try:
        gym.register(id=id, entry_point=entry_point, kwargs=kwargs)  # type: ignore[arg-type]
    except gym.error.Error as error:
        raise EnvError(
            f"environment id {id!r} cannot be registered: {error}; write namespace/Name-v0"
        ) from error
    _ids.add(id)


def load_plugins() -> None:
    """Calls the entry points of the group `r1env.envs`, once in a process.

    A plugin that fails gives a `PluginWarning` with its distribution's name, and breaks nothing else.

    Raises:
        EnvError: two plugins claim the same id (after all others have loaded).
    """
    global _plugins_loaded
    with _plugins_lock:
        if _plugins_loaded:
            return
        _plugins_loaded = True  # a plugin may itself call make() while it loads
        conflicts = []
        for entry_point in importlib.metadata.entry_points(group=GROUP):
            distribution = entry_point.dist.name if entry_point.dist is not None else entry_point.value
            try:
                entry_point.load()()
            except _TakenId as error:
                conflicts.append(f"plugin {distribution}: {error}")
            except Exception as error:
                message = (
                    f"plugin {distribution} ({entry_point.name} = {entry_point.value}) was left out: "
                    f"{type(error).__name__}: {error}; update or uninstall it"
                )
                warnings.warn(message, PluginWarning, stacklevel=2)
        if conflicts:
            _plugins_loaded = False
            raise EnvError("; ".join(conflicts))


def registered_ids() -> list[str]:
    """All ids registered through `register`, plugins included, sorted."""
    load_plugins()
    return sorted(_ids)


def make(id: str, **kwargs: Any) -> ReasoningEnv:
    """Makes a registered environment, without Gymnasium's wrappers.

    Args:
        id: A registered id, or "module:id" to import a module first that registers it.
        **kwargs: Arguments of the environment, such as `split`, `level`, `reward`.

    Raises:
        EnvError: an unknown id (the message names the nearest), or an environment of another kind.
        ConfigError: an argument that the environment does not take.
    """
    load_plugins()
    module, _, name = id.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise EnvError(
                f"environment id {id!r} names a module that is missing: {error}; install it"
            ) from error
    if name not in gym.registry:
        raise EnvError(f"environment id {name!r} is not registered{nearest(name, registered_ids())}")
    _check_arguments(name, kwargs)
    env = gym.make(name, disable_env_checker=True, **kwargs).unwrapped
    if not isinstance(env, ReasoningEnv):
        raise EnvError(
            f"environment {name!r} is a {type(env).__name__}; only subclasses of ReasoningEnv fit here"
        )
    return env


def _check_arguments(id: str, arguments: Mapping[str, Any]) -> None:
    entry_point = gym.registry[id].entry_point
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    parameters = inspect.signature(creator).parameters if creator is not None else {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in arguments:
        if name not in parameters:
            raise ConfigError(f"environment {id} takes no argument {name!r}{nearest(name, tuple(parameters))}")


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """An environment to be made elsewhere, for instance in a grading worker. Picklable."""

    id: str
    """A registered id, or "module:id" where a module has to be imported first."""
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of the environment."""

    def make(self) -> ReasoningEnv:
        """Makes it.

        Raises:
            EnvError: an unknown id.
        """
        return make(self.id, **self.kwargs)
