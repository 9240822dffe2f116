"""Tasks of lm-eval on our engines, beside lm-eval's own Hugging Face model on the same checkpoint."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'lm-eval>=0.4.13'")

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval_engine import planned, r1_bench

from benchmarks import engines, parsing
from benchmarks.commands import lm_eval as lm_eval_command
from benchmarks.lm_eval import runs
from benchmarks.lm_eval.model import EngineLM
from model import tokenizer
from r1env.errors import ConfigError
from r1env.records import read_jsonl

PAIRS = (
    ("The capital of France is", " Paris"),
    ("The capital of France is ", "Paris and not Rome"),
    ("", "Once upon a time"),
    ("Ünïcode 数学", " 是"),
    ("2 + 2 =", " 4"),
)


def lm_of(directory, engine):
    return EngineLM(engines.open_engine(engines.Setup(model=str(directory), engine=engine, dtype="float32")))


def theirs(directory, **more):
    return HFLM(pretrained=str(directory), device="cpu", dtype="float32", batch_size=4, **more)


def instances(kind, all_arguments):
    return [
        Instance(request_type=kind, doc={}, arguments=arguments, idx=0, metadata=("task", place, 1))
        for place, arguments in enumerate(all_arguments)
    ]


@pytest.fixture(scope="module", params=["transformers", "native"])
def checkpoint(request, tiny_llama, tiny_base, tmp_path_factory):
    """A random model with a context of 64 tokens, and the engine for it."""
    copy = tmp_path_factory.mktemp("short") / "checkpoint"
    shutil.copytree(tiny_llama if request.param == "transformers" else tiny_base, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 64}))
    return copy, request.param


def test_log_likelihoods_are_those_of_lm_evals_own_model(checkpoint):
    directory, engine = checkpoint
    requests = instances("loglikelihood", PAIRS)
    ours = lm_of(directory, engine).loglikelihood(requests)
    expected = theirs(directory).loglikelihood(requests)
    for (mine, greedy), (other, other_greedy) in zip(ours, expected, strict=True):
        assert mine == pytest.approx(other, abs=1e-3) and greedy == other_greedy


@pytest.mark.parametrize("length", [1, 40, 63, 64, 65, 100, 200])
def test_rolling_log_likelihoods_are_those_of_lm_evals_own_model(checkpoint, length):
    directory, engine = checkpoint
    text = ("The quick brown fox jumps over the lazy dog, says the book of typing. " * 4)[:length]
    requests = instances("loglikelihood_rolling", [(text,), (text[::-1],)])
    ours = lm_of(directory, engine).loglikelihood_rolling(requests)
    # their window count starts with a second begin-of-sequence token where the tokenizer adds one
    expected = theirs(directory, add_bos_token=False).loglikelihood_rolling(requests)
    assert ours == pytest.approx(expected, abs=2e-3)


def test_greedy_responses_are_those_of_lm_evals_own_model(checkpoint):
    directory, engine = checkpoint
    given = {"until": ["e"], "do_sample": False, "max_gen_toks": 12}
    requests = instances("generate_until", [(context, given) for context, _ in PAIRS if context])
    ours = lm_of(directory, engine).generate_until(requests, disable_tqdm=True)
    expected = theirs(directory).generate_until(requests, disable_tqdm=True)
    for special in tokenizer.SPECIAL_TOKENS:  # theirs leaves them out, the tags of reasoning among them
        ours = [said.replace(special, "") for said in ours]
    assert ours == expected


def test_lm_evals_own_tasks_run_and_score_alike(checkpoint, tmp_path, data_dir):
    """Its gsm8k as it comes, its data read from files; a task of choices, and one of perplexity."""
    directory, engine = checkpoint
    own = str(lm_eval.__path__[0])
    for split in ("train", "test"):
        lines = (data_dir / "gsm8k" / f"{split}.jsonl").read_text().splitlines()[:12]
        short = [{**(row := json.loads(line)), "question": row["question"][:8]} for line in lines]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in short))
    files = f'dataset_path: json\ndataset_name: null\ndataset_kwargs: {{data_files: {{train: "{tmp_path}/train.jsonl", test: "{tmp_path}/test.jsonl"}}}}\n'
    (tmp_path / "own_gsm8k.yaml").write_text(
        f"include: {own}/tasks/gsm8k/gsm8k.yaml\ntask: own_gsm8k\ntag: []\nnum_fewshot: 0\n{files}"
        "generation_kwargs: {until: ['Question:'], do_sample: false, max_gen_toks: 8}\n"
    )
    (tmp_path / "own_choice.yaml").write_text(
        f"task: own_choice\n{files}test_split: test\noutput_type: multiple_choice\n"
        'doc_to_text: "{{question}}"\ndoc_to_choice: ["yes", "no", "perhaps"]\ndoc_to_target: 0\n'
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    (tmp_path / "own_perplexity.yaml").write_text(
        f'task: own_perplexity\n{files}test_split: test\noutput_type: loglikelihood_rolling\ndoc_to_text: ""\n'
        'doc_to_target: "{{question}}"\n'
        "metric_list: [{metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}]\n"
    )
    names = ["own_gsm8k", "own_choice", "own_perplexity"]
    found = runs.evaluate(lm_of(directory, engine), names, include=[str(tmp_path)], limit=10)
    manager = lm_eval.tasks.TaskManager(include_path=str(tmp_path), include_defaults=False)
    expected = {
        bos: lm_eval.simple_evaluate(
            model=theirs(directory, add_bos_token=bos), tasks=names, task_manager=manager, limit=10
        )["results"]
        for bos in (None, False)
    }
    assert found["tasks"]["own_choice"]["acc"][0] == expected[None]["own_choice"]["acc,none"]
    for filter_name in ("strict-match", "flexible-extract"):
        value = found["tasks"]["own_gsm8k"][f"exact_match ({filter_name})"][0]
        assert value == expected[None]["own_gsm8k"][f"exact_match,{filter_name}"]
    bits = found["tasks"]["own_perplexity"]["bits_per_byte"][0]
    assert bits == pytest.approx(expected[False]["own_perplexity"]["bits_per_byte,none"], abs=1e-3)
    assert found["samples"] == dict.fromkeys(names, 10)


def command(*arguments):
    """`r1-bench lm-eval …`: its report."""

    parser = parsing.new("r1-bench", "", "")
    lm_eval_command.add_parser(parser.add_subparsers(parser_class=parsing.Parser), parsing.add)
    given = parser.parse_args(["lm-eval", *map(str, arguments)])
    assert given.module == "benchmarks.commands.lm_eval"
    return lm_eval_command.run(given)


def test_the_command_gives_r1_benchs_samples_and_accuracy(tiny_base, tmp_path, capsys):
    exported, out = tmp_path / "tasks", tmp_path / "out"
    report = command(
        "export", "--tasks", "quick-math,quick-logic", "--limit", 5, "--samples", 3, "--max-new-tokens", 12,
        "--out", exported,
    )  # fmt: skip
    assert {name: (one["n"], one["k"]) for name, one in report.document["tasks"].items()} == {
        "r1_quick_math": (5, 3),
        "r1_quick_logic": (5, 3),
    }
    report.show()
    assert "--tasks r1_quick_math,r1_quick_logic" in capsys.readouterr().out

    running = ("run", "--model", tiny_base, "--tasks", "r1_bench", "--include-path", exported, "--seed", 5)
    report = command(*running, "--out", out)
    document = json.loads((out / "results.json").read_text())
    assert json.loads(json.dumps(report.document)) == document
    assert (document["responses"], document["resumed"]) == (30, 0)
    report.show()
    assert "pass_at_1" in capsys.readouterr().out

    plans = planned("quick-math", "quick-logic", limit=5, samples=3, max_new_tokens=12, seed=5)
    setup = engines.Setup(model=str(tiny_base), engine="native")
    summary = r1_bench(plans, tmp_path / "own", lambda: engines.open_engine(setup))
    for name, task in (("quick-math", "r1_quick_math"), ("quick-logic", "r1_quick_logic")):
        assert document["tasks"][task]["pass_at_1"][0] == summary[name]["pass_at_1"]
        assert document["tasks"][task]["no_answer"][0] == pytest.approx(summary[name]["no_answer"])
    ours = {tuple(line["key"][:3]): line for line in read_jsonl(out / "samples.jsonl")[1:]}
    theirs = {
        (line["benchmark"], line["problem"], line["sample"]): line
        for line in read_jsonl(tmp_path / "own" / "samples.jsonl")
    }
    assert ours.keys() == theirs.keys() and len(ours) == 30
    for place, line in ours.items():
        assert (line["text"], line["finish_reason"]) == (theirs[place]["text"], theirs[place]["finish_reason"])
        assert line["key"][3] == theirs[place]["seed"]

    again = json.loads(json.dumps(command(*running, "--out", out).document))
    assert (again["responses"], again["resumed"]) == (30, 30) and again["tasks"] == document["tasks"]
    for wrong in ("[1]", "{"):
        with pytest.raises(ConfigError, match="--gen-kwargs"):
            command(*running, "--out", out, "--gen-kwargs", wrong)
