"""Our benchmarks inside lm-eval, our engines under it, and what it would get wrong by itself."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import random
import socket

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: pip install 'lm-eval>=0.4.13'")

import lm_eval
from lm_eval_engine import ScriptedEngine, planned, r1_bench

from benchmarks.lm_eval import export, runs
from benchmarks.lm_eval.model import EngineLM, _answer, _sampling
from benchmarks.lm_eval.record import key
from benchmarks.types import Sampling
from r1env.errors import ConfigError, DataError, RunError
from r1env.registry import EnvSpec

MATH = "r1_quick_math"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No connection but to this machine's own processes, and a cache of its own."""

    def refuse(self, address):
        raise AssertionError(f"a connection to {address!r} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def math_plan():
    (made,) = planned("quick-math", limit=8, samples=4, seed=4)
    return made


def golds(made):
    return {problem.task.id: problem.task.answer for problem in made.problems}


def mixed(made):
    """Right in some samples, decided by the seed alone; else wrong, or no answer, or cut."""
    right = golds(made)

    def say(ask):
        luck = random.Random(f"{ask.seed} {ask.sample}").random()
        if luck < 0.5:
            return (
                f"<think>Let me see.\n\nQuestion: what is it?</think>\n\n<answer>{right[ask.problem]}</answer>"
            )
        if luck < 0.7:
            return "<think>It is hard.</think><answer>-4711</answer>"
        if luck < 0.85:
            return "<think>No idea.</think>I do not know."
        return f"<think>It is <answer>{right[ask.problem]}</answer>, or is it", "length"

    return say


def run(lm, *names, include, **more):
    return runs.evaluate(lm, list(names), include=[include], **more)


# Parity.


def test_lm_eval_gives_r1_benchs_accuracy_on_the_same_samples(tmp_path, math_plan):
    engine = ScriptedEngine(mixed(math_plan))
    assert export.write(math_plan, tmp_path / "tasks") == MATH
    found = run(EngineLM(engine, seed=4), MATH, include=tmp_path / "tasks")["tasks"][MATH]

    own = ScriptedEngine(mixed(math_plan))
    summary = r1_bench([math_plan], tmp_path / "own", lambda: own)["quick-math"]
    assert sorted(map(key, engine.asks)) == sorted(map(key, own.asks)) == sorted(map(key, math_plan.asks()))
    value, error = found["pass_at_1"]
    assert value == pytest.approx(summary["pass_at_1"], abs=1e-12)
    assert error == pytest.approx(summary["pass_at_1_se"], abs=1e-12)
    assert found["pass_at_k"][0] == pytest.approx(summary["pass_at_k"]["4"], abs=1e-12)
    assert found["no_answer"][0] == pytest.approx(summary["no_answer"], abs=1e-12)
    assert 0 < value < 1 and found["pass_at_k"][0] > value and found["no_answer"][0] > 0


def test_a_task_with_a_majority_says_what_r1_bench_says(tmp_path, data_dir):
    (made,) = planned("aime24", limit=4, samples=5, data_dir=str(data_dir))
    right = golds(made)

    def say(ask):
        answer = right[ask.problem] if ask.seed % 5 < 2 else str(ask.seed % 3)
        return f"<think>Hm.</think>The answer is $\\boxed{{{answer}}}$."

    name = export.write(made, tmp_path / "tasks")
    found = run(EngineLM(ScriptedEngine(say)), name, include=tmp_path / "tasks")["tasks"][name]
    summary = r1_bench([made], tmp_path / "own", lambda: ScriptedEngine(say))["aime24"]
    assert found["pass_at_1"][0] == pytest.approx(summary["pass_at_1"], abs=1e-12)
    assert found["cons_at_k"][0] == pytest.approx(summary["cons_at_k"], abs=1e-12)
    assert found["format"][0] == 1.0


@pytest.mark.parametrize(
    ("benchmark", "metric"),
    [
        ("ifeval", "loose"),
        ("mgsm-de", "language"),
        ("mmlu-pro", "format"),
        ("knights-knaves", "format"),
        ("mbpp", "format"),
    ],
)
def test_every_kind_of_grader_comes_along(tmp_path, data_dir, benchmark, metric):
    """Responses are the environment's own right answers, with reasoning and without, and one that says nothing."""
    (made,) = planned(benchmark, limit=3, samples=4, data_dir=str(data_dir))
    env = made.spec.make()
    right = {problem.task.id: env.oracle(problem.task) for problem in made.problems}

    def say(ask):
        answers = (right[ask.problem], right[ask.problem].rpartition("</think>")[2], "", "I cannot tell.")
        return answers[ask.sample]

    name = export.write(made, tmp_path / "tasks")
    found = run(EngineLM(ScriptedEngine(say)), name, include=tmp_path / "tasks")["tasks"][name]
    summary = r1_bench([made], tmp_path / "own", lambda: ScriptedEngine(say))[benchmark]
    assert found["pass_at_1"][0] == pytest.approx(summary["pass_at_1"], abs=1e-12)
    assert found["pass_at_1"][0] >= 0.25 and found["unscorable"][0] == 0
    assert found[metric][0] == pytest.approx(summary["parts"][metric], abs=1e-12)


# Traps, each by what would happen in it.


def test_every_repeat_has_a_seed_of_its_own(tmp_path, math_plan):
    engine = ScriptedEngine(lambda ask: f"<answer>{ask.seed}</answer>")
    export.write(math_plan, tmp_path)
    lm = EngineLM(engine, seed=4)
    run(lm, MATH, include=tmp_path)
    seeds = collections.defaultdict(set)
    for ask in engine.asks:
        seeds[ask.problem].add(ask.seed)
    assert len(seeds) == 8 and all(len(of_one) == 4 for of_one in seeds.values())
    other = ScriptedEngine(engine.say)
    run(EngineLM(other, seed=5), MATH, include=tmp_path)
    assert not {ask.seed for ask in engine.asks} & {ask.seed for ask in other.asks}


def test_all_responses_are_scored_and_blank_lines_stop_none(tmp_path, math_plan):
    """lm-eval's defaults score the first response, up to its first blank line."""
    right = golds(math_plan)

    def say(ask):
        return (
            f"<think>Well.</think>\n\nSo:\n\n<answer>{right[ask.problem] if ask.sample == 2 else 'x'}</answer>"
        )

    export.write(math_plan, tmp_path)
    found = run(EngineLM(ScriptedEngine(say)), MATH, include=tmp_path)["tasks"][MATH]
    assert found["pass_at_1"][0] == 0.25 and found["pass_at_k"][0] == 1.0


def test_sampling_through_lm_evals_cache_is_refused(tmp_path, math_plan):
    """With use_cache, k samples would all be the last one from the second run on, or be drawn anew every time."""
    export.write(math_plan, tmp_path / "tasks")
    manager = lm_eval.tasks.TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    lm = EngineLM(ScriptedEngine(lambda ask: "<answer>1</answer>"))
    more = {"task_manager": manager, "use_cache": str(tmp_path / "cache"), "bootstrap_iters": 0}
    with pytest.raises(ConfigError, match="use_cache"):
        lm_eval.simple_evaluate(model=lm, tasks=[MATH], **more)
    with pytest.raises(ConfigError, match="use_cache"):
        lm_eval.simple_evaluate(
            model=lm, tasks=[MATH], gen_kwargs={"do_sample": None, "temperature": 0.6}, **more
        )
    greedy = {"do_sample": False, "temperature": 0.0}
    found = lm_eval.simple_evaluate(model=lm, tasks=[MATH], gen_kwargs=greedy, **more)
    assert found["results"][MATH]["pass_at_1,all"] < 1


def test_the_record_keeps_what_lm_eval_drops_and_goes_on(tmp_path, math_plan):
    export.write(math_plan, tmp_path / "tasks")
    file = tmp_path / "record" / "samples.jsonl"
    first = EngineLM(ScriptedEngine(mixed(math_plan)), seed=4, record=file)
    found = run(first, MATH, include=tmp_path / "tasks")
    first.record.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()][1:]
    assert len(lines) == 32 and first.resumed == 0
    assert {line["finish_reason"] for line in lines} == {"stop", "length"}
    assert all(line["text"].startswith("<think>") and line["tokens"] > 7 for line in lines)
    assert all(line["detail"] == {"retries": 1} and line["prompt_tokens"] == 7 for line in lines)

    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 2 // 3])  # as a process that was killed leaves it
    engine = ScriptedEngine(mixed(math_plan))
    again = EngineLM(engine, seed=4, record=file)
    second = run(again, MATH, include=tmp_path / "tasks")
    again.record.close()
    assert second["tasks"] == found["tasks"]
    assert 0 < again.resumed < 32 and len(engine.asks) == 32 - again.resumed
    assert sorted(file.read_bytes().splitlines()) == sorted(whole.splitlines())

    engine = ScriptedEngine(mixed(math_plan))
    cooler = EngineLM(engine, seed=4, record=file)
    run(cooler, MATH, include=tmp_path / "tasks", gen_kwargs={"temperature": 0.5})
    assert cooler.resumed == 0 and len(engine.asks) == 32
    with pytest.raises(RunError, match="another"):
        EngineLM(engine, record=file, identity={"model": "another"})


def test_lost_samples_are_an_error_and_the_others_are_kept(tmp_path, math_plan):
    export.write(math_plan, tmp_path)
    say = mixed(math_plan)

    def failing(ask):
        return ("the server said 500", "failed") if ask.sample == 3 else say(ask)

    lm = EngineLM(ScriptedEngine(failing), seed=4, record=tmp_path / "r.jsonl")
    with pytest.raises(RunError, match="8 of 32 samples could not be drawn: the server said 500"):
        run(lm, MATH, include=tmp_path)
    engine = ScriptedEngine(say)
    again = EngineLM(engine, seed=4, record=tmp_path / "r.jsonl")
    run(again, MATH, include=tmp_path)
    assert again.resumed == 24 and len(engine.asks) == 8


def test_reasoning_reaches_our_graders_and_is_hidden_from_others(tmp_path, math_plan):
    """An answer that only the reasoning holds is none; a filter of lm-eval's would take it."""
    right = golds(math_plan)
    export.write(math_plan, tmp_path)
    only_thought = EngineLM(
        ScriptedEngine(lambda ask: f"<think>It is {right[ask.problem]}.</think><answer>x</answer>")
    )
    found = run(only_thought, MATH, include=tmp_path)["tasks"][MATH]
    assert found["pass_at_1"][0] == 0.0 and found["format"][0] == 1.0

    rows = [{"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(6)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sums.yaml").write_text(
        f"""
task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{tmp_path}/sums.jsonl"}}}}
test_split: test
output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: answer
generation_kwargs: {{until: ["Question:", "\\n\\n"], do_sample: false}}
filter_list: [{{name: first number, filter: [{{function: regex, regex_pattern: "(\\\\d+)"}}, {{function: take_first}}]}}]
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
    )

    def say(ask):
        n = int(ask.messages.split()[3])
        if n == 5:
            return "<think>5 + 1 is 6", "length"
        return f"<think>Is it 99?\n\nQuestion: is it?</think>\n\n{n + 1}\n\nQuestion: 7?"

    for reasoning, right in (("auto", 5 / 6), ("drop", 5 / 6), ("keep", 0.0)):
        lm = EngineLM(ScriptedEngine(say), reasoning=reasoning)
        found = run(lm, "sums", include=tmp_path)["tasks"]["sums"]
        assert found["exact_match (first number)"][0] == pytest.approx(right)
        assert all("<think>" in said.text for said in lm.said)


def test_unscorable_is_never_wrong(tmp_path, math_plan):
    shy = dataclasses.replace(math_plan, spec=EnvSpec("lm_eval_engine:lmeval/GivesUp-v0", {}))
    places = {problem.task.id: place for place, problem in enumerate(math_plan.problems)}

    def say(ask):
        place = places[ask.problem]
        given = "give up" if place == 0 or (place == 1 and ask.sample) else "right" if place % 2 else "wrong"
        return f"<think>.</think><answer>{given}</answer>"

    export.write(shy, tmp_path)
    found = run(EngineLM(ScriptedEngine(say)), MATH, include=tmp_path)
    measured = found["tasks"][MATH]
    assert measured["pass_at_1"][0] == pytest.approx(4 / 7)
    assert measured["unscorable"][0] == pytest.approx((1 + 3 / 4) / 8)
    assert found["samples"][MATH] == 8


# What is asked.


def test_the_protocols_prompt_is_asked_whatever_the_flags(tmp_path, math_plan):
    export.write(math_plan, tmp_path)
    asked = []
    for chat in (False, True):
        engine = ScriptedEngine(lambda ask: "1")
        run(EngineLM(engine, seed=4), MATH, include=tmp_path, apply_chat_template=chat)
        asked.append(sorted(map(key, engine.asks)))
    assert asked[0] == asked[1] == sorted(map(key, math_plan.asks()))
    manager = lm_eval.tasks.TaskManager(include_path=str(tmp_path), include_defaults=False)
    for chat in (False, True):
        with pytest.raises(ConfigError, match="protocol has none"):
            lm_eval.simple_evaluate(
                model=EngineLM(ScriptedEngine(lambda ask: "1")), tasks=[MATH], task_manager=manager,
                system_instruction="Be brief.", apply_chat_template=chat,
            )  # fmt: skip
    engine = ScriptedEngine(lambda ask: "1")
    run(EngineLM(engine, seed=4), MATH, include=tmp_path, num_fewshot=3)
    assert sorted(map(key, engine.asks)) == asked[0]


def test_a_text_prompt_stays_one_text(tmp_path):
    (made,) = planned("quick-math", limit=2, samples=1, style="r1_zero")
    export.write(made, tmp_path)
    for chat in (False, True):
        engine = ScriptedEngine(lambda ask: "1")
        run(EngineLM(engine), MATH, include=tmp_path, apply_chat_template=chat)
        assert {ask.messages for ask in engine.asks} == {problem.messages for problem in made.problems}
        assert all(isinstance(ask.messages, str) for ask in engine.asks)


def test_a_chat_of_lm_evals_comes_as_messages(tmp_path, math_plan):
    engine = ScriptedEngine(lambda ask: "4")
    lm = EngineLM(engine)
    chat = lm.apply_chat_template([{"role": "system", "content": "S"}, {"role": "user", "content": "U"}])
    requests = [request(chat, {"until": [], "temperature": 0.0}), request("plain", {"until": []})]
    assert lm.generate_until(requests, disable_tqdm=True) == ["4", "4"]
    asked = {type(ask.messages): ask.messages for ask in engine.asks}
    assert asked == {
        tuple: ({"role": "system", "content": "S"}, {"role": "user", "content": "U"}),
        str: "plain",
    }
    with pytest.raises(ConfigError, match="gen_prefix"):
        lm.apply_chat_template([{"role": "assistant", "content": "A"}], add_generation_prompt=False)
    with pytest.raises(ConfigError, match="apply_chat_template"):
        lm.loglikelihood([request(chat, " yes", kind="loglikelihood")])
    assert lm.generate_until([]) == [] and lm.loglikelihood([]) == [] and lm.loglikelihood_rolling([]) == []


def request(*arguments, kind="generate_until"):
    from lm_eval.api.instance import Instance

    return Instance(request_type=kind, doc={"x": 1}, arguments=arguments, idx=0, metadata=("task", 0, 1))


def test_answers_that_look_like_dates_stay_texts(tmp_path, math_plan):
    problems = [
        dataclasses.replace(
            problem,
            name="2024-01-01",
            messages="2024-01-02",
            task=dataclasses.replace(problem.task, answer="2024-01-03"),
        )
        for problem in math_plan.problems
    ]
    odd = dataclasses.replace(
        math_plan, problems=problems, k=1, benchmark=dataclasses.replace(math_plan.benchmark, name="2024-01-04")
    )
    name = export.write(odd, tmp_path)
    assert name == "r1_2024_01_04"
    engine = ScriptedEngine(lambda ask: "<answer>2024-01-03</answer>")
    run(EngineLM(engine), name, include=tmp_path)
    assert {(ask.benchmark, ask.messages) for ask in engine.asks} == {("2024-01-04", "2024-01-02")}


def test_exporting_again_replaces(tmp_path, math_plan):
    export.write(math_plan, tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    export.write(math_plan, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == before and len(before) == 2
    fewer = dataclasses.replace(math_plan, problems=math_plan.problems[:3])
    export.write(fewer, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    engine = ScriptedEngine(lambda ask: "1")
    run(EngineLM(engine), MATH, include=tmp_path)
    assert len(engine.asks) == 12


@pytest.mark.parametrize(
    ("given", "sampling", "until"),
    [
        ({}, Sampling(temperature=0.0, top_p=1.0, max_new_tokens=256), []),
        ({"do_sample": True}, Sampling(temperature=1.0, top_p=1.0, max_new_tokens=256), []),
        ({"temperature": 0.7}, Sampling(temperature=0.7, top_p=1.0, max_new_tokens=256), []),
        ({"do_sample": False, "temperature": 0.7, "top_k": 0}, Sampling(temperature=0.0, top_p=1.0, max_new_tokens=256), []),
        ({"max_new_tokens": 5, "until": "\n"}, Sampling(temperature=0.0, top_p=1.0, max_new_tokens=5), ["\n"]),
        ({"max_tokens": 5, "max_gen_toks": "7", "until": ["", "a"]}, Sampling(temperature=0.0, top_p=1.0, max_new_tokens=7), ["a"]),
        ({"do_sample": True, "temperature": "0.6", "top_p": 0.95}, Sampling(temperature=0.6, top_p=0.95, max_new_tokens=256), []),
    ],
)  # fmt: skip
def test_generation_arguments_mean_what_they_mean_in_lm_eval(given, sampling, until):
    from lm_eval.models.utils import normalize_gen_kwargs

    assert _sampling(given) == (sampling, until)
    theirs = normalize_gen_kwargs(dict(given))
    assert theirs["max_gen_toks"] == sampling.max_new_tokens
    if "temperature" in given:
        assert float(theirs["temperature"]) == sampling.temperature


@pytest.mark.parametrize("given", [{"top_k": 5}, {"num_beams": 4}, {"seed": 1}, {"repetition_penalty": 1.1}])
def test_generation_arguments_that_no_engine_has_are_refused(given):
    with pytest.raises(ConfigError, match=next(iter(given))):
        _sampling(given)


@pytest.mark.parametrize(
    ("text", "kept", "dropped"),
    [
        ("a STOP b", "a ", "a "),
        ("<think>a STOP b</think>\n c STOP d", "<think>a STOP b</think>\n c ", "c "),
        ("<think>a STOP", "<think>a STOP", ""),
        ("a</think>b", "a</think>b", "b"),
        ("a</think>\n\nSTOP b", "a</think>\n\n", ""),
        ("    return 1\n", "    return 1\n", "    return 1\n"),
        ("", "", ""),
    ],
)
def test_stop_texts_count_behind_the_reasoning(text, kept, dropped):
    assert _answer(text, ["STOP"], True) == kept
    assert _answer(text, ["STOP"], False) == dropped


def test_equal_prompts_of_a_dataset_are_further_samples():
    engine = ScriptedEngine(lambda ask: str(ask.sample))
    same = [request("again", {"temperature": 1.0}) for _ in range(3)]
    assert sorted(EngineLM(engine).generate_until(same, disable_tqdm=True)) == ["0", "1", "2"]
    assert len({ask.seed for ask in engine.asks}) == 3


def test_what_cannot_be_is_said(tmp_path, math_plan, monkeypatch):
    monkeypatch.setattr(runs, "TaskManager", functools.partial(runs.TaskManager, include_defaults=False))
    engine = ScriptedEngine(lambda ask: "1")
    with pytest.raises(ConfigError, match="did you mean 'keep'"):
        EngineLM(engine, reasoning="kep")
    with pytest.raises(ConfigError, match="--include-path"):
        runs.evaluate(EngineLM(engine), ["r1_nonsense"], include=[str(tmp_path)])
    with pytest.raises(ConfigError, match="pattern"):
        export.write(math_plan, tmp_path / "a[b]")
    judged = dataclasses.replace(math_plan, benchmark=dataclasses.replace(math_plan.benchmark, kind="judged"))
    with pytest.raises(ConfigError, match="graded by no rule"):
        export.write(judged, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        export.write(math_plan, tmp_path / "file")
    from benchmarks.lm_eval.rows import Row

    with pytest.raises(DataError, match="export it again"):
        Row.of({"question": "1"})
