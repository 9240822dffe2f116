"""HumanEval+ and MBPP+ in forms that our sandbox runs.

Their tests compare with numpy, which the sandbox does not have: a few lines that mean the same stand in for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1env.judge import harness_tests, to_json

_NUMPY = "import numpy as np\n"

# What the tests use of numpy: `ndarray` in isinstance checks, and `allclose` on numbers and lists of them.
_STAND_IN = """\
class np:
    ndarray = ()
    float64 = float32 = float

    @staticmethod
    def allclose(one, other, rtol=1e-05, atol=1e-08):
        if isinstance(one, (list, tuple)) or isinstance(other, (list, tuple)):
            if not isinstance(one, (list, tuple)) or not isinstance(other, (list, tuple)) or len(one) != len(other):
                return False
            return all(np.allclose(a, b, rtol, atol) for a, b in zip(one, other))
        return one == other or abs(one - other) <= atol + rtol * abs(other)

"""

_ASKED = "Give the whole function, with what it imports, in one Python code block."


def _without_numpy(source: str) -> str:
    if _NUMPY not in source:
        raise ValueError("the tests do not import numpy as EvalPlus' do")
    return source.replace(_NUMPY, _STAND_IN, 1)


def humaneval_row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of HumanEval+ as one of HumanEval."""
    keys = ("task_id", "prompt", "entry_point", "canonical_solution")
    return {**{key: row[key] for key in keys}, "test": _without_numpy(row["test"])}


def mbpp_row(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of MBPP+, whose tests are more than those of its list, as a problem of our own form."""
    imports = "".join(f"{line}\n" for line in row.get("test_imports") or () if line not in row["test"])
    tests = harness_tests(imports + _without_numpy(row["test"]), reference=row["code"])
    shown = row["test_list"][0].strip()
    return {
        "id": f"Mbpp/{row['task_id']}",
        "prompt": f"{row['prompt'].strip()}\n\nThis must hold:\n\n```python\n{shown}\n```\n\n{_ASKED}",
        "tests": to_json(tests),
        "reference": row["code"],
    }
