"""The leaderboard's site: what stands in it, and that a real browser sorts, filters and compares."""

from __future__ import annotations

import csv
import itertools
import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from benchmarks.leaderboard import boards, build, check, reported
from r1env.stats import holm, paired_permutation_p
from tests.benchmarks.leaderboard_results import leaderboard, result
from tests.chromium import Browser
from tests.conftest import ROOT
from tests.pages import NASTY, assert_closed, assert_inert, page_data

STRENGTHS = {"acme/DeepSeek-R1": 0.8, "acme/half": 0.5, "acme/weak": 0.2, "zeta/half-too": 0.5}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Four results and their boards; the first model is among the reported ones."""
    tmp_path = tmp_path_factory.mktemp("leaderboard")
    found = [result(tmp_path, name, strength, seed) for seed, (name, strength) in enumerate(STRENGTHS.items())]
    return leaderboard(tmp_path, *found)


@pytest.fixture(scope="module")
def site(measured: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    accepted, refusals = check.check(measured[0], boards.load(measured[1]))
    assert not refusals
    build.build(out, accepted, boards.load(measured[1]), *reported.read())
    return out


@pytest.fixture(scope="module")
def data(site: Path) -> dict[str, Any]:
    return page_data((site / "index.html").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- what stands in it


def test_the_same_results_give_the_same_files(measured: tuple[Path, Path], site: Path, tmp_path: Path) -> None:
    accepted, _ = check.check(measured[0], boards.load(measured[1]))
    build.build(tmp_path, accepted, boards.load(measured[1]), *reported.read())
    files = sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    assert len(files) == 3 + 4
    for file in files:
        assert (site / file).read_bytes() == (tmp_path / file).read_bytes()


def test_the_csv_has_every_figure(site: Path, data: dict[str, Any]) -> None:
    rows = list(csv.DictReader((site / "leaderboard.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["kind"] for row in rows} == {"measured", "reported"}
    assert sum(row["kind"] == "reported" for row in rows) == 298
    ours = [row for row in rows if row["kind"] == "measured"]
    assert len(ours) == 4 * 3  # AIME 2024 with pass@1 and cons@64, MATH-500
    for row in ours:
        figures = next(one for one in data["measured"] if one["model"] == row["model"])["figures"]
        column = next(
            c for c in data["columns"] if (c["title"], c["metric"]) == (row["benchmark"], row["metric"])
        )
        assert float(row["value"]) == pytest.approx(100 * figures[column["id"]]["value"], abs=1e-4)
        if row["metric"] == "pass@1":
            assert float(row["low"]) < float(row["value"]) < float(row["high"])
        assert (site / row["source"]).is_file()


def test_sources_that_differ_stand_side_by_side_the_newest_first(data: dict[str, Any]) -> None:
    zero = next(row for row in data["reported"] if row["model"] == "DeepSeek-R1-Zero")["figures"][
        "aime24/pass@1"
    ]
    assert [figure["value"] for figure in zero] == [0.779, 0.71]
    titles = [[data["sources"][i]["title"] for i in figure["sources"]] for figure in zero]
    assert "Nature" in titles[0][0] and "arXiv" in titles[1][0]
    r1 = next(row for row in data["reported"] if row["model"] == "DeepSeek-R1")["figures"]["aime24/pass@1"]
    assert [figure["value"] for figure in r1] == [0.798]
    rating = next(row for row in data["reported"] if row["model"] == "DeepSeek-R1")["figures"][
        "codeforces/rating"
    ]
    assert rating[0]["value"] == 2029


def test_pairs_are_tested_problem_by_problem_and_adjusted_together(
    data: dict[str, Any], measured: tuple[Path, Path]
) -> None:
    found = {path.name: json.loads(path.read_text()) for path in sorted(measured[0].glob("*.json"))}
    shares = {name: one["tasks"]["math500"]["by_problem"] for name, one in found.items()}
    pairs = data["pairs"]["math500"]
    assert {(pair["a"], pair["b"]) for pair in pairs} == set(itertools.combinations(found, 2))
    for pair in pairs:
        a, b = shares[pair["a"]], shares[pair["b"]]
        assert pair["difference"] == pytest.approx(sum(b[i] - a[i] for i in a) / len(a))
        assert pair["p"] == paired_permutation_p([a[i] for i in sorted(a)], [b[i] for i in sorted(a)])
    assert [pair["p_holm"] for pair in pairs] == holm([pair["p"] for pair in pairs])


def test_hostile_names_stay_inside_the_data_block(measured: tuple[Path, Path], tmp_path: Path) -> None:
    known = boards.load(measured[1])
    accepted, _ = check.check(measured[0], known)
    for text, one in zip(NASTY, accepted.values()):
        one["model"]["name"] = text  # the check would refuse it: the page must hold all the same
    hostile = [reported.Reported(text, "AIME 2024", "Pass@1", 1.0, "S") for text in NASTY]
    sources = {"S": reported.Source(title=NASTY[0], url="javascript:alert(1)", date="2025-01-01")}
    build.build(tmp_path, accepted, known, hostile, sources)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert_inert(text)
    assert_closed(text)


# ---------------------------------------------------------------- in a real browser


def models(page: Browser) -> list[str]:
    return page.js("[...document.querySelectorAll('.board tbody th bdi')].map((b) => b.textContent)")


def press(page: Browser, selector: str, text: str) -> None:
    found = f"[...document.querySelectorAll({selector!r})].find((b) => b.innerText.trim().startsWith({text!r}))"
    page.js(f"{found}.click()")


def text_of(page: Browser, selector: str) -> str:
    return re.sub(r"\s+", " ", str(page.js(f"document.querySelector({selector!r}).innerText")))


@pytest.fixture
def page(browser: Browser, site: Path) -> Browser:
    browser.open(site / "index.html")
    return browser


def test_it_is_drawn_whole_and_in_silence(page: Browser, site: Path, data: dict[str, Any]) -> None:
    assert page.js("document.querySelector('h1').textContent") == "R1 leaderboard"
    rows = len(data["measured"]) + len(data["reported"])
    assert len(models(page)) == rows and f"{rows} of {rows} rows" in text_of(page, "#models")
    assert page.js("document.querySelectorAll('.board thead th').length") == 1 + len(data["columns"])
    assert "4 measured results" in text_of(page, "header")
    page.assert_silent(site / "index.html")


def test_columns_sort_both_ways_with_gaps_at_the_end(page: Browser, data: dict[str, Any]) -> None:
    press(page, ".sort", "AIME 2024")
    values = {row["model"]: row["figures"].get("aime24/pass@1") for row in data["reported"]}
    ours = {row["model"]: row["figures"]["aime24/pass@1"]["value"] for row in data["measured"]}
    of = {**{model: figures[0]["value"] for model, figures in values.items() if figures}, **ours}
    shown = models(page)
    ranked = [of[model] for model in shown if model in of]
    assert ranked == sorted(ranked, reverse=True) and len(ranked) == len(of)
    assert all(model in of for model in shown[: len(of)]), "models without a figure come last"
    heads = "[...document.querySelectorAll('.board thead th')].map((th) => th.getAttribute('aria-sort'))"
    assert page.js(heads)[1] == "descending" and page.js(heads).count("none") == len(page.js(heads)) - 1
    press(page, ".sort", "AIME 2024")
    again = [of[model] for model in models(page) if model in of]
    assert again == sorted(again) and page.js(heads)[1] == "ascending"
    press(page, ".sort", "Model")
    assert page.js(heads)[0] == "ascending"
    by_name = lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name.lower())]
    assert models(page) == sorted(models(page), key=by_name), "8B before 70B"


def test_models_are_found_by_name_origin_and_area(page: Browser, data: dict[str, Any], site: Path) -> None:
    page.key("/")
    for character in "half":
        page.key(character)
    assert models(page) == ["acme/half", "zeta/half-too"]
    page.js(
        "(() => { const i = document.querySelector('input[type=search]'); i.value = ''; i.dispatchEvent(new Event('input')); })()"
    )
    press(page, "#models .chip", "Measured")
    assert sorted(models(page)) == sorted(STRENGTHS)
    press(page, "#models .chip", "Reported")
    assert len(models(page)) == len(data["reported"])
    press(page, "#models .chip", "code")
    heads = page.js(
        "[...document.querySelectorAll('.board thead .sort span:first-child')].map((s) => s.textContent)"
    )
    assert "LiveCodeBench" in heads and "AIME 2024" not in heads
    page.assert_silent(site / "index.html")


def test_measured_figures_have_intervals_and_what_was_reported_beside_them(
    page: Browser, data: dict[str, Any]
) -> None:
    press(page, "#models .chip", "Measured")
    row = "[...document.querySelectorAll('.board tbody tr')].find((r) => r.innerText.includes('acme/DeepSeek-R1'))"
    cell = re.sub(r"\s+", " ", str(page.js(f"{row}.querySelector('td').innerText")))
    entry = next(one for one in data["measured"] if one["known_as"] == "DeepSeek-R1")["figures"][
        "aime24/pass@1"
    ]
    low, high = (f"{100 * bound:.1f}" for bound in entry["ci"])
    assert cell.startswith(f"{100 * entry['value']:.1f} {low}–{high} reported 79.8")


def test_sorting_by_a_benchmark_opens_it_below(page: Browser, data: dict[str, Any]) -> None:
    press(page, ".sort", "MATH-500")
    assert page.js("document.querySelector('#benchmark select').selectedOptions[0].text") == "MATH-500, pass@1"
    assert page.js("location.hash") == "#math500%2Fpass%401"
    column = [row for row in (*data["measured"], *data["reported"]) if "math500/pass@1" in row["figures"]]
    assert page.js("document.querySelectorAll('.ranks tbody tr').length") == len(column)
    bars = "document.querySelectorAll('.ranks tr.{0} .interval .{0} .range')"
    spread = "[...%s].map((l) => l.getAttribute('x2') !== l.getAttribute('x1'))"
    assert set(page.js(spread % bars.format("measured"))) == {True}
    assert set(page.js(spread % bars.format("reported"))) == {False}
    assert "met the same 40 problems" in text_of(page, "#benchmark")


def test_only_differences_beyond_chance_are_coloured(page: Browser, data: dict[str, Any]) -> None:
    press(page, ".sort", "MATH-500")
    cells = page.js(
        "[...document.querySelectorAll('.pairs td:not(.self)')].map((td) => [td.className, td.innerText])"
    )
    assert len(cells) == 4 * 3
    clear = sum(pair["p_holm"] < 0.05 for pair in data["pairs"]["math500"])
    assert 0 < clear < 6
    assert sum("unclear" not in cls for cls, _ in cells) == 2 * clear
    for cls, text in cells:
        assert (
            ("better" in cls and text.startswith("+"))
            or ("worse" in cls and text.startswith("−"))
            or "unclear" in cls
        )


def test_an_address_opens_its_benchmark(browser: Browser, site: Path) -> None:
    browser.open(f"{(site / 'index.html').as_uri()}#codeforces/rating")
    assert (
        browser.js("document.querySelector('#benchmark select').selectedOptions[0].text")
        == "Codeforces, rating"
    )
    assert "2,029" in text_of(browser, ".ranks")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_it_fits_every_width_in_light_and_dark(browser: Browser, site: Path, width: int, dark: bool) -> None:
    browser.open(site / "index.html", width=width, dark=dark)
    assert browser.js("document.documentElement.scrollWidth") <= width
    browser.assert_silent(site / "index.html")


def test_without_results_there_is_what_others_reported(browser: Browser, tmp_path: Path) -> None:
    build.build(tmp_path, {}, boards.load(), *reported.read())
    browser.open(tmp_path / "index.html")
    assert "0 measured results" in text_of(browser, "header")
    assert "Nobody has been measured here yet" in text_of(browser, "#benchmark")
    build.build(tmp_path, {}, {}, [], {})
    browser.open(tmp_path / "index.html")
    assert browser.js("document.querySelectorAll('#models, #benchmark').length") == 0
    browser.assert_silent(tmp_path / "index.html")


# ---------------------------------------------------------------- served


def test_it_is_served_until_interrupted(measured: tuple[Path, Path], browser: Browser) -> None:
    arguments = ["--results", str(measured[0]), "--boards", str(measured[1]), "--port", "0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cli", "leaderboard", "serve", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        address = process.stderr.readline().split()[0]
        browser.open(address)
        assert "4 measured results" in text_of(browser, "header")
        browser.assert_silent(address)
        with urllib.request.urlopen(f"{address}leaderboard.csv") as answer:
            assert answer.read().startswith(b"model,benchmark")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == 0 and json.loads(out) == {"results": 4, "refused": 0}
    finally:
        process.kill()
        process.wait()
