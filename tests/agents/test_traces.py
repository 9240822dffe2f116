"""What fine-tuning learns from: order, shares, what is held out, what is left out."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import r1env
from agents import traces
from agents.config import DataConfig, SourceConfig
from agents.traces import FixedTraces, MixedTraces, demonstrations, hold_out, samples, total_steps
from model import tokenizer as tokenizers
from r1env import prompts
from r1env.errors import ConfigError, DataError

MIXTURE = {"worked": 1.0, "guess": 0.0, "untagged": 0.0}
PLAIN = prompts.PromptConfig()


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizers.build()


@pytest.fixture(scope="module")
def env():
    return r1env.make("r1env/Math-v0", level="add_sub").unwrapped


def numbered(count: int, start: int = 0):
    """Demonstrations that can be told apart."""
    return [([3, i], [i, 1]) for i in range(start, start + count)]


def write(path, rows):
    path.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in rows))
    return str(path)


def read(data, env, tokenizer, **settings):
    return demonstrations(data, env, tokenizer, PLAIN, **{"seed": 0, "max_tokens": None, **settings})


def test_texts_are_encoded_once(env, tokenizer, monkeypatch):
    mixture = {"worked": 0.4, "guess": 0.2, "untagged": 0.4}
    encoded = []
    monkeypatch.setattr(
        traces, "encode_prompt", lambda *given, by=traces.encode_prompt: encoded.append(given[1]) or by(*given)
    )
    made = traces.EnvTraces(env, tokenizer, PLAIN, mixture, 0)
    first = made.take(0, 300)
    different = len({tuple(prompt) for prompt, _ in first})
    assert len(encoded) == different < 300
    assert made.take(0, 300) == first and len(encoded) == different
    monkeypatch.setattr(traces, "REMEMBERED", 7)  # what no longer fits is encoded anew
    assert traces.EnvTraces(env, tokenizer, PLAIN, mixture, 0).take(0, 300) == first


def test_mixed_working_is_planted_in_its_share(tokenizer):
    both = r1env.make("r1env/Multilingual-v0", languages=["de", "en"], level="one_step").unwrapped
    made = traces.EnvTraces(both, tokenizer, PLAIN, {"worked": 0.5, "mixed": 0.5}, 0)
    texts = [tokenizer.decode(ids) for _, ids in made.take(0, 200)]
    assert 70 < sum("\n" in text for text in texts) < 130


def test_mixed_working_needs_several_languages(env, tokenizer):
    with pytest.raises(ConfigError, match=r"mixed=0\.5: r1env/Math-v0 reasons in one language only"):
        traces.EnvTraces(env, tokenizer, PLAIN, {"worked": 0.5, "mixed": 0.5}, 0)


# --- order -----------------------------------------------------------------------------------------------


def test_every_row_once_an_epoch_and_each_epoch_anew():
    fixed = FixedTraces(numbered(10), seed=3)
    epochs = [[ids[1] for ids, _ in fixed.take(10 * e, 10)] for e in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert epochs[1] == np.random.default_rng([3, 1]).permutation(10).tolist()


def test_a_position_gives_the_same_whatever_was_asked_before(env, tokenizer):
    made = traces.EnvTraces(env, tokenizer, PLAIN, {"worked": 0.5, "guess": 0.3, "untagged": 0.2}, 0)
    whole = made.take(0, 12)
    again = traces.EnvTraces(env, tokenizer, PLAIN, {"worked": 0.5, "guess": 0.3, "untagged": 0.2}, 0)
    # the last of a batch guesses the answer of the one behind it, which is drawn along
    assert [*again.take(8, 4), *again.take(0, 8)] == [*whole[8:], *whole[:8]]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(0.05, 10), min_size=2, max_size=5),
    st.integers(0, 5000),
    st.integers(1, 400),
    st.integers(0, 3),
)
def test_shares_come_out_in_any_stretch(weights, start, count, seed):
    parts = {str(i): (FixedTraces(numbered(7, 1000 * i), seed), w) for i, w in enumerate(weights)}
    mixed = MixedTraces(parts, seed)
    found = Counter(ids[1] // 1000 for ids, _ in mixed.take(start, count))
    shares = np.array(weights) / sum(weights)
    for i, share in enumerate(shares):
        # a prefix is off by less than one and its share of the others'; a thousandth by rounding to places
        assert abs(found[i] - share * count) <= 2 * (1 + len(weights) * share) + 0.002 * (count + 1000)


def test_shares_are_exact_over_a_block():
    parts = {"a": (FixedTraces(numbered(50), 0), 3.0), "b": (FixedTraces(numbered(50, 1000), 0), 1.0)}
    found = Counter(ids[1] // 1000 for ids, _ in MixedTraces(parts, 0).take(5 * traces.BLOCK, traces.BLOCK))
    assert found == {0: 750, 1: 250}


def test_each_source_goes_through_its_own_in_order_without_a_gap():
    def made():
        return {"a": (FixedTraces(numbered(50), 0), 2.0), "b": (FixedTraces(numbered(90, 1000), 0), 1.0)}

    mixed = MixedTraces(made(), 0)
    assert mixed.size == 140
    pieces = [
        pair for start in range(0, 3000, 60) for pair in mixed.take(start, 60)
    ]  # over a block's border too
    own = [pair for pair in pieces if pair[0][1] < 1000]
    assert own == made()["a"][0].take(0, len(own)) and len(own) == 2001
    assert MixedTraces(made(), 0).take(1234, 5) == pieces[1234:1239]  # as a resumed run asks
    assert MixedTraces(made(), 1).take(0, 60) != pieces[:60]


def test_a_source_without_an_end_has_no_epoch(env, tokenizer):
    endless = traces.EnvTraces(env, tokenizer, PLAIN, MIXTURE, 0)
    assert MixedTraces({"env": (endless, 1.0), "a": (FixedTraces(numbered(5), 0), 1.0)}, 0).size is None


def test_a_weight_below_one_place_is_named():
    parts = {"a": (FixedTraces(numbered(5), 0), 1.0), "b": (FixedTraces(numbered(5), 0), 1e-5)}
    with pytest.raises(ConfigError, match=r"the weight 1e-05 of b is less than one demonstration in 1000"):
        MixedTraces(parts, 0)


# --- what is held out, and what is left out --------------------------------------------------------------


@given(st.lists(st.integers(0, 8), min_size=1, max_size=30), st.integers(0, 12))
def test_no_prompt_is_on_both_sides(prompt_ids, count):
    pairs = [([p], [i, 1]) for i, p in enumerate(prompt_ids)]
    training, apart = hold_out(pairs, count)
    assert sorted([*training, *apart]) == sorted(pairs)
    assert {p for (p,), _ in training}.isdisjoint({p for (p,), _ in apart})
    assert len(apart) >= min(count, len(pairs)) and (count or not apart)
    most = max(Counter(prompt_ids).values())
    assert len(apart) < count + most  # and no more than the last prompt brings
    assert hold_out(pairs[::-1], count)[1] == apart[::-1]  # whatever their order


def test_long_rows_are_left_out_and_counted(tmp_path, env, tokenizer):
    file = write(tmp_path / "d.jsonl", [("1 + 1", "2"), ("2 + 2", "4" * 50), ("3 + 3", "6")])
    found = read(DataConfig(source=file, mixture=MIXTURE), env, tokenizer, max_tokens=20)
    assert found.sources == [{"source": file, "weight": None, "rows": 2, "too_long": 1, "held_out": 0}]
    assert found.traces.size == 2 and max(map(traces.length, found.traces.take(0, 20))) <= 20
    limit = max(
        map(traces.length, read(DataConfig(source=file, mixture=MIXTURE), env, tokenizer).traces.take(0, 3))
    )
    whole = read(DataConfig(source=file, mixture=MIXTURE), env, tokenizer, max_tokens=limit)
    assert whole.sources[0]["too_long"] == 0  # at the limit is not beyond it


def test_nothing_left_is_an_error(tmp_path, env, tokenizer):
    file = write(tmp_path / "d.jsonl", [("1 + 1", "2")])
    with pytest.raises(DataError, match=r"1 are longer than agent\.max_tokens=2"):
        read(DataConfig(source=file, mixture=MIXTURE), env, tokenizer, max_tokens=2)
    with pytest.raises(DataError, match="1 are held out: none is left"):
        read(DataConfig(source=file, mixture=MIXTURE, held_out=1), env, tokenizer)


def test_the_environments_held_out_demonstrations_are_of_held_out_tasks(env, tokenizer):
    found = read(DataConfig(source="env", mixture=MIXTURE, held_out=30), env, tokenizer)
    trained = {tuple(ids) for ids, _ in found.traces.take(0, 500)}
    assert len(found.held_out) == 30 and trained.isdisjoint(tuple(ids) for ids, _ in found.held_out)


# --- several sources -------------------------------------------------------------------------------------


def several(*sources) -> DataConfig:
    return DataConfig(source=None, sources=[SourceConfig(s, w) for s, w in sources], mixture=MIXTURE)


def test_files_without_weights_are_one(tmp_path, env, tokenizer):
    a = write(tmp_path / "a.jsonl", [(f"{i} + 1", str(i + 1)) for i in range(5)])
    b = write(tmp_path / "b.jsonl", [(f"{i} - 1", str(i - 1)) for i in range(20)])
    found = read(several((a, None), (b, None)), env, tokenizer)
    assert found.traces.size == 25 == len({tuple(ids) for ids, _ in found.traces.take(0, 25)})


def test_weights_are_realised(tmp_path, env, tokenizer):
    file = write(tmp_path / "a.jsonl", [(f"say {i}", "word") for i in range(5)])
    found = read(several((file, 1.0), ("env", 3.0)), env, tokenizer)
    word = tokenizer.encode("word", add_special_tokens=False)
    drawn = [tail[:-1] == word for _, tail in found.traces.take(0, 400)]
    assert abs(sum(drawn) - 100) <= 2
    assert [s["weight"] for s in found.sources] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ([("a", 1.0), ("b", None)], "b has no weight and others have"),
        ([("a", None), ("env", None)], "the environment has no last row"),
        ([("a", 0.0)], "the weight of a=0.0: must be above 0"),
    ],
)
def test_weights_that_do_not_fit(sources, says):
    with pytest.raises(ConfigError, match=says):
        several(*sources)


def test_one_source_or_several_but_not_both():
    with pytest.raises(ConfigError, match="give one source, or several"):
        DataConfig(source="a", sources=[SourceConfig("b")], mixture=MIXTURE)
    with pytest.raises(ConfigError, match="give one source, or several"):
        DataConfig(source=None, mixture=MIXTURE)


def test_a_source_given_twice_is_named(tmp_path, env, tokenizer):
    file = write(tmp_path / "a.jsonl", [("1", "2")])
    with pytest.raises(ConfigError, match="twice"):
        read(several((file, None), (file, None)), env, tokenizer)


# --- how long --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "size", "expected"), [(2, 64, 2), (2, 65, 3), (0.5, 640, 5), (0.001, 64, 1)]
)
def test_epochs_in_steps_of_64(epochs, size, expected):
    assert total_steps(None, epochs, 64, size) == expected


def test_steps_are_steps_and_what_never_ends_has_no_epochs():
    assert total_steps(7, None, 64, None) == 7
    with pytest.raises(ConfigError, match=r"agent\.epochs=2: the environment makes tasks without end"):
        total_steps(None, 2, 64, None)


def test_prompts_carry_no_loss_and_completions_do():
    (sample,) = samples([([3, 4, 5], [6, 1])])
    assert (sample.prompt, sample.tail, sample.trained) == ((3, 4, 5), (6, 1), (True, True))
