"""Programs, judged by their tests in a sandbox: HumanEval, MBPP, LiveCodeBench, Codeforces and their kin."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data import by_row, read, write_lines
from benchmarks.tasks import evalplus
from benchmarks.tasks.base import Benchmark, Source, dataset
from r1env.errors import ConfigError, DataError

R1_WINDOW = ("2024-08-01", "2025-01-31")
"""Contests of LiveCodeBench that R1 was evaluated on (arXiv 2501.12948 § 3)."""

_LCB_HUB = "livecodebench/code_generation_lite"
_LCB_UNTIL = {
    "test.jsonl": "2024-03", "test2.jsonl": "2024-05", "test3.jsonl": "2024-07",
    "test4.jsonl": "2024-09", "test5.jsonl": "2025-01", "test6.jsonl": "2025-04",
}  # fmt: skip
"""The month of each release's last contests; a release's file holds what the one before had not."""


def _mbpp_test(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Rows 11 to 510 are the test split; those before are for prompts, those after for training."""
    return row if 11 <= int(row["task_id"]) <= 510 else None


def _codeforces(files: Sequence[Path], directory: Path) -> Path:
    """Problems that a comparison of texts can judge, called by contest and letter as `1971A`."""
    problems, *names = files
    rows = [_of_open_r1(row) if "official_tests" in row else row for row in read(problems) if _comparable(row)]
    if names:  # the names of agentica's problems are in a list of their own
        called = json.loads(names[0].read_text(encoding="utf-8"))
        rows = [{**row, "id": name} for row, name in zip(rows, called, strict=True)]
    return write_lines(directory, [json.dumps(row, ensure_ascii=False) for row in rows])


def _comparable(row: Mapping[str, Any]) -> bool:
    """Whether one output is right for each input: nothing interactive, no checker, no files."""
    interactive = bool(str(row.get("interaction_format") or "").strip())
    stdio = row.get("input_mode", "stdio") == "stdio"
    return stdio and not interactive and not row.get("generated_checker")


def _of_open_r1(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of open-r1/codeforces: its statement in one text, and the tests that Codeforces shows whole."""
    parts = [row.get("title") or "", row.get("description") or ""]
    for heading, key in (("Input", "input_format"), ("Output", "output_format"), ("Note", "note")):
        if str(row.get(key) or "").strip():
            parts.append(f"{heading}\n{row[key]}")
    for example in row.get("examples") or ():
        parts.append(f"Example input\n{example['input']}\nExample output\n{example['output']}")
    parts.append(
        f"Time limit: {row.get('time_limit') or 2} s. Memory limit: {row.get('memory_limit') or 256} MB."
    )
    return {
        "id": f"{row['contest_id']}{row['index']}",
        "problem": "\n\n".join(part.strip() for part in parts if part.strip()),
        "tests": [{"input": test["input"], "output": test["output"]} for test in row["official_tests"]],
    }


# LiveCodeBench.


def livecodebench(first: str, last: str, *, name: str | None = None) -> Benchmark:
    """LiveCodeBench's problems from contests between two days, both included.

    Args:
        first: As `2024-08-01`; a month alone is its first day.
        last: Likewise; a month alone is its last day.
        name: What it is called; `livecodebench:FIRST..LAST` by default.

    Raises:
        ConfigError: no dates, or the wrong way round.
    """
    since, until = _day(first, last=False), _day(last, last=True)
    if since > until:
        raise ConfigError(f"livecodebench:{first}..{last} holds no day; give the earlier date first")
    months = list(_LCB_UNTIL.values())
    files = tuple(
        file
        for place, (file, month) in enumerate(_LCB_UNTIL.items())
        if month >= since[:7] and (place == 0 or months[place - 1] <= until[:7])
    )
    return Benchmark(
        name=name or f"livecodebench:{first}..{last}",
        title=f"LiveCodeBench, {since} to {until}",
        env=dataset("r1env/Code-v0", skip_untestable=False, cpu_s=6.0),
        source=Source(
            hub=_LCB_HUB,
            revision="0fe84c3912ea0c4d4a78037083943e8f0c4dd505",
            hub_files=files or ("test6.jsonl",),
            files=("livecodebench.jsonl", "livecodebench/livecodebench.jsonl"),
            licence="CC; problems of AtCoder and LeetCode",
            url="https://livecodebench.github.io",
        ),
        convert=_between(since, until),
        k=8,
        language="en",
        notes="other windows: livecodebench:2024-10..2025-04. A local file without dates is taken whole",
    )


def windowed(name: str) -> Benchmark:
    """The benchmark of a name such as `livecodebench:2024-10..2025-04`.

    Raises:
        ConfigError: no window can be read from the name.
    """
    first, dots, last = name.partition(":")[2].partition("..")
    if not dots:
        raise ConfigError(f"benchmark {name!r} names no window; write livecodebench:2024-10..2025-04")
    return livecodebench(first.strip(), last.strip())


def _day(text: str, *, last: bool) -> str:
    try:
        if len(text) == 7 and last:
            year, month = map(int, text.split("-"))
            following = datetime.date(year + month // 12, month % 12 + 1, 1)
            return (following - datetime.timedelta(days=1)).isoformat()
        return datetime.date.fromisoformat(f"{text}-01" if len(text) == 7 else text).isoformat()
    except ValueError as error:
        raise ConfigError(f"{text!r} is no date; write 2024-08-01 or 2024-08") from error


def _between(since: str, until: str) -> Callable[[Sequence[Path], Path], Path]:
    def convert(files: Sequence[Path], directory: Path) -> Path:
        rows = [row for path in files for row in read(path)]
        dates = [str(row.get("contest_date") or "")[:10] for row in rows]
        if any(dates):
            if not all(dates):
                raise DataError(
                    f"{files[0]} row {dates.index('') + 1} has no contest_date, but others have; add it"
                )
            rows = [row for row, date in zip(rows, dates, strict=True) if since <= date <= until]
        return write_lines(directory, [json.dumps(row, ensure_ascii=False) for row in rows])

    return convert


BENCHMARKS = (
    Benchmark(
        name="humaneval",
        title="HumanEval",
        env=dataset("r1env/Code-v0"),
        source=Source(
            hub="openai/openai_humaneval",
            revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
            hub_files=("openai_humaneval/test-00000-of-00001.parquet",),
            files=("humaneval.jsonl", "humaneval/HumanEval.jsonl.gz", "HumanEval.jsonl.gz"),
            sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
            problems_sha256="9a1e054287622be96c5cd2fa357288d67dbae94cab88ec12ec8108589819faaa",
            licence="MIT",
            url="https://github.com/openai/human-eval",
        ),
        k=4,
        language="en",
    ),
    Benchmark(
        name="humaneval-plus",
        title="HumanEval+",
        env=dataset("r1env/Code-v0", cpu_s=5.0),
        source=Source(
            hub="evalplus/humanevalplus",
            hub_files=("test.jsonl",),
            hub_sha256="908377f1daf28dcb36846db73a5662b2e05a9907407c2696c89ad9d3b0b04492",
            files=("humaneval-plus.jsonl", "humaneval_plus/test.jsonl"),
            sha256="908377f1daf28dcb36846db73a5662b2e05a9907407c2696c89ad9d3b0b04492",
            licence="Apache-2.0",
            url="https://github.com/evalplus/evalplus",
        ),
        convert=by_row(evalplus.humaneval_row),
        k=4,
        language="en",
    ),
    Benchmark(
        name="mbpp",
        title="MBPP, test split",
        env=dataset("r1env/Code-v0"),
        source=Source(
            hub="google-research-datasets/mbpp",
            revision="4bb6404fdc6cacfda99d4ac4205087b89d32030c",
            hub_files=("full/test-00000-of-00001.parquet",),
            files=("mbpp.jsonl", "mbpp/mbpp.jsonl"),
            sha256="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
            problems_sha256="902f6d59048f263c07f4d67838b0b61ab0a1ce56a7f78f7ffac4003ba51a2e22",
            licence="CC BY 4.0",
            url="https://github.com/google-research/google-research/tree/master/mbpp",
        ),
        convert=by_row(_mbpp_test),
        k=4,
        language="en",
        notes="zero-shot, the first assertion shown and all of them tested",
    ),
    Benchmark(
        name="mbpp-plus",
        title="MBPP+",
        env=dataset("r1env/Code-v0", cpu_s=5.0),
        source=Source(
            hub="evalplus/mbppplus",
            revision="b2d74c91837c3f2a20c1299ae98133cbe7cfa077",
            hub_files=("data/test-00000-of-00001-d5781c9c51e02795.parquet",),
            hub_sha256="dc20030b3788fccf617444edcb34138ef13d7e4fafd17bfcb8c1279dbb12399b",
            files=("mbpp-plus.jsonl", "mbpp_plus/test.parquet"),
            licence="Apache-2.0",
            url="https://github.com/evalplus/evalplus",
        ),
        convert=by_row(evalplus.mbpp_row),
        k=4,
        language="en",
    ),
    livecodebench(*R1_WINDOW, name="livecodebench"),
    Benchmark(
        name="codeforces",
        title="Codeforces",
        env=dataset("r1env/Code-v0", skip_untestable=True, cpu_s=4.0),
        source=Source(
            hub="open-r1/codeforces",
            split="test",
            files=("codeforces",),
            members=("codeforces_test.json", "metadata_cf.json"),
            sha256="e4cb12330743c95524ee8d96be273274510b43d653e099ef105730c23d328df1",
            licence="CC BY 4.0; problems © Codeforces",
            url="https://huggingface.co/datasets/open-r1/codeforces",
        ),
        convert=_codeforces,
        rated_by="codeforces",
        k=16,
        language="en",
        notes="problems that a comparison of outputs can judge, in Python; DeepSeek took ten Div. 2 contests with tests of "
        "its own, so ratings from these compare with each other rather than with its",
    ),
    Benchmark(
        name="code-contests",
        title="CodeContests, test split",
        env=dataset("r1env/Code-v0", skip_untestable=True, cpu_s=4.0),
        source=Source(
            hub="deepmind/code_contests",
            split="test",
            files=("code-contests.jsonl", "code_contests/code_contests_test.json"),
            sha256="0e3c580698270ab930268cbc63ea6b9cf920874ac40de4a06bdbebc7c2eade71",
            licence="CC BY 4.0",
            url="https://github.com/google-deepmind/code_contests",
        ),
        language="en",
        notes="not among R1's benchmarks",
    ),
    Benchmark(
        name="leetcode",
        title="LeetCode, 200 problems",
        env=dataset("r1env/Code-v0", cpu_s=4.0),
        source=Source(
            files=("leetcode.json", "leetcode/leetcode_test.json"),
            sha256="a0664eee5e7356af13a01932bbe625bb8a0c15f067f5a964bc96f45ba439e66c",
            licence="problems © LeetCode; for evaluation",
            url="https://github.com/agentica-project/rllm",
        ),
        k=4,
        language="en",
        notes="a local file only: rllm/data/test/code/leetcode.json; not among R1's benchmarks",
    ),
)
