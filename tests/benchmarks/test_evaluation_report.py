"""Reports of an evaluation: what they say, that untrusted text stays inert, and that a real browser draws the page."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import report
from benchmarks.report import evaluation, figures, markdown
from benchmarks.report import page as page_module
from benchmarks.report.lengths import GROUPS, histogram
from r1env.errors import RunError
from tests.benchmarks.evaluation_dir import Made, problem_id, write_evaluation
from tests.chromium import Browser
from tests.pages import NASTY, assert_closed, assert_inert, page_data


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three benchmarks, one of them full of hostile text."""
    return write_evaluation(
        tmp_path / "run <b>&amp;",
        Made(name="aime24", n=30, k=8, strength=0.6),
        Made(name="math500", n=120, k=2, strength=0.8),
        Made(name="nasty", n=12, k=4, nasty=True),
    )


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------- what is read


def test_a_later_grade_counts_and_texts_are_found_where_they_stand(directory: Path) -> None:
    first = lines(directory / "samples.jsonl")[0]
    key = {name: first[name] for name in ("benchmark", "problem", "sample")}
    with (directory / "grades.jsonl").open("a", encoding="utf-8") as file:
        file.write(
            json.dumps({**key, "grader": "newer", "verdict": "unscorable", "parts": {}, "extracted": None})
            + "\n"
        )
        file.write('{"benchmark": "aime24", "prob')  # torn by a crash
    found = evaluation.read(directory)
    assert len(found.samples) == 30 * 8 + 120 * 2 + 12 * 4
    sample, row, grade = next(found.texts(found.samples[:1]))
    assert (sample.verdict, grade["grader"], row["text"]) == ("unscorable", "newer", first["text"])


def test_what_cannot_be_reported_is_one_clear_error(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(RunError, match=r"no evaluation at .*missing"):
        report.write(tmp_path / "missing")
    with pytest.raises(RunError, match=r"holds no summary\.json.*--out"):
        report.write(tmp_path)
    (directory / "grades.jsonl").write_text('{"benchmark"\n{"benchmark": "x"}\n')
    with pytest.raises(RunError, match=r"grades\.jsonl line 1 is damaged"):
        report.write(directory)
    (directory / "summary.json").write_text("[1]")
    with pytest.raises(RunError, match=r"summary\.json holds a list"):
        report.write(directory)
    assert not (directory / "report.html").exists()


# ---------------------------------------------------------------- terminal and Markdown


def test_the_table_has_a_row_a_benchmark_with_its_interval(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((directory / "summary.json").read_text())
    report.show(summary)
    out = capsys.readouterr().out
    for name, entry in summary["tasks"].items():
        (row,) = [line for line in out.splitlines() if line.startswith(f"{name} ")]
        low, high = entry["value_ci95"]
        for text in (f"{100 * entry['value']:.1f}%", f"{100 * low:.1f}–{100 * high:.1f}%", "●", "━"):
            assert text in row, (text, row)
    assert "nasty: some samples could not be graded" in out


@pytest.mark.parametrize(
    ("value", "bounds", "drawn"),
    [(0.5, [0.25, 0.75], "┄━●━"), (0.0, [0.0, 0.1], "●┄┄┄"), (1.0, None, "┄┄┄●")],
)
def test_an_interval_is_drawn_in_characters(value: float, bounds: list[float] | None, drawn: str) -> None:
    assert figures.bar({"value": value, "value_ci95": bounds, "metric": "pass@1"}, width=4) == drawn


def test_a_rating_is_no_share() -> None:
    entry = {"metric": "rating", "value": 2029.0, "value_ci95": [1900.0, 2150.0]}
    assert (figures.value(entry), figures.interval(entry), figures.bar(entry)) == ("2,029", "1,900–2,150", "")


def test_markdown_keeps_hostile_text_in_its_cell(tmp_path: Path) -> None:
    name = "<img src=x>|`a`\n# b"
    made = Made(name=name, data={"source": NASTY[0], "verified": False})
    text = markdown.render(evaluation.read(write_evaluation(tmp_path, made, model="a*b")))
    row = next(line for line in text.splitlines() if line.startswith("| \\<img"))
    assert row.count(" | ") == 9 and "\\|\\`a\\` \\# b" in row
    assert text.startswith("# a\\*b\n") and "unverified" in text
    shown, fence, command = text.partition("\n```bash\n")
    assert "\n# b" not in shown and "\n# b" in command and fence, "a command stands as it was given"


def test_no_command_ends_the_fence_around_it(tmp_path: Path) -> None:
    text = markdown.render(evaluation.read(write_evaluation(tmp_path, model="a\n````\n# b")))
    _, opened, command = text.partition("\n`````bash\n")
    assert opened and "\n# b" in command.partition("\n`````\n")[0]


# ---------------------------------------------------------------- lengths


@given(st.lists(st.tuples(st.integers(0, 40_000), st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_every_response_is_in_the_bin_of_its_length(found: list[tuple[int, bool, bool]]) -> None:
    samples = [
        evaluation.Sample(
            key=("b", "p", i), offset=0, size=0, length=length, counted=True,
            finish_reason="length" if cut else "stop", verdict="correct" if right else "wrong",
        )
        for i, (length, right, cut) in enumerate(found)
    ]  # fmt: skip
    drawn = histogram(samples)
    assert drawn is not None
    edges, counts = drawn["edges"], drawn["counts"]
    assert edges == sorted(set(edges)) and 2 <= len(edges) <= 80
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        there = [sample for sample in samples if low <= sample.length < high]
        assert sum(counts[group][i] for group in GROUPS) == len(there)
        assert counts["right"][i] == sum(sample.verdict == "correct" for sample in there)
    assert sum(map(sum, counts.values())) == len(samples)


# ---------------------------------------------------------------- the page


def test_hostile_text_stays_inside_the_data_block(directory: Path) -> None:
    text = report.write(directory)[1].read_text(encoding="utf-8")
    assert_inert(text)
    assert_closed(text)
    said = [sample["text"] for sample in page_data(text)["samples"]]
    for nasty in NASTY:
        assert any(nasty in one for one in said), nasty


def test_the_viewer_shows_one_sample_of_each_verdict_of_every_problem_first(
    tmp_path: Path, monkeypatch
) -> None:
    directory = write_evaluation(tmp_path, Made(name="a", n=20, k=16), Made(name="b", n=3, k=2))
    monkeypatch.setattr(page_module, "MAX_SAMPLES", 80)
    data = page_module.collect(evaluation.read(directory))
    assert len(data["samples"]) == 80 and "Of 326 samples 80 are here" in data["remarks"]["samples"][0]
    shown = {(s["benchmark"], s["problem"], s["grade"]["verdict"]) for s in data["samples"]}
    graded = {(g["benchmark"], g["problem"], g["verdict"]) for g in lines(directory / "grades.jsonl")}
    assert shown == graded
    assert sum(s["benchmark"] == "b" for s in data["samples"]) == 6
    (a, _b) = data["benchmarks"]
    assert sum(map(sum, a["lengths"]["counts"].values())) == 320 and len(a["problems"]) == 20


def test_long_texts_bound_the_size_of_the_page(tmp_path: Path) -> None:
    directory = write_evaluation(tmp_path, Made(name="a", n=40, k=16))
    rows = lines(directory / "samples.jsonl")
    for row in rows:
        row["text"] = "<think>" + "x" * 99_000
    (directory / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = report.write(directory)[1]
    assert path.stat().st_size < 2 * page_module.MAX_CHARACTERS
    first = page_data(path.read_text())["samples"][0]
    assert len(first["text"]) < page_module.MAX_TEXT + 100 and "characters left out" in first["text"]


def test_gold_answers_are_not_on_the_page(directory: Path) -> None:
    rows = lines(directory / "problems.jsonl")
    (directory / "problems.jsonl").write_text(
        "".join(json.dumps({**row, "meta": {"secret": "GOLD"}}) + "\n" for row in rows)
    )
    assert "GOLD" not in report.write(directory)[1].read_text()


# ---------------------------------------------------------------- in a real browser


def opened(browser: Browser, directory: Path, **how: object) -> Browser:
    browser.open(report.write(directory)[1], **how)
    return browser


def text_of(page: Browser, selector: str) -> str:
    return re.sub(r"\s+", " ", str(page.js(f"document.querySelector({selector!r}).innerText")))


def test_it_is_drawn_whole_and_in_silence(browser: Browser, directory: Path) -> None:
    page = opened(browser, directory)
    entry = json.loads((directory / "summary.json").read_text())["tasks"]["aime24"]
    low, high = entry["value_ci95"]
    row = text_of(page, "table.figures tbody tr")
    for shown in ("aime24", f"{100 * entry['value']:.1f}%", f"{100 * low:.1f}–{100 * high:.1f}%", "30 × 8"):
        assert shown in row, (shown, row)
    assert page.js("document.querySelectorAll('table.figures svg.interval').length") == 3
    assert page.js("document.querySelector('h1').textContent") == "acme/r1-tiny"
    assert page.js("document.querySelectorAll('svg.heat').length") == 3
    assert page.js("document.querySelectorAll('svg.histogram').length") == 3
    assert "some samples could not be graded" in text_of(page, "#figures")
    assert "hard 25.0% of 15" in text_of(page, ".benchmark")
    assert "r1-bench eval --model acme/r1-tiny" in text_of(page, "#made")
    assert page.js("typeof window.hacked") == "undefined"
    assert page.js("document.querySelectorAll('img, iframe, script').length") == 2
    page.assert_silent(directory / "report.html")


def test_the_viewer_pages_filters_and_finds(browser: Browser, directory: Path) -> None:
    page = opened(browser, directory)
    place = "document.querySelector('.place').textContent"
    assert page.js(place) == "1 of 528"
    page.key("ArrowRight")
    assert page.js(place) == "1 of 528", "arrow keys belong to the viewer only while it is in view"
    page.js("document.querySelector('#samples').scrollIntoView({ behavior: 'instant' })")
    page.key("ArrowRight")
    page.key("ArrowRight")
    page.key("ArrowLeft")
    assert page.js(place) == "2 of 528"
    assert page.js("document.querySelector('.sample details.reasoning').open") is False
    grader = text_of(page, ".grader")
    assert "it read" in grader and "r1env/Math-v0 3" in grader and "compared as integers" in grader

    verdicts = [row["verdict"] for row in lines(directory / "grades.jsonl")]
    page.js(
        "[...document.querySelectorAll('#samples .chip')].find((c) => c.innerText.startsWith('wrong')).click()"
    )
    assert page.js(place).endswith(f" of {verdicts.count('wrong')}")
    assert text_of(page, ".sample .verdict") == "wrong"
    page.js(
        "(() => { const s = document.querySelector('#samples select'); s.value = 'nasty'; s.dispatchEvent(new Event('change')); })()"
    )
    wrong = [
        r for r in lines(directory / "grades.jsonl") if r["verdict"] == "wrong" and r["benchmark"] == "nasty"
    ]
    assert page.js(place).endswith(f" of {len(wrong)}")
    index = next(i for i in range(12) if problem_id("nasty", i) == wrong[-1]["problem"])
    write = "(() => {{ const i = document.querySelector('input[type=search]'); i.value = {!r}; i.dispatchEvent(new Event('input')); }})()"
    page.js(write.format(f"How much is {index} +"))
    assert page.js(place) == f"1 of {sum(row['problem'] == wrong[-1]['problem'] for row in wrong)}"
    page.js(write.format("no such"))
    assert page.js(place) == "none" and "No sample fits." in text_of(page, ".sample")
    page.assert_silent(directory / "report.html")


def test_reasoning_unfolds_and_stays_so(browser: Browser, directory: Path) -> None:
    page = opened(browser, directory)
    page.js("document.querySelector('#samples').scrollIntoView({ behavior: 'instant' })")
    page.js("document.querySelector('.sample .reasoning summary').click()")
    assert "plus" in text_of(page, ".sample .reasoning pre")
    page.key("ArrowRight")
    assert page.js("document.querySelector('.sample details.reasoning').open") is True


def test_a_problem_of_the_heat_map_opens_its_samples(browser: Browser, directory: Path) -> None:
    page = opened(browser, directory)
    readout = "document.querySelectorAll('.benchmark')[0].querySelector('.readout').textContent"
    assert "of 30" in page.js(readout)
    page.js("document.querySelector('.picture').focus()")
    page.key("ArrowRight")
    page.key("ArrowRight")
    assert page.js(readout).startswith("aime24-1: ")
    page.key("Enter")
    assert page.js("document.querySelector('.sample .task').textContent") == problem_id("aime24", 1)
    page.js("[...document.querySelectorAll('.picture .chip')][1].click()")
    page.js("document.querySelector('.picture').focus()")
    page.key("Home")
    shares = json.loads((directory / "summary.json").read_text())["tasks"]["aime24"]["by_problem"]
    assert page.js(readout).endswith(f"{100 * min(shares.values()):.1f}% right")
    page.mouse("svg.heat", 0.01, "mousePressed", button="left", clickCount=1)
    page.mouse("svg.heat", 0.01, "mouseReleased", button="left", clickCount=1)
    page.assert_silent(directory / "report.html")


def test_a_problem_whose_samples_are_not_on_the_page_says_so(
    browser: Browser, tmp_path: Path, monkeypatch
) -> None:
    directory = write_evaluation(tmp_path, Made(name="a", n=30, k=1))
    monkeypatch.setattr(page_module, "MAX_SAMPLES", 10)
    page = opened(browser, directory)
    page.js("document.querySelector('.picture').focus()")
    readout = "document.querySelector('.readout').textContent"
    page.key("Home")
    assert "not on this page" not in page.js(readout)
    page.key("End")
    assert "not on this page" in page.js(readout)
    page.key("Enter")
    page.assert_silent(directory / "report.html")


def test_the_histogram_is_read_off_by_keys(browser: Browser, directory: Path) -> None:
    page = opened(browser, directory)
    figure = "document.querySelector('svg.histogram').closest('figure')"
    page.js(f"{figure}.focus()")
    drawn = page_data((directory / "report.html").read_text())["benchmarks"][0]["lengths"]
    total = 0
    page.key("Home")
    for _ in range(len(drawn["edges"]) - 1):
        words = str(page.js(f"{figure}.querySelector('.readout').textContent"))
        total += sum(int(number) for number in re.findall(r"(\d+) (?:right|not right|cut off)", words))
        page.key("ArrowRight")
    assert total == 240


def test_figures_that_are_not_known_are_dashes(browser: Browser, tmp_path: Path) -> None:
    """Nothing could be graded: the grader's fault, and no figure but the lengths."""
    directory = write_evaluation(tmp_path, Made(name="a", n=4, k=2))
    summary = json.loads((directory / "summary.json").read_text())
    entry = summary["tasks"]["a"]
    for name in (
        "value",
        "value_ci95",
        "pass_at_1",
        "pass_at_1_ci95",
        "pass_at_1_se",
        "cons_at_k",
        "mean_tokens",
    ):
        entry[name] = None
    entry.update(pass_at_k={"1": None, "2": None}, by_problem={}, parts={}, by_level=None, unscorable=1.0)
    (directory / "summary.json").write_text(json.dumps(summary))
    page = opened(browser, directory)
    assert "NaN" not in text_of(page, "main") and "null" not in text_of(page, "main")
    assert text_of(page, "table.figures tbody tr").startswith("a pass@1 –")
    assert "| – | – |" in (directory / "report.md").read_text()
    page.assert_silent(directory / "report.html")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_it_fits_every_width_in_light_and_dark(
    browser: Browser, directory: Path, width: int, dark: bool
) -> None:
    page = opened(browser, directory, width=width, dark=dark)
    assert page.js("document.documentElement.scrollWidth") <= width
    colours = "['color', 'backgroundColor'].map((key) => getComputedStyle(key === 'color' ? document.body : document.documentElement)[key])"
    ink, paper = (sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in page.js(colours))
    assert (ink > 200 and paper < 60) if dark else (ink < 60 and paper > 200)
    page.assert_silent(directory / "report.html")


def test_an_unfinished_evaluation_is_drawn_too(browser: Browser, tmp_path: Path) -> None:
    directory = write_evaluation(tmp_path / "unfinished", finished=False)
    page = opened(browser, directory)
    assert "in progress" in text_of(page, ".kicker") and "acme/r1-tiny" in text_of(page, "h1")
    for name in ("samples.jsonl", "grades.jsonl", "problems.jsonl", "run.json"):
        (directory / name).unlink()
    page = opened(browser, directory)
    assert page.js("document.querySelectorAll('#samples, .histogram').length") == 0
    assert page.js("document.querySelectorAll('.heat').length") == 1
    page.assert_silent(directory / "report.html")
