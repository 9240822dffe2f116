from __future__ import annotations

import importlib.metadata
import os
import pickle
import subprocess
import sys
import textwrap

import pytest
import toy_envs

import r1env
from r1env import ConfigError, EnvError, EnvSpec, ReasoningEnv

HEAVY = ("torch", "transformers", "vllm", "sympy", "math_verify", "datasets", "pandas", "model", "agents")


def run_python(code: str, *paths: os.PathLike) -> subprocess.CompletedProcess:
    path = os.pathsep.join([*map(str, paths), *filter(None, sys.path), os.getcwd()])
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})


def test_importing_loads_nothing_heavy():
    code = f"""
    import sys, r1env
    env = r1env.make("r1env/Math-v0")
    env.reset(seed=0); env.step("<think>x</think><answer>1</answer>")
    print([name for name in {HEAVY} if name in sys.modules])
    """
    done = run_python(code)
    assert done.stdout.strip() == "[]", done.stderr


def test_unknown_ids_name_the_nearest():
    with pytest.raises(EnvError, match="did you mean 'r1env/Math-v0'"):
        r1env.make("r1env/Maths-v0")
    with pytest.raises(EnvError, match="no_such_module"):
        r1env.make("no_such_module:x/Y-v0")
    with pytest.raises(EnvError, match="only subclasses of ReasoningEnv"):
        r1env.make("CartPole-v1")


def test_an_unknown_argument_names_the_nearest():
    with pytest.raises(ConfigError, match="takes no argument 'levle'; did you mean 'level'"):
        r1env.make("r1env/Math-v0", levle="times")


def test_registering_again_is_fine_and_a_conflict_is_not():
    r1env.register("toy/Parity-v0", "toy_envs:ParityEnv")
    with pytest.raises(EnvError, match=r"'toy/Parity-v0' is already registered, by toy_envs:ParityEnv"):
        r1env.register("toy/Parity-v0", "toy_envs:MoodyEnv")
    with pytest.raises(EnvError, match="already registered"):
        r1env.register("toy/Parity-v0", "toy_envs:ParityEnv", level="hard")
    with pytest.raises(EnvError, match="cannot be registered"):
        r1env.register("not an id", "toy_envs:ParityEnv")


def test_a_spec_travels():
    spec = EnvSpec("toy_envs:toy/Parity-v0", {"split": "test", "reward": r1env.RewardConfig("r1")})
    copy = pickle.loads(pickle.dumps(spec))
    env = copy.make()
    assert copy == spec and isinstance(env, toy_envs.ParityEnv) and isinstance(env, ReasoningEnv)
    assert (env.id, env.split, env.reward_config.preset) == ("toy/Parity-v0", "test", "r1")


@pytest.fixture
def plugins(tmp_path):
    """Installs packages by hand: a module and its metadata on the path."""

    def install(**sources: str):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
            info = tmp_path / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
            )
            (info / "entry_points.txt").write_text(f"[r1env.envs]\n{name} = {name}:register\n")
        return tmp_path

    return install


GOOD = """
import r1env

class Env(r1env.ReasoningEnv):
    def generate(self, rng, level):
        n = int(rng.integers(1_000))
        return f"Say {n}.", str(n), {}

    def check(self, task, answer):
        return answer == task.answer

def register():
    r1env.register("acme/Say-v0", "acme_good:Env")
"""


def test_plugins_load_themselves_and_a_broken_one_breaks_nothing(plugins):
    path = plugins(
        acme_good=GOOD,
        acme_broken="import no_such_package",
        acme_raises="def register():\n    raise RuntimeError('no licence')",
    )
    code = """
    import warnings, r1env
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env = r1env.make("acme/Say-v0")
        r1env.make("acme/Say-v0")
    task = env.task(index=0)
    print(env.grade(task, env.oracle(task)).verdict)
    print("acme/Say-v0" in r1env.registered_ids(), "r1env/Math-v0" in r1env.registered_ids())
    for warning in caught:
        print(warning.category.__name__, warning.message)
    """
    lines = run_python(code, path).stdout.splitlines()
    assert lines[:2] == ["correct", "True True"]
    assert sorted(line.split(" (")[0] for line in lines[2:]) == [
        "PluginWarning plugin acme-broken",
        "PluginWarning plugin acme-raises",
    ]


def test_a_plugin_that_imports_first_loads_too(plugins):
    path = plugins(acme_good=GOOD)
    done = run_python("import acme_good, r1env; print(r1env.make('acme/Say-v0').id)", path)
    assert (done.stdout.strip(), done.stderr) == ("acme/Say-v0", "")


def test_two_plugins_with_one_id_is_an_error(plugins):
    path = plugins(acme_good=GOOD, acme_other=GOOD.replace("acme_good", "acme_other"))
    done = run_python("import r1env; r1env.make('r1env/Math-v0')", path)
    assert "EnvError: plugin acme-" in done.stderr and "already registered" in done.stderr


def test_the_built_ins_are_registered_the_same_way():
    entry_points = importlib.metadata.entry_points(group="r1env.envs")
    values = [entry_point.value for entry_point in entry_points]
    if "r1env.envs:register" not in values:
        pytest.skip("the distribution is not installed: no entry points here")
    assert next(e for e in entry_points if e.value == "r1env.envs:register").load()() is None
