from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import toy_envs  # noqa: F401 (registers its environments)

import r1env
import r1env.child as child_module
from r1env import ConfigError, EnvSpec, GraderError, GradingPool, dispatcher

MATH = EnvSpec("r1env/Math-v0", {"level": "precedence", "reward": {"weights": {"format": 0.5}}})
MOODY = EnvSpec("toy_envs:toy/Moody-v0")


def tagged(answer: str) -> str:
    return f"<think>x</think><answer>{answer}</answer>"


def moody(*answers: str, **meta):
    env = MOODY.make()
    tasks = [env.task(index=index) for index in range(len(answers))]
    tasks = [r1env.Task(id=t.id, env=t.env, messages=t.messages, answer=t.answer, meta=meta) for t in tasks]
    return [(task, tagged(answer)) for task, answer in zip(tasks, answers, strict=True)]


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def wait_until(condition, timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


@pytest.fixture(scope="module")
def moody_pool():
    with GradingPool(MOODY, workers=2, deadline_s=1.0) as pool:
        yield pool


def test_grades_equal_those_of_the_environment_and_keep_their_order():
    env = MATH.make()
    items = []
    for index in range(700):
        task = env.task(index=index)
        response = (env.oracle(task), tagged(str(index)), f"<answer>{task.answer}</answer>", "\ud800 hm")[
            index % 4
        ]
        items.append((task, response))
    with GradingPool(MATH) as pool:
        grades = pool.grade(items)
        assert pool.grade([]) == []
        stats = pool.stats
    for (task, response), grade in zip(items, grades, strict=True):
        expected = env.grade(task, response)
        for field in ("reward", "parts", "verdict", "extracted", "detail", "grader_version"):
            assert getattr(grade, field) == getattr(expected, field)
    assert stats.graded == 700 == sum(stats.verdicts.values())
    assert stats.verdicts["correct"] >= 350 and stats.verdicts["no_answer"] == 175
    assert (stats.unscorable, stats.wall_deadline_hits, stats.restarts) == (0, 0, 0) and stats.seconds > 0


@pytest.mark.parametrize("how", ["spin", "spin in C"])
def test_an_answer_that_keeps_the_grader_busy_is_wrong_and_costs_nobody_else(how, moody_pool, monkeypatch):
    # On a crowded machine the spinning child gets less than half of the time, and is not at fault.
    monkeypatch.setattr(dispatcher, "_CPU_SHARE_OF_FAULT", 0.02)
    before = moody_pool.stats
    grades = moody_pool.grade(moody("right", "left", how, "right", *["right"] * 20))
    assert [grade.verdict for grade in grades] == ["correct", "wrong", "wrong", "correct", *["correct"] * 20]
    late = grades[2]
    assert late.reward == 1.0 and 1.0 <= late.seconds <= 1.5
    assert late.parts == {"accuracy": 0.0, "format": 1.0, "tags": 1.0, "language": 1.0}
    assert "took longer than 1 s" in late.detail and "CPU" in late.detail
    after = moody_pool.stats
    assert after.wall_deadline_hits - before.wall_deadline_hits == 1 == after.restarts - before.restarts


def test_a_late_child_with_too_little_cpu_time_is_not_at_fault(moody_pool, monkeypatch):
    monkeypatch.setattr(dispatcher, "_CPU_SHARE_OF_FAULT", 1.5)  # no child can use that much
    assert moody_pool.grade(moody("spin"))[0].verdict == "unscorable"


def test_a_grade_that_waits_is_tried_again_and_then_unscorable(moody_pool):
    before = moody_pool.stats
    grades = moody_pool.grade(moody("right", "sleep", "right"))
    assert [grade.verdict for grade in grades] == ["correct", "unscorable", "correct"]
    assert (grades[1].reward, grades[1].parts["format"]) == (0.0, 1.0)
    assert "twice" in grades[1].detail
    after = moody_pool.stats
    assert after.wall_deadline_hits - before.wall_deadline_hits == 2
    assert after.unscorable - before.unscorable == 1


def test_a_killed_worker_costs_nothing_if_the_second_try_works(moody_pool, tmp_path):
    grades = moody_pool.grade(moody("right", "die once", "right", flag=str(tmp_path / "flag")))
    assert [grade.verdict for grade in grades] == ["correct"] * 3


def test_an_answer_that_kills_every_worker_costs_one_grade(moody_pool):
    before = moody_pool.stats
    grades = moody_pool.grade(moody(*["right"] * 30, "die", *["left"] * 30))
    assert [grade.verdict for grade in grades] == ["correct"] * 30 + ["unscorable"] + ["wrong"] * 30
    assert "died" in grades[30].detail
    assert moody_pool.stats.restarts - before.restarts == 2


def test_workers_killed_from_outside_while_idle_or_at_work(moody_pool):
    moody_pool.start()
    for pid in moody_pool.worker_pids:
        os.kill(pid, signal.SIGKILL)
    assert moody_pool.grade(moody("right", "left"))[0].verdict == "correct"

    moody_pool.start()
    victims = moody_pool.worker_pids
    killer = threading.Timer(0.3, lambda: os.kill(victims[0], signal.SIGKILL))
    killer.start()
    grades = moody_pool.grade(moody("sleep", "sleep", *["right"] * 4))
    killer.join()
    assert [grade.verdict for grade in grades[2:]] == ["correct"] * 4


def test_a_stopped_worker_is_replaced(moody_pool):
    """A machine that stops giving CPU time: no verdict on the answer."""
    moody_pool.start()
    os.kill(moody_pool.worker_pids[0], signal.SIGSTOP)
    grades = moody_pool.grade(moody(*["right"] * 6))
    assert [grade.verdict for grade in grades] == ["correct"] * 6


def test_large_transcripts_to_a_stopped_worker_do_not_block(moody_pool):
    moody_pool.start()
    os.kill(moody_pool.worker_pids[1], signal.SIGSTOP)
    items = [(task, "x" * 2_000_000 + response) for task, response in moody(*["right"] * 6)]
    grades = moody_pool.grade(items)
    assert [(grade.verdict, grade.parts["format"]) for grade in grades] == [("correct", 0.0)] * 6


def test_noise_on_standard_output_and_failures_of_the_grader(moody_pool):
    grades = moody_pool.grade(moody("print", "crash", "give up"))
    assert [grade.verdict for grade in grades] == ["correct", "unscorable", "unscorable"]


def test_a_measure_that_fails_is_an_error_and_nobody_waits_for_ever():
    items = moody("right", "right")
    with GradingPool(EnvSpec("toy_envs:toy/Crooked-v0"), workers=1) as pool:
        with pytest.raises(GraderError, match="ZeroDivisionError"):
            pool.grade(items)
        assert wait_until(lambda: pool.stats.in_flight == 0, 20)


def test_use_from_several_threads(moody_pool):
    results: dict[int, list[str]] = {}

    def work(number):
        answers = ["right" if i % (number + 2) else "left" for i in range(60)]
        results[number] = [grade.verdict for grade in moody_pool.grade(moody(*answers))]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number in range(4):
        assert results[number] == ["correct" if i % (number + 2) else "wrong" for i in range(60)]


def test_grades_of_several_threads_are_in_work_together(moody_pool, tmp_path):
    """Each of the two waits for the other: taken one after the other, both would be late."""
    (first,), (second,) = (moody(f"meet {a} {b}", folder=str(tmp_path)) for a, b in ("xy", "yx"))
    moody_pool.start()  # both workers, whatever became of them in other tests
    future = moody_pool.submit(*first)
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.append(moody_pool.grade([second])[0].verdict))
    thread.start()
    thread.join(30)
    assert [future.result().verdict, *verdicts] == ["correct", "correct"]


def test_event_loops(moody_pool):
    async def play():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        calls = (moody_pool.grade_async(moody("nap 0.3", answer)) for answer in ("right", "left", "right"))
        results = await asyncio.gather(*calls, asyncio.wrap_future(moody_pool.submit(*moody("right")[0])))
        ticking.cancel()
        return ticks, results

    ticks, (first, second, third, one) = asyncio.run(play())
    assert ticks > 3 and one.verdict == "correct"
    assert [[grade.verdict for grade in grades] for grades in (first, second, third)] == [
        ["correct", "correct"],
        ["correct", "wrong"],
        ["correct", "correct"],
    ]


def test_what_nobody_waits_for_is_left_out(moody_pool):
    async def play():
        call = asyncio.create_task(moody_pool.grade_async(moody(*["nap 0.1"] * 100)))
        await asyncio.sleep(0.1)
        call.cancel()

    before = moody_pool.stats.graded
    asyncio.run(play())
    for _ in moody_pool.stream(moody(*["nap 0.1"] * 100)):
        break
    busy = moody("nap 0.3", "nap 0.3")
    futures = [moody_pool.submit(*item) for item in (*busy, *moody("right"))]
    assert futures[2].cancel()
    assert futures[0].result().verdict == "correct"
    assert moody_pool.grade(moody("right"))[0].verdict == "correct"
    assert wait_until(lambda: moody_pool.stats.in_flight == 0, 20)
    assert moody_pool.stats.graded - before < 100


def test_a_stream_takes_items_as_there_is_room():
    env, taken, returned = MATH.make(), 0, []

    def items():
        nonlocal taken
        for index in range(2_000):
            taken += 1
            task = env.task(index=index)
            yield task, tagged(task.answer if index % 3 else "no")

    with GradingPool(MATH, max_in_flight=20) as pool:
        for index, grade in pool.stream(items()):
            assert taken - len(returned) <= 20
            assert grade.verdict == ("correct" if index % 3 else "wrong")
            returned.append(index)
        assert pool.stats.most_in_flight <= 20 and pool.stats.in_flight == pool.stats.queued == 0
        assert list(pool.stream([])) == []
    assert sorted(returned) == list(range(2_000)) != returned


def test_submit_waits_for_room():
    items = moody("nap 0.4", "right", "right")
    with GradingPool(MOODY, workers=1, max_in_flight=2) as pool:
        pool.start()
        first, second = (pool.submit(*item) for item in items[:2])
        assert not first.done() and pool.stats.in_flight == 2
        third = pool.submit(*items[2])  # comes back when the first has left
        assert first.done()
        assert [future.result().verdict for future in (first, second, third)] == ["correct"] * 3
        assert pool.stats.most_in_flight == 2


def test_a_deadline_of_ones_own(moody_pool):
    item = moody("nap 0.6")[0]
    assert moody_pool.submit(*item).result().verdict == "correct"
    assert moody_pool.submit(*item, deadline_s=0.2).result().verdict == "unscorable"
    assert moody_pool.grade([item], deadline_s=0.2)[0].verdict == "unscorable"
    assert [grade.verdict for _, grade in moody_pool.stream([item], deadline_s=0.2)] == ["unscorable"]


def test_closing_tells_who_waits():
    pool = GradingPool(MOODY, workers=1, deadline_s=60)
    pool.start()
    future = pool.submit(*moody("sleep")[0])
    threading.Timer(0.3, pool.close).start()
    with pytest.raises(GraderError, match="closed"):
        pool.grade(moody("right"))
    with pytest.raises(GraderError, match="closed"):
        future.result()
    assert pool.stats.in_flight == 0 and not pool.worker_pids


def test_an_answer_that_eats_memory_is_wrong_and_its_worker_is_replaced(moody_pool):
    moody_pool.start()
    before, pids = moody_pool.stats, set(moody_pool.worker_pids)
    grades = moody_pool.grade(moody("right", "eat", "right", *["left"] * 10))
    assert [grade.verdict for grade in grades] == ["correct", "wrong", "correct", *["wrong"] * 10]
    assert "memory" in grades[1].detail
    assert moody_pool.grade(moody("right", "right"))[1].verdict == "correct"
    after = moody_pool.stats
    assert after.recycled - before.recycled == 1 and after.restarts == before.restarts
    assert pids != set(moody_pool.worker_pids)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on a process's memory needs Linux")
def test_a_worker_may_not_take_more_than_its_memory():
    with GradingPool(MOODY, workers=1, memory_mb=50) as pool:
        assert [g.verdict for g in pool.grade(moody("hoard", "right"))] == ["wrong", "correct"]
    with GradingPool(MOODY, workers=1, memory_mb=None) as pool:
        assert [g.verdict for g in pool.grade(moody("hoard", "right"))] == ["correct", "correct"]


def test_workers_are_recycled_between_grades_and_nothing_is_lost():
    env = MATH.make()
    items = [(task, env.oracle(task)) for task in (env.task(index=index) for index in range(600))]
    pids = set()
    with GradingPool(MATH, recycle_after=200) as pool:
        rounds = 0
        while pool.stats.recycled < 4 and rounds < 200:
            assert [grade.verdict for grade in pool.grade(items)] == ["correct"] * 600
            pids.update(pool.worker_pids)
            assert len(pool.worker_pids) <= 3
            rounds += 1
        stats = pool.stats
    assert stats.recycled >= 4 and stats.restarts == 0 and stats.graded == 600 * rounds and len(pids) >= 6


@pytest.mark.skipif(sys.platform != "linux", reason="a process's growth is read on Linux only")
def test_a_worker_that_has_grown_is_recycled():
    with GradingPool(MOODY, workers=1, recycle_mb=80) as pool:
        pool.start()
        pids = pool.worker_pids
        assert pool.grade(moody("hoard"))[0].verdict == "correct"
        # Its successor is started by the next work, and takes over when it is ready.
        assert wait_until(lambda: pool.grade(moody("right")) and pool.stats.recycled == 1, 30)
        assert pids[0] not in pool.worker_pids and len(pool.worker_pids) == 1


def test_a_worker_that_is_killed_while_it_starts():
    with GradingPool(EnvSpec("toy_envs:toy/Slow-v0"), workers=1) as pool:
        future = pool.submit(*moody("right")[0])
        assert wait_until(lambda: pool.worker_pids, 10)
        victim = pool.worker_pids[0]
        os.kill(victim, signal.SIGKILL)
        assert future.result(60).verdict == "correct"
        assert victim not in pool.worker_pids and pool.stats.restarts == 1


def test_workers_that_are_always_killed_while_they_start_are_an_error(monkeypatch):
    monkeypatch.setattr(dispatcher, "MOST_BAD_STARTS", 2)
    with GradingPool(EnvSpec("toy_envs:toy/Slow-v0"), workers=1) as pool:
        future = pool.submit(*moody("right")[0])
        while not future.done():
            for pid in pool.worker_pids:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        with pytest.raises(GraderError, match="could not start"):
            future.result()


def test_a_worker_that_does_not_get_ready_is_replaced_if_another_did(monkeypatch):
    with GradingPool(EnvSpec("toy_envs:toy/Slow-v0"), workers=2) as pool:
        pool.start()
        monkeypatch.setattr(child_module, "START_TIMEOUT_S", 0.1)
        os.kill(pool.worker_pids[0], signal.SIGKILL)
        assert [grade.verdict for grade in pool.grade(moody(*["nap 0.2"] * 4))] == ["correct"] * 4
        assert pool.stats.restarts >= 2
    with (
        GradingPool(EnvSpec("toy_envs:toy/Slow-v0"), workers=2) as pool,
        pytest.raises(GraderError, match="not ready"),
    ):
        pool.start()


def test_a_worker_that_is_late_by_its_own_clock_is_late(monkeypatch):
    """The alarm of the child itself, which ends it where its parent had no processor."""
    monkeypatch.setattr(dispatcher, "_CPU_SHARE_OF_FAULT", 0.0)
    with GradingPool(MOODY, workers=1, deadline_s=60) as pool:
        pool.start()
        future = pool.submit(*moody("spin")[0])
        time.sleep(0.3)
        os.kill(pool.worker_pids[0], signal.SIGALRM)
        assert future.result(30).verdict == "wrong" and pool.stats.wall_deadline_hits == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_gets_workers_of_its_own(moody_pool):
    moody_pool.start()
    pids = moody_pool.worker_pids
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            verdicts = [grade.verdict for grade in moody_pool.grade(moody("right", "left"))]
            os.write(write, f"{verdicts} {set(pids) & set(moody_pool.worker_pids)}".encode())
            moody_pool.close()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        assert file.read() == "['correct', 'wrong'] set()"
    os.waitpid(child, 0)
    assert moody_pool.worker_pids == pids and all(map(is_running, pids))
    assert moody_pool.grade(moody("right"))[0].verdict == "correct"


def test_statistics():
    with GradingPool(MOODY, workers=2, deadline_s=0.5) as pool:
        fresh = pool.stats
        assert (fresh.graded, fresh.unscorable_share, fresh.mean_s, fresh.most_in_flight) == (0, 0.0, 0.0, 0)
        pool.grade(moody("right", "left", "sleep", "nap 0.1"))
        stats = pool.stats
    assert stats.verdicts == {"correct": 2, "wrong": 1, "no_answer": 0, "unscorable": 1}
    assert (stats.graded, stats.unscorable_share, stats.wall_deadline_hits) == (4, 0.25, 2)
    assert (stats.in_flight, stats.queued, stats.most_in_flight) == (0, 0, 4)
    assert 0.5 <= stats.max_s < stats.seconds and stats.max_s / 4 < stats.mean_s < stats.max_s


def test_the_start_of_a_worker_does_not_count(tmp_path):
    """Starting takes longer than the deadline, and yet nothing is late."""
    with GradingPool(EnvSpec("toy_envs:toy/Slow-v0"), workers=1, deadline_s=0.3) as pool:
        env = MOODY.make()
        assert pool.grade([(env.task(index=0), tagged("right"))])[0].verdict == "correct"
        assert pool.stats.wall_deadline_hits == 0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (EnvSpec("r1env/Meth-v0"), "did you mean 'r1env/Math-v0'"),
        (EnvSpec("toy_envs:toy/Late-v0"), "this environment cannot be made"),
        (EnvSpec("r1env/Math-v0", {"no_such": 1}), "no_such"),
    ],
)
def test_a_worker_that_cannot_start_is_an_error_with_its_words(spec, words):
    task = MATH.make().task(index=0)
    pool = GradingPool(spec)
    with pytest.raises(GraderError, match=words):
        pool.grade([(task, "x")])
    assert not pool.worker_pids


def test_closing_ends_the_workers_and_a_closed_pool_can_be_used_again():
    with GradingPool(MATH, workers=3) as pool:
        pool.start()
        pids = pool.worker_pids
        assert len(pids) == 3 and all(map(is_running, pids))
    assert not any(map(is_running, pids))
    pool.close()
    task = MATH.make().task(index=0)
    assert pool.grade([(task, MATH.make().oracle(task))])[0].verdict == "correct"
    pids = pool.worker_pids
    del pool
    assert wait_until(lambda: not any(map(is_running, pids)), 5)


@pytest.mark.parametrize("busy", [False, True])
def test_workers_die_with_their_parent(busy):
    """Even in the middle of C code that never comes back."""
    code = f"""
    import sys; sys.path[:0] = {[p for p in sys.path if p]!r}
    import time, toy_envs
    from r1env import EnvSpec, GradingPool
    spec = EnvSpec("toy_envs:toy/Moody-v0")
    pool = GradingPool(spec, workers=1, deadline_s=1.0)
    pool.start()
    if {busy}:
        task = spec.make().task(index=0)
        pool.submit(task, "<answer>spin in C</answer>", deadline_s=1.5)
        time.sleep(0.5)
    print(*pool.worker_pids, flush=True)
    time.sleep(600)
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not is_running(pid), 15)


def test_ctrl_c_reaches_the_parent_and_leaves_no_worker(tmp_path):
    asleep = tmp_path / "asleep"
    code = f"""
    import signal, sys; sys.path[:0] = {[p for p in sys.path if p]!r}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is born deaf to Ctrl-C
    import toy_envs
    from r1env import EnvSpec, GradingPool
    spec = EnvSpec("toy_envs:toy/Moody-v0")
    with GradingPool(spec, workers=2, deadline_s=60) as pool:
        pool.start()
        task = spec.make().task(index=0)
        print(*pool.worker_pids, flush=True)
        pool.grade([(task, "<answer>sleep</answer>")])
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TOY_ASLEEP": str(asleep)},
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert wait_until(asleep.exists, 30)
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=20)
    assert errors.strip().endswith("KeyboardInterrupt") and errors.count("Traceback") == 1
    assert wait_until(lambda: not any(map(is_running, pids)), 5)


@pytest.mark.parametrize("end", ["sys.exit()", "pool.close()"])
def test_the_interpreter_ends_with_grades_under_way(end):
    code = f"""
    import sys; sys.path[:0] = {[p for p in sys.path if p]!r}
    import toy_envs
    from r1env import EnvSpec, GradingPool
    spec = EnvSpec("toy_envs:toy/Moody-v0")
    pool = GradingPool(spec, workers=2, deadline_s=60)
    pool.start()
    futures = [pool.submit(spec.make().task(index=0), "<answer>sleep</answer>") for _ in range(5)]
    print(*pool.worker_pids)
    {end}
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(map(is_running, map(int, done.stdout.split())))


@pytest.mark.parametrize(
    "arguments",
    [{"workers": 0}, {"max_in_flight": 0}, {"recycle_after": 0}, {"recycle_mb": -1}, {"memory_mb": 0}]
    + [{"deadline_s": seconds} for seconds in (0.0, float("nan"), float("inf"))],
)
def test_impossible_settings_are_named(arguments):
    with pytest.raises(ConfigError, match="grading"):
        GradingPool(MATH, **arguments)
    with GradingPool(MATH) as pool, pytest.raises(ConfigError, match="deadline"):
        pool.grade([], deadline_s=-1)


def test_symbolic_grading_works_in_workers_and_off_the_main_thread(tmp_path):
    """math-verify's own time limit silently scored everything 0 off the main thread."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"problem": "P", "answer": "\\\\frac{\\\\sqrt{2}}{2}"}\n')
    spec = EnvSpec("r1env/Math-v0", {"source": str(path), "test_source": str(path)})
    env = spec.make()
    items = [
        (env.task(index=0), tagged(answer)) for answer in (r"\frac{1}{\sqrt{2}}", r"\sqrt{2}", r"9^{9^{9}}")
    ]
    with GradingPool(spec, workers=1) as pool:
        results = [[grade.verdict for grade in pool.grade(items)]]
    thread = threading.Thread(target=lambda: results.append([env.grade(*item).verdict for item in items]))
    thread.start()
    thread.join(60)
    assert results == [["correct", "wrong", "wrong"]] * 2


def test_grades_by_the_thousand():
    """Measured 16,000 a second with two workers on two shared cores; the floor leaves room for busy machines."""
    env = MATH.make()
    items = [(task, env.oracle(task)) for task in (env.task(index=index) for index in range(2_000))]
    with GradingPool(MATH, workers=2) as pool:
        pool.grade(items[:10])
        started = time.perf_counter()
        assert all(grade.verdict == "correct" for grade in pool.grade(items))
        assert 2_000 / (time.perf_counter() - started) > 1_000


def test_items_are_plain_data():
    env = MATH.make()
    task = env.task(index=0)
    assert pickle.loads(pickle.dumps(task)) == task
