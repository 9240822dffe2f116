"""The commands list, eval, show and regrade, with a policy of random weights."""

from __future__ import annotations

import json
import shutil

import pytest

from benchmarks import cli
from r1env.prompts import END_OF_TEXT

SMALL = ("--tasks", "quick-math", "--limit", "6", "--samples", "2", "--max-new-tokens", "8", "--workers", "1")


def run(capsys, *arguments):
    code = cli.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, tiny_base):
    out = tmp_path_factory.mktemp("evaluated") / "out"
    assert cli.main(["eval", "--model", str(tiny_base), *SMALL, "--out", str(out), "--json"]) == 0
    return out


def test_json_is_one_line_and_the_same_when_resumed(evaluated, tiny_base, tmp_path, capsys):
    arguments = ("eval", "--model", tiny_base, *SMALL, "--json")
    code, out, _ = run(capsys, *arguments, "--out", evaluated)
    assert code == 0 and out.count("\n") == 1
    again = json.loads(out)
    assert again["resumed"] == 12 and again["tasks"]["quick-math"]["n"] == 6
    code, out, _ = run(capsys, *arguments, "--out", tmp_path)
    fresh = json.loads(out)
    assert fresh["resumed"] == 0 and fresh["tasks"] == again["tasks"], "the same seed gives the same samples"
    assert fresh["manifest"] == str(tmp_path / "manifest.json")


def test_asking_for_less_says_what_the_figures_cover(evaluated, tiny_base, capsys):
    code, out, err = run(
        capsys, "eval", "--model", tiny_base, *SMALL, "--limit", 3, "--samples", 1, "--out", evaluated, "--json"
    )
    entry = json.loads(out)["tasks"]["quick-math"]
    assert code == 0 and (entry["n"], entry["k"]) == (6, 2)
    assert f"{evaluated} holds 6 problems × 2 of quick-math: the figures cover all of it" in err


def test_what_the_engine_was_is_recorded(evaluated):
    engine = json.loads((evaluated / "manifest.json").read_text())["engine"]
    assert (
        engine["engine"] == "native" and engine["dtype"] == "float32" and engine["model_type"] == "deepseek_v3"
    )
    assert (
        len(engine["chat_template_sha256"]) == 64
        and engine["context"] == 4096
        and "torch" in engine["versions"]
    )


def test_samples_say_how_they_ended(evaluated):
    for line in (evaluated / "samples.jsonl").read_text().splitlines():
        sample = json.loads(line)
        assert sample["finish_reason"] in ("stop", "length") and 1 <= sample["tokens"] <= 8
        assert sample["prompt_tokens"] > 3 and not sample["text"].endswith(END_OF_TEXT)


def test_a_table_for_people(evaluated, tiny_base, capsys):
    code, out, _ = run(capsys, "eval", "--model", tiny_base, *SMALL, "--out", evaluated)
    assert code == 0 and "quick-math" in out and str(evaluated / "report.html") in out
    assert (evaluated / "report.html").exists() and (evaluated / "report.md").exists()


def test_the_directory_has_a_default(tiny_base, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "eval", "--model", tiny_base, *SMALL, "--limit", 1, "--json")
    assert code == 0 and (tmp_path / json.loads(out)["manifest"]).exists()
    assert json.loads(out)["manifest"].startswith("runs/bench/")


def test_another_model_is_not_mixed_in(evaluated, tiny_llama, capsys):
    code, out, err = run(capsys, "eval", "--model", tiny_llama, *SMALL, "--out", evaluated)
    assert code == 2 and out == "" and "holds samples of another evaluation: model was" in err
    assert err.count("\n") == 1


def test_a_model_that_was_moved_is_the_same(evaluated, tiny_base, tmp_path, capsys):
    moved = shutil.copytree(tiny_base, tmp_path / "moved")
    code, out, _ = run(capsys, "eval", "--model", moved, *SMALL, "--out", evaluated, "--json")
    assert code == 0 and json.loads(out)["resumed"] == 12


def test_a_hugging_face_model(tiny_llama, tmp_path, capsys):
    code, out, _ = run(capsys, "eval", "--model", tiny_llama, *SMALL, "--out", tmp_path / "out", "--json")
    assert code == 0 and json.loads(out)["tasks"]["quick-math"]["k"] == 2
    assert json.loads((tmp_path / "out/manifest.json").read_text())["engine"]["engine"] == "transformers"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "{m}", "--tasks", "quick-maths"), "did you mean 'quick-math'?"),
        (("--model", "{m}", "--tasks", ","), "--tasks names no benchmark"),
        (("--model", "{m}", "--suite", "fast"), "suite 'fast' does not exist"),
        (("--model", "{m}", "--tasks", "r1env/Maths-v0"), "did you mean 'r1env/Math-v0'?"),
        (("--model", "{m}", "--tasks", "leetcode", "--data-dir", "{t}"), "leetcode is not in"),
        (("--model", "{t}", "--suite", "quick"), "holds no config.json"),
        (("--model", "", "--suite", "quick"), "--model is empty"),
        (("--model", "{t}/nothing", "--suite", "quick"), "there is no such directory"),
        (("--model", "{m}", "--suite", "quick", "--samples", "0"), "--samples 0: give at least 1"),
        (("--model", "{m}", "--suite", "quick", "--workers", "0"), "--workers 0: give at least 1"),
        (("--model", "{m}", "--suite", "quick", "--engine", "http"), "--engine http does not fit"),
        (("--model", "{m}", "--suite", "quick", "--engine", "transformers"), "cannot run a V3Policy"),
        (("--model", "{m}", "--suite", "quick", "--engine-option", "rows=3"), "native has none such"),
        (("--model", "{m}", "--suite", "quick", "--engine-option", "rows"), "is not KEY=VALUE"),
        (
            ("--model", "{m}", "--suite", "quick", "--engine-option", "max_rows=abc"),
            "--engine-option max_rows='abc': give an integer of at least 1",
        ),
        (("--model", "{m}", "--suite", "quick", "--engine-option", "max_rows=0"), "of at least 1"),
        (("--model", "{m}", "--suite", "quick", "--engine-option", "max_rows=true"), "of at least 1"),
        (
            ("--model", "{m}", "--suite", "quick", "--engine", "vllm", "--engine-option", "max_tokens=-1"),
            "of at least 1",
        ),
        (
            ("--model", "http://localhost:1", "--suite", "quick", "--engine", "native"),
            "use --engine http for it",
        ),
        (("--model", "{m}", "--tasks", "simpleqa"), "name one with --judge"),
        (("--model", "{m}", "--tasks", "swe-bench-verified"), "is run by a project of its own"),
    ],
)
def test_bad_input_is_one_line(arguments, words, tiny_base, tmp_path, capsys):
    given = [argument.format(m=tiny_base, t=tmp_path) for argument in arguments]
    code, out, err = run(capsys, "eval", *given, "--limit", 1, "--out", tmp_path / "out")
    assert code == 2 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err


def test_an_out_that_cannot_be_written(tiny_base, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, "eval", "--model", tiny_base, *SMALL, "--out", tmp_path / "file" / "out")
    assert code == 2 and err.startswith("error: cannot write") and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--tasks", "a", "--suite", "b"), ()])
def test_tasks_or_a_suite(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["eval", "--model", "m", *arguments])
    assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1


# list


def test_list(capsys):
    code, out, _ = run(capsys, "list", "--json")
    document = json.loads(out)
    assert code == 0 and {"aime24", "math500", "gsm8k"} <= {one["name"] for one in document["benchmarks"]}
    assert document["suites"]["quick"] == ["quick-math", "quick-logic"]
    code, out, _ = run(capsys, "list")
    assert "AIME 2024" in out and "suite quick: quick-math, quick-logic" in out


# show


def test_show_figures_problems_and_samples(evaluated, capsys):
    code, out, _ = run(capsys, "show", evaluated, "--json")
    assert code == 0 and json.loads(out)["tasks"]["quick-math"]["n"] == 6
    code, out, _ = run(capsys, "show", evaluated, "quick-math", "--json")
    problems = json.loads(out)["problems"]
    assert len(problems) == 6 and {"problem", "name", "right", "scored", "question"} <= set(problems[0])
    code, out, _ = run(capsys, "show", evaluated, "quick-math", problems[0]["name"], "--json")
    samples = json.loads(out)["samples"]
    assert [sample["sample"] for sample in samples] == [0, 1] and samples[0]["grade"]["verdict"]
    code, out, _ = run(capsys, "show", evaluated, "quick-math", problems[0]["problem"])
    assert code == 0 and "── sample 1" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{t}",), "holds no evaluation"),
        (("{e}", "quick-mat"), "did you mean 'quick-math'?"),
        (("{e}", "quick-math", "no-such"), "there is no problem 'no-such'"),
    ],
)
def test_show_says_what_is_not_there(arguments, words, evaluated, tmp_path, capsys):
    code, out, err = run(capsys, "show", *(a.format(t=tmp_path, e=evaluated) for a in arguments))
    assert code == 2 and out == "" and words in err and err.count("\n") == 1


# regrade


def test_regrade_tells_what_changed(evaluated, tmp_path, capsys):
    directory = shutil.copytree(evaluated, tmp_path / "copy")
    before = json.loads((directory / "summary.json").read_text())["tasks"]
    rows = [json.loads(line) for line in (directory / "grades.jsonl").read_text().splitlines()]
    actual, rows[0]["verdict"] = rows[0]["verdict"], "unscorable"
    (directory / "grades.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, _ = run(capsys, "regrade", directory, "--json", "--workers", 1)
    document = json.loads(out)
    assert code == 0 and document["tasks"] == before
    assert document["regraded"] == {"samples": 1, "changed": {"quick-math": {f"unscorable → {actual}": 1}}}
    code, out, _ = run(capsys, "regrade", directory, "--all", "--json", "--workers", 1)
    assert json.loads(out)["regraded"] == {"samples": 12, "changed": {}}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("eval", "--model", "x/y", "--suite", "quick", "--out", ""), "--out is empty"),
        (("regrade", "somewhere", "--workers", "0"), "--workers 0: give at least 1"),
        (
            ("lm-eval", "run", "--model", "x/y", "--tasks", "t", "--out", "out", "--limit", "0"),
            "--limit 0: give at least 1",
        ),
    ],
)
def test_what_makes_no_sense_stops_before_anything_is_read(arguments, words, capsys):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and words in err and len(err.splitlines()) == 1


def test_regrade_needs_an_evaluation_that_is_whole(evaluated, tmp_path, capsys):
    code, _, err = run(capsys, "regrade", tmp_path)
    assert code == 2 and "holds no evaluation" in err
    directory = shutil.copytree(evaluated, tmp_path / "copy")
    lines = (directory / "samples.jsonl").read_text().splitlines(keepends=True)
    (directory / "samples.jsonl").write_text("".join(lines[:-1]))
    code, _, err = run(capsys, "regrade", directory, "--workers", 1)
    assert code == 2 and "1 of 12 samples are not drawn" in err
