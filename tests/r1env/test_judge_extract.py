"""The program in a response."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1env.errors import ConfigError
from r1env.judge import extract_code, parses, recognise
from r1env.judge.extract import MAX_CODE_CHARS

PYTHON = "def f(x):\n    return x"
CPP = "#include <iostream>\nint main() { std::cout << 1; }"
JAVASCRIPT = "const x = require('fs');\nconsole.log(x);"


def fenced(code: str, tag: str = "") -> str:
    return f"```{tag}\n{code}\n```"


def code(text: str, language: str = "python") -> str | None:
    found = extract_code(text, language)
    return None if found is None else found.code


@pytest.mark.parametrize("tag", ["python", "py", "Python", "python3", "PYTHON", " python", "{.python}", ""])
def test_a_block_by_its_tag(tag):
    assert code(f"So:\n{fenced(PYTHON, tag)}\nThat is all.") == PYTHON


def test_the_last_block_of_the_language_counts():
    two = fenced("x = 1", "python") + "\nand then\n" + fenced(PYTHON, "python")
    assert code(two) == PYTHON
    assert code(f"{fenced(PYTHON, 'python')}\nIt prints\n{fenced('1 2 3')}") == PYTHON, (
        "an output is no program"
    )
    assert code(f"{fenced('ls', 'bash')}\n{fenced(PYTHON)}\n{fenced('{}', 'json')}") == PYTHON
    assert code(f"{fenced(CPP, 'c++')}\n{fenced(PYTHON, 'py')}", "cpp") == CPP
    assert code(fenced(CPP, "cpp")) is None and code(fenced(PYTHON, "python"), "cpp") is None


def test_reasoning_is_not_the_answer():
    draft = fenced("x = 0", "python")
    assert code(f"<think>{draft}</think>{fenced(PYTHON, 'python')}") == PYTHON
    assert code(f"<think>{draft}</think><answer>{fenced(PYTHON, 'python')}</answer>") == PYTHON
    assert code(f"<think>{fenced(PYTHON, 'python')}</think>I do not know!") is None
    assert code(f"<think>{fenced(PYTHON, 'python')}") is None, "cut within the reasoning"


def test_without_a_block_the_answer_must_be_a_program_by_itself():
    assert code(f"<think>hm</think><answer>{PYTHON}</answer>") == PYTHON
    assert code("The answer is the following function.") is None
    assert code(CPP, "cpp") == CPP and code(JAVASCRIPT, "javascript") == JAVASCRIPT
    assert code(PYTHON, "cpp") is None and code("", "python") is None


def test_fences_of_other_kinds():
    assert code(f"~~~python\n{PYTHON}\n~~~") == PYTHON
    assert code("````python\nx = '''\n```\n'''\n````") == "x = '''\n```\n'''"
    assert code(f"1. So\n   ```python\n{PYTHON}\n   ```") == PYTHON
    assert code("```python\r\nx = 1\r\n```\r\n") == "x = 1\r"
    assert code(f"```python\n{PYTHON}") == PYTHON, "never closed"
    assert code("x = 1 ```python\ny = 2\n```") is None
    assert code(fenced("", "python")) is None


def test_too_long_is_no_answer():
    assert code(fenced("x = 1\n" * MAX_CODE_CHARS, "python")) is None
    assert code("x = 1\n" * MAX_CODE_CHARS) is None


def test_facts():
    assert parses(PYTHON) and not parses("def f(:") and not parses(CPP)
    assert [recognise(text) for text in (PYTHON, CPP, JAVASCRIPT)] == ["python", "cpp", "javascript"]
    assert recognise("def f(x)\n    return x") == "python", "broken, but no other language"
    for prose in ("", "42", "Hello", "The answer is yes.", "x"):
        assert recognise(prose) is None, prose


def test_an_unknown_language_is_an_error():
    with pytest.raises(ConfigError, match="did you mean 'python'"):
        extract_code("x", "pyhton")


@given(st.text(alphabet="`~\n abp<>/think{}()'\"\\#:", max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_has_a_program_or_none(text):
    found = extract_code(text, "python")
    assert found is None or found.code in text or found.code.strip("\n") in text


@pytest.mark.parametrize(
    "part", ["```\n", "```", "~~~a\n", "`", "(", "[", "-", "not ", "a.", "lambda:", "x=", "{", "f'{", "\\", "```python\n", "1+", "if 1:\n "]
)  # fmt: skip
def test_hostile_texts_are_quick(part):
    started = time.process_time()
    for length in (50_000, 1_000_000):
        text = part * (length // len(part))
        (
            extract_code(text, "python"),
            extract_code(f"```python\n{text}\n```", "python"),
            recognise(text),
            parses(text),
        )
    assert time.process_time() - started < 3.0
