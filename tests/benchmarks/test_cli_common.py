"""What all commands of r1-bench share: help, exit codes, clean stdout."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import cli, output
from benchmarks.output import Report
from r1env.errors import MissingDependency
from tests.conftest import ROOT


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["eval"],
        ["show"],
        ["regrade"],
        ["grade"],
        ["plugins"],
        ["plugins", "check"],
        ["plugins", "new"],
        ["doctor"],
    ],
)
def test_help_explains(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and f"usage: {' '.join(['r1-bench', *command])}" in out
    if command not in (["plugins"], ["doctor"]):
        assert "example" in out


@pytest.mark.parametrize("arguments", [[], ["grad"], ["plugins"], ["doctor", "--jsn"], ["grade", "math"]])
def test_what_it_does_not_understand_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1


def replaced(monkeypatch, run) -> None:
    """The doctor's command does something else."""
    from benchmarks import doctor

    monkeypatch.setattr(doctor, "run", run)


def raising(error):
    def run(given):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            MissingDependency("sympy is missing;\npip install it"),
            2,
            "error: sympy is missing; pip install it\n",
        ),
        (ImportError("No module named 'rich'"), 2, "r1-bench doctor says what is missing"),
    ],
)
def test_errors_are_one_line_with_their_exit_code(monkeypatch, capsys, error, code, words):
    replaced(monkeypatch, raising(error))
    assert cli.main(["doctor"]) == code
    out, err = capsys.readouterr()
    assert out == "" and words in err and err.count("\n") == 1


def test_a_bug_keeps_its_traceback(monkeypatch):
    replaced(monkeypatch, raising(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["doctor"])


def test_what_a_library_prints_and_warns_goes_to_stderr(monkeypatch, capsys):
    import warnings

    def run(given):
        print("chatter")
        warnings.warn("look\nout", UserWarning, stacklevel=1)
        return Report(document={"text": "ü\ud800"}, show=lambda: output.say("ü\ud800"), exit_code=1)

    replaced(monkeypatch, run)
    assert cli.main(["doctor", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == {"text": "ü\ud800"} and out.count("\n") == 1
    assert "chatter" in err and "warning: look out" in err
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().out == "ü\\ud800\n"


def test_a_closed_pipe_is_no_traceback():
    code = "import sys; from benchmarks import cli; sys.exit(cli.main(['doctor']))"
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    child.stdout.close()
    assert "Traceback" not in child.stderr.read()
    child.stderr.close()
    child.wait(60)


def test_plain_tables_are_aligned_and_one_line_a_row(capsys):
    output.table(("a", "long column"), [("x\ny", 1), ("three", None)])
    assert capsys.readouterr().out == "a      long column\nx\\ny   1\nthree\n"


def test_a_terminal_gets_rules_and_no_markup_is_read_into_cells(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.table(("check", "seen"), [("FAIL", "[bold]odd[/bold]")])
    out = capsys.readouterr().out
    assert "[bold]odd[/bold]" in out and len(out.splitlines()) > 3


def test_progress_is_told_now_and_then(capsys, monkeypatch):
    import time

    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = output.Progress("graded", 100)
    for done in range(0, 100, 10):
        now[0] += 2.0
        progress.at(done)
    progress.close()
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == ["graded 40 of 100, 4 a second", "graded 90 of 100, 4 a second"]
