"""IFEval's instructions beside the published implementation, which lm-eval carries, on the benchmark's own prompts."""

from __future__ import annotations

import importlib.util
import json
import sys
import types

import pytest

from r1env.envs import instructions
from r1env.grading import constraints

# They need packages or data that are not here, and what they find differs from ours by design: which language a text is
# in, and where its sentences and words end.
NOT_COMPARED = {
    "language:response_language", "change_case:english_capital", "change_case:english_lowercase",
    "length_constraints:number_sentences", "change_case:capital_word_frequency",
}  # fmt: skip

TEXTS = (
    "So be it.", '"<<A title>>\n\nIt is *good* and **very** [big] and [small]\n* one\n* two\n- three\nP.S. My answer is yes."',
    "one\n\n***\n\ntwo\n\n***\n\nthree", '{"a": [1, 2]}', "```json\n{}\n```", "SECTION 1\nx\nSECTION 2\ny", "yes ******\nno",
    "a, b, c", "",
)  # fmt: skip


@pytest.fixture(scope="module")
def published():
    nltk = pytest.importorskip("nltk")
    pytest.importorskip("lm_eval")
    find, nltk.data.find = nltk.data.find, lambda name: name  # its data would be downloaded on import
    stubs = {"langdetect": {}, "immutabledict": {"immutabledict": dict}}
    missing = {name: names for name, names in stubs.items() if importlib.util.find_spec(name) is None}
    for name, names in missing.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(names)
    try:
        yield pytest.importorskip("lm_eval.tasks.ifeval.utils")
    finally:
        nltk.data.find = find
        for name in missing:
            del sys.modules[name]


def variants(text):
    return (
        text,
        f"Sure, here it is:\n{text}",
        f"{text}\nI hope that helps, friend.",
        f"Well\n{text}\nBye",
        f"**{text}**",
        text[1:],
    )


def test_strictly_and_loosely_as_published(published, data_dir):
    lines = (data_dir / "ifeval/ifeval.jsonl").read_text(encoding="utf-8").splitlines()
    compared, differing = 0, []
    for line in map(json.loads, lines):
        pairs = [
            (id, given)
            for id, given in zip(line["instruction_id_list"], line["kwargs"], strict=True)
            if id not in NOT_COMPARED
        ]
        wanted = [[id, constraints.validate(id, given)] for id, given in pairs]
        composed = instructions.compose(wanted, "rain") if wanted else None
        example = published.InputExample(
            key=0,
            instruction_id_list=[id for id, _ in pairs],
            prompt=line["prompt"],
            kwargs=[given for _, given in pairs],
        )
        for text in (*TEXTS, *variants(composed or "So be it.")):
            strict = published.test_instruction_following_strict(example, text).follow_instruction_list
            loose = published.test_instruction_following_loose(example, text).follow_instruction_list
            for (id, arguments), theirs, theirs_loose in zip(wanted, strict, loose, strict=True):
                ours = bool(text.strip()) and constraints.check(id, arguments, text)
                ours_loose = ours or constraints.check_loosely(id, arguments, text)
                compared += 1
                if (ours, ours_loose) != (bool(theirs), bool(theirs_loose)):
                    differing.append((id, arguments, text[:80], (ours, ours_loose), (theirs, theirs_loose)))
    assert compared > 8_000
    assert len(differing) <= 0.002 * compared, differing[:20]
