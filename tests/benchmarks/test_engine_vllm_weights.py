"""The vllm engine over mixtures of experts: weights exchanged in place, and engines one after the other in a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.engines import texts
from benchmarks.types import Ask, Sampling
from r1env.errors import ConfigError

pytestmark = pytest.mark.vllm

PAIRS = [("2 + 3 - 1", " = 4"), ("9 - 4", " is 5"), ("a longer text, ", "and its end")]


@pytest.fixture(scope="module")
def policies(tmp_path_factory) -> dict[Path, list[float]]:
    """Checkpoints of two random policies, and what their log-likelihoods of `PAIRS` are."""
    import torch

    import model
    from model import presets, tokenizer

    built, found = tokenizer.build(), {}
    for seed in (0, 1):
        policy = presets.tiny(seed)
        directory = tmp_path_factory.mktemp("tiny") / "checkpoint"
        model.save(policy, directory, tokenizer=built)
        found[directory] = logprobs = []
        for context, continuation in (texts.split(*pair) for pair in PAIRS):
            ids, start = built(context + continuation)["input_ids"], len(built(context)["input_ids"])
            with torch.no_grad():
                rows = policy(torch.tensor([ids])).logits[0, start - 1 : -1].float().log_softmax(-1)
            logprobs.append(rows.gather(-1, torch.tensor(ids[start:])[:, None]).sum().item())
    first, second = found.values()
    assert abs(first[0] - second[0]) > 0.01, "two policies that differ"
    return found


def likelihoods(engine) -> list[float]:
    return [logprob for logprob, _ in engine.loglikelihoods(PAIRS)]


def test_weights_are_exchanged_in_place(policies):
    """vLLM's own reload leaves the packed weights of experts as they were."""
    from benchmarks.engines.vllm import VllmEngine

    first, second = policies
    engine = VllmEngine(first, dtype="float32", max_rows=4, max_tokens=256)
    try:
        assert (engine.describe()["model_type"], engine.describe()["dtype"]) == ("deepseek_v3", "float32")
        assert likelihoods(engine) == pytest.approx(policies[first], abs=1e-3)
        for directory in (first, second, first):
            engine.load_weights(directory)
            assert likelihoods(engine) == pytest.approx(policies[directory], abs=1e-3)
    finally:
        engine.close()


def test_one_engine_after_the_other_and_not_two_at_once(policies):
    from benchmarks.engines.vllm import VllmEngine

    for directory, expected in policies.items():
        engine = VllmEngine(directory, max_rows=4, max_tokens=256)
        try:
            assert engine.describe()["dtype"] == "float32", "as it is stored"
            assert likelihoods(engine) == pytest.approx(expected, abs=1e-3)
            if engine.is_cpu:
                with pytest.raises(ConfigError, match="one model at a time"):
                    VllmEngine(directory)
        finally:
            engine.close()
        engine.close()


def test_seeded_samples_of_more_prompts_than_are_read_at_once(policies):
    from benchmarks.engines.vllm import VllmEngine

    engine = VllmEngine(next(iter(policies)), max_rows=64, max_tokens=400)
    sampling = Sampling(temperature=1.0, top_p=0.95, max_new_tokens=8)
    asks = [
        Ask(benchmark="b", problem=str(n), sample=0, messages=f"{n} " * 80, seed=n, sampling=sampling)
        for n in range(150)
    ]
    try:
        found = list(engine.generate(asks))
        assert sorted(int(said.ask.problem) for said in found) == list(range(150)) and not engine.failed
        assert sum(said.prompt_tokens or 0 for said in found) > 150 * 160
    finally:
        engine.close()


def test_options_that_vllm_does_not_know(policies):
    from benchmarks.engines.vllm import VllmEngine

    with pytest.raises(ConfigError, match=r"does not take these options.*no_such_thing"):
        VllmEngine(next(iter(policies)), no_such_thing=1)
