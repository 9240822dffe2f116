"""The report: what it says, that untrusted text stays inert, and that a real browser draws it in silence."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents import report
from r1env.errors import RunError
from tests.chromium import Browser
from tests.pages import NASTY, assert_closed, assert_inert, page_data

VERDICTS = ["correct", "wrong", "no_answer", "unscorable"]


def figures(pass_at_1: float, n: int = 500) -> dict:
    half = 1.96 * math.sqrt(pass_at_1 * (1 - pass_at_1) / n)
    return {
        "pass_at_1": pass_at_1,
        "pass_at_1_ci95": [pass_at_1 - half, pass_at_1 + half],
        "pass_at_k": min(1.0, pass_at_1 + 0.2),
        "k": 16,
        "format": 0.5 + pass_at_1 / 2,
        "mean_tokens": 10 + 10 * pass_at_1,
        "n": n,
        "pass_by_task": {"0123456789abcdef": 0.1875},
    }


def metrics_row(step: int, steps: int) -> dict:
    done = 1 - math.exp(-3 * step / steps)
    noise = math.sin(step * 12.9898) * 0.05
    row = {
        "step": step,
        "reward": 0.3 + 0.7 * done + noise,
        "reward_std": 0.5 - 0.3 * done,
        "parts": {"accuracy": 0.3 + 0.6 * done + noise, "format": 0.7 + 0.2 * done},
        "length": 8 + 7 * done + 5 * noise,
        "truncated": 0.02 * (1 - done),
        "entropy": 0.9 - 0.6 * done + noise,
        "kl": None,
        "clip_share": 0.0,
        "loss": noise,
        "grad_norm": 0.6 + noise,
        "lr": 1e-4,
        "groups": 32,
        "groups_skipped": int(20 * done),
        "unscorable": 0,
        "reflective": 0.01 + 0.02 * done,
        "logprob_gap": 2e-6 + 1e-6 * noise,
        "tokens": 3000 + 900 * done,
        "seconds": {"sample": 0.1 + 0.1 * done, "grade": 0.03, "train": 0.2, "total": 0.36 + 0.1 * done},
    }
    if step % 20 == 0 or step == steps:
        row["eval"] = figures(0.4 + 0.5 * done)
    return row


def rollout_row(index: int, step: int) -> dict:
    text = NASTY[index % len(NASTY)]
    verdict = VERDICTS[index % 4]
    return {
        "step": step,
        "task_id": f"{step:08x}{index // 4:08x}",
        "prompt": f"{index} + {step} {text}",
        "completion": f"<think>{index} + {step} = {index + step} {text}</think><answer>{index + step}</answer>",
        "reward": float(index % 2),
        "parts": {"accuracy": float(index % 2), "format": 1.0},
        "verdict": verdict,
        "extracted": None if verdict == "no_answer" else str(index + step),
        "advantage": (-1) ** index * 0.8,
        "finish_reason": "length" if index % 5 == 0 else "stop",
        "tokens": 20 + index,
    }


def manifest_for() -> dict:
    return {
        "metrics": {
            "before": figures(0.41),
            "after": figures(0.913),
            "change_ci95": [0.462, 0.544],
            "by_level": {
                "add_sub": {"before": figures(0.5, 200), "after": figures(0.95, 200)},
                f"precedence {NASTY[0]}": {"before": figures(0.15, 100), "after": figures(0.39, 100)},
            },
            "probe": [
                {
                    "prompt": "2 + 3 * 4",
                    "remark": f"Not among what was trained. {NASTY[1]}",
                    "before": {"text": "<answer>20</answer>", "verdict": "wrong"},
                    "after": {
                        "text": "<think>3 * 4 = 12\n2 + 12 = 14</think><answer>14</answer>",
                        "verdict": "correct",
                    },
                }
            ],
            "note": f"RL here elicits a behaviour that the warm-up planted. {NASTY[1]}",
        },
        "command": f"python -m agents.grpo env=math seed=0 'env.level={NASTY[0]}'",
        "seed": 0,
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "hardware": {"cpu": "Some CPU", "threads": 2, "gpu": None},
        "created": "2026-01-02T03:04:05+00:00",
    }


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished GRPO run of 100 steps with hostile text wherever text can be."""
    path = tmp_path / "grpo <b>&amp;"
    path.mkdir()
    rows = [metrics_row(step, 100) for step in range(101)]
    rows[7]["loss"] = math.nan
    rows[8]["grad_norm"] = math.inf
    rows[9] = {"step": 9}
    write_lines(path / "metrics.jsonl", rows)
    rollouts = [rollout_row(index, step) for step in range(0, 100, 10) for index in range(8)]
    rollouts.append({"step": 100, "prompt": None, "completion": None, "parts": None, "verdict": None})
    rollouts.append({"step": 100, "prompt": [{"role": "user", "content": NASTY[0]}], "completion": "no tags"})
    write_lines(path / "rollouts.jsonl", rollouts)
    (path / "manifest.json").write_text(json.dumps(manifest_for()), encoding="utf-8")
    (path / "config.yaml").write_text(f"env:\n  source: '{NASTY[0]}'\nseed: 0\n", encoding="utf-8")
    return path


def test_hostile_text_stays_inside_the_data_block(run_dir: Path) -> None:
    text = report.write_report(run_dir).read_text(encoding="utf-8")
    assert_inert(text)
    completions = [row["completion"] for row in page_data(text)["rollouts"]]
    for nasty in NASTY:
        assert any(nasty in completion for completion in completions if completion), nasty


def test_the_page_fetches_nothing_and_allows_only_its_own_blocks(run_dir: Path) -> None:
    assert_closed(report.write_report(run_dir).read_text(encoding="utf-8"))


def test_values_that_are_not_finite_become_gaps_and_are_reported(run_dir: Path) -> None:
    data = page_data(report.write_report(run_dir).read_text(encoding="utf-8"))
    metrics = data["metrics"]
    assert metrics["step"] == list(range(101))
    assert metrics["loss"][7] is None and metrics["grad_norm"][8] is None and metrics["reward"][9] is None
    assert metrics["parts.accuracy"][0] == pytest.approx(0.3, abs=0.01) and "kl" not in metrics
    remark = "Not a finite number at some steps, and left out there: grad_norm (1), loss (1)."
    assert data["remarks"] == {"curves": [remark], "rollouts": []}
    assert data["tokens"] == pytest.approx(
        sum(metrics_row(step, 100)["tokens"] for step in range(101) if step != 9)
    )


def test_a_long_run_is_thinned_and_says_so(tmp_path: Path) -> None:
    write_lines(tmp_path / "metrics.jsonl", [{"step": step, "reward": float(step % 2)} for step in range(5000)])
    write_lines(tmp_path / "rollouts.jsonl", [rollout_row(i, i // 4) for i in range(6001)])
    data = report.collect(tmp_path)
    assert len(data["metrics"]["step"]) == len(data["metrics"]["reward"]) == report.MAX_POINTS
    assert data["metrics"]["step"][-1] == 4999 and data["steps"] == 4999
    # Spans hold two or three steps, alternating 0 and 1: their means stay near a half, none is a raw value.
    assert {round(value, 3) for value in data["metrics"]["reward"]} <= {0.333, 0.5, 0.667}
    assert len(data["rollouts"]) == report.MAX_ROLLOUTS
    assert data["rollouts"][0] == rollout_row(0, 0) and data["rollouts"][-1] == rollout_row(6000, 1500)
    (curves,), (rollouts,) = data["remarks"]["curves"], data["remarks"]["rollouts"]
    assert "5,000 steps as 2,000 points" in curves and "Of 6,001 recorded rollouts 2,000 are here" in rollouts


def test_long_texts_bound_the_size_of_the_page(tmp_path: Path) -> None:
    text = "<think>" + "x" * 99_000 + "</think><answer>7</answer>"
    rows = [{"step": i, "prompt": [{"role": "user", "content": text}], "completion": text} for i in range(900)]
    write_lines(tmp_path / "rollouts.jsonl", rows)
    path = report.write_report(tmp_path)
    assert path.stat().st_size < 2 * report.MAX_CHARACTERS
    first = page_data(path.read_text(encoding="utf-8"))["rollouts"][0]
    for shown in (first["completion"], first["prompt"][0]["content"]):
        assert len(shown) < report.MAX_TEXT + 100 and "characters left out" in shown
        assert shown.startswith("<think>x") and shown.endswith("</answer>")


def test_rows_of_one_step_are_merged_and_a_line_being_written_is_ignored(tmp_path: Path) -> None:
    rows = [
        {"step": 0, "eval": figures(0.4)},
        {"step": 2, "loss": 2.0},
        {"step": 1, "loss": 9.0},
        {"step": 1, "loss": 1.0},
    ]
    write_lines(tmp_path / "metrics.jsonl", rows)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    data = report.collect(tmp_path)
    assert data["metrics"] == {"step": [0, 1, 2], "loss": [None, 1.0, 2.0]}
    assert [row["step"] for row in data["evals"]] == [0] and not data["finished"]


def test_what_cannot_be_reported_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run directory at .*missing"):
        report.write_report(tmp_path / "missing")
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step"\n{"step": 2}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl line 2 is not a JSON object"):
        report.write_report(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "manifest.json").write_text("[1]")
    with pytest.raises(RunError, match=r"manifest\.json holds a list"):
        report.write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_the_report_needs_no_torch() -> None:
    code = "import sys, agents.report; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------- in a real browser


def opened(browser: Browser, run_dir: Path, **how: object) -> Browser:
    browser.open(report.write_report(run_dir), **how)
    return browser


def assert_silent(browser: Browser, run_dir: Path) -> None:
    browser.assert_silent(run_dir / "report.html")


def test_a_finished_run_is_drawn_whole_and_in_silence(browser: Browser, run_dir: Path) -> None:
    page = opened(browser, run_dir)
    text = page.js("document.body.innerText")
    assert page.js("document.querySelector('h1').textContent") == run_dir.name
    result = page.js("document.querySelector('#result').innerText.replace(/\\s+/g, ' ')")
    for shown in ("41.0%→91.3%", "36.7–45.3%", "+46.2 to +54.4 points", "pass@16", "on 500 held-out tasks"):
        assert shown in result, shown
    assert page.js("[...document.querySelectorAll('#probe .verdict')].map((v) => v.textContent)") == [
        "wrong",
        "correct",
    ]
    assert page.js("document.querySelectorAll('table.levels tbody tr').length") == 2
    titles = page.js("[...document.querySelectorAll('figure.chart h4')].map((h) => h.textContent)")
    assert titles == [
        "Held-out accuracy",
        "Reward",
        "Reward parts",
        "Length",
        "Cut off",
        "Entropy",
        "Reflective phrases",
        "Loss",
        "Gradient norm",
        "Groups skipped",
        "Engine–trainer gap",
        "Seconds by phase",
    ]
    assert page.js(
        "[...document.querySelectorAll('.chart')].every((c) => c.querySelector('path.line, path.area'))"
    )
    assert "The same at every step: clipped 0.0%; learning rate 1.0e-4; unscorable 0." in text
    assert "correct_by_task" not in (run_dir / "report.html").read_text()
    assert "RL here elicits a behaviour that the warm-up planted. <!-- <script> <img" in text
    assert "python -m agents.grpo env=math seed=0" in text and "agents.grpo" in page.js(
        "document.querySelector('.kicker').innerText"
    )
    assert "grad_norm (1), loss (1)" in text and "Run it again" in text
    assert page.js("typeof window.hacked") == "undefined"
    assert page.js("document.querySelectorAll('img, iframe, script').length") == 2
    assert_silent(page, run_dir)


def test_rollouts_are_paged_by_key_button_slider_and_verdict(browser: Browser, run_dir: Path) -> None:
    page = opened(browser, run_dir)
    place = "document.querySelector('.place').textContent + ' · ' + document.querySelector('.pager output').textContent"
    assert page.js(place) == "1 of 82 · step 0"
    page.key("ArrowRight")
    assert page.js(place) == "1 of 82 · step 0", (
        "arrow keys belong to the rollouts only while those are in view"
    )
    page.js("document.querySelector('#rollouts').scrollIntoView({ behavior: 'instant' })")
    page.key("ArrowRight")
    page.key("ArrowRight")
    page.key("ArrowLeft")
    assert page.js(place) == "2 of 82 · step 0"
    assert NASTY[1] in page.js("document.querySelector('.rollout .prompt').textContent")
    assert page.js("document.querySelector('.rollout details.reasoning').open") is False
    assert NASTY[1] in page.js("document.querySelector('.rollout details.reasoning pre').textContent")
    assert page.js("document.querySelector('.rollout .answer pre').textContent") == "1"
    assert page.js("document.querySelector('.rollout .verdict').innerText") == "wrong"
    assert "−0.8" in page.js("document.querySelector('.rollout dl').innerText")
    page.js("[...document.querySelectorAll('.chip')].find((c) => c.innerText.startsWith('no answer')).click()")
    assert page.js(place) == "1 of 20 · step 0"
    page.js(
        "(() => { const s = document.querySelector('input[type=range]'); s.value = 5; s.dispatchEvent(new Event('input')); })()"
    )
    assert page.js(place) == "11 of 20 · step 50"
    page.js("document.querySelectorAll('.group button')[0].click()")
    assert page.js(place) == "41 of 82 · step 50"
    for _ in range(45):
        page.js("document.querySelector('button[aria-label=\"Next rollout\"]').click()")
    assert page.js(place) == "82 of 82 · step 100"
    assert "no tags" in page.js("document.querySelector('.rollout .completion').textContent")
    assert_silent(page, run_dir)


def test_one_cursor_reads_all_charts_and_a_click_opens_the_rollouts_of_that_step(
    browser: Browser, run_dir: Path
) -> None:
    page = opened(browser, run_dir)
    page.js("document.querySelector('.plot').scrollIntoView({ block: 'center', behavior: 'instant' })")
    page.mouse(".plot", 0.5)
    steps = page.js("[...document.querySelectorAll('.at.on')].map((at) => at.textContent)")
    assert steps == ["step 40"] * 12
    shown = page.js("document.querySelectorAll('.chart')[1].querySelector('.legend b').textContent")
    assert float(shown) == pytest.approx(metrics_row(40, 100)["reward"], abs=0.0006)
    for kind in ("mousePressed", "mouseReleased"):
        page.mouse(".plot", 0.5, kind, button="left", clickCount=1)
    assert page.js("document.querySelector('.pager output').textContent") == "step 40"
    assert_silent(page, run_dir)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 400, 768, 1440])
def test_it_fits_every_width_in_light_and_dark(browser: Browser, run_dir: Path, width: int, dark: bool) -> None:
    page = opened(browser, run_dir, width=width, dark=dark)
    assert page.js("document.documentElement.scrollWidth") <= width
    colours = page.js(
        "['color', 'backgroundColor'].map((key) => getComputedStyle(key === 'color' ? document.body : document.documentElement)[key])"
    )
    ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in colours)
    assert (ink > 200 and paper < 60) if dark else (ink < 60 and paper > 200)
    assert_silent(page, run_dir)


def test_a_run_in_progress_shows_what_there_is(browser: Browser, run_dir: Path) -> None:
    (run_dir / "manifest.json").unlink()
    (run_dir / "rollouts.jsonl").unlink()
    page = opened(browser, run_dir)
    assert "in progress" in page.js("document.querySelector('.kicker').innerText")
    assert "pass@1, step 0 → step 100" in page.js("document.querySelector('#result').innerText")
    assert page.js("document.querySelectorAll('#rollouts, #probe, #levels, #made, .note').length") == 1, (
        "config only"
    )
    assert page.js("document.querySelectorAll('.chart').length") == 12
    assert_silent(page, run_dir)


def test_a_supervised_run_shows_its_loss(browser: Browser, tmp_path: Path) -> None:
    rows = [
        {"step": i, "loss": 3 * math.exp(-i / 50), "lr": 1e-3 * (1 - i / 200), "seconds": {"total": 0.1}}
        for i in range(200)
    ]
    write_lines(tmp_path / "metrics.jsonl", rows)
    page = opened(browser, tmp_path)
    assert "Loss" in page.js("document.querySelector('#result').innerText")
    assert page.js("[...document.querySelectorAll('figure.chart h4')].map((h) => h.textContent)") == [
        "Loss",
        "Learning rate",
    ]
    assert "The same at every step: seconds by phase 100 ms." in page.js(
        "document.querySelector('#curves').innerText"
    )
    assert_silent(page, tmp_path)


@pytest.mark.parametrize(
    "rows",
    [[], [{"step": 1, "reward": 0.5, "loss": None}], [{"step": 1, "custom": {"gain": 2}}]],
    ids=["empty", "one", "custom"],
)
def test_a_run_that_has_just_begun_is_drawn_too(browser: Browser, tmp_path: Path, rows: list[dict]) -> None:
    write_lines(tmp_path / "metrics.jsonl", rows)
    page = opened(browser, tmp_path)
    assert page.js("document.querySelectorAll('.chart').length") == len(rows)
    assert_silent(page, tmp_path)


def test_the_policy_of_the_page_refuses_the_network(browser: Browser, run_dir: Path) -> None:
    page = opened(browser, run_dir)
    blocked = page.js(
        "new Promise((done) => { document.addEventListener('securitypolicyviolation', (e) => done(e.blockedURI));"
        "const image = document.createElement('img'); image.src = 'http://127.0.0.1:9/x.png'; document.body.append(image); })"
    )
    assert blocked == "http://127.0.0.1:9/x.png"
