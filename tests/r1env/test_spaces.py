from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1env.errors import ConfigError
from r1env.spaces import TextSpace


@given(st.text())
def test_holds_any_text_up_to_its_length(text):
    assert text in TextSpace()
    assert (text in TextSpace(max_length=3)) == (len(text) <= 3)


@pytest.mark.parametrize("thing", [None, 3, b"text", ["text"]])
def test_holds_nothing_but_text(thing):
    assert thing not in TextSpace()


def test_samples_are_seeded_varied_and_inside():
    first, second = TextSpace(seed=5), TextSpace(seed=5)
    samples = [first.sample() for _ in range(50)]
    assert samples == [second.sample() for _ in range(50)]
    assert len(set(samples)) > 40 and all(sample in first for sample in samples)
    assert any(not sample.isascii() for sample in samples)
    assert TextSpace(max_length=0).sample() == ""


def test_equality_json_and_pickle():
    space = TextSpace(max_length=9)
    assert space == TextSpace(max_length=9) != TextSpace(max_length=8)
    assert hash(space) == hash(TextSpace(max_length=9))
    assert space.from_jsonable(space.to_jsonable(["a", "é"])) == ["a", "é"]
    assert pickle.loads(pickle.dumps(space)) == space
    assert not space.is_np_flattenable


def test_misuse_is_named():
    with pytest.raises(ConfigError, match="-1"):
        TextSpace(max_length=-1)
    with pytest.raises(ConfigError, match="mask"):
        TextSpace().sample(mask=1)
