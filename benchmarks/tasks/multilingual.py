"""MGSM: 250 problems of GSM8K in eleven languages, each to be reasoned about in its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.data import read
from benchmarks.tasks.base import Benchmark, Source, dataset
from r1env import records
from r1env.grading.language import MGSM_LANGUAGES

_NAMES = {
    "bn": "Bengali", "de": "German", "en": "English", "es": "Spanish", "fr": "French", "ja": "Japanese",
    "ru": "Russian", "sw": "Swahili", "te": "Telugu", "th": "Thai", "zh": "Chinese",
}  # fmt: skip
_SHA256: Mapping[str, str] = {
    "bn": "6b00bc7cc635547e866989284afa924d789b5affa2eb8de623c385dd943ad977",
    "de": "4dfea30fede44b813e2e496f5f0534049e83c7cc8aed6e00600b30ec62053626",
    "en": "50021d0f28cc957edcb44e7806425b1c7fbd648ddcb9e0a8ec689d10e57d40fa",
    "es": "5bd27ebdf00140cec845c5298dc17715f5cd57d8edda6df1976db40bf3f0750a",
    "fr": "36207c1c03fd7cd3ea491441eb755408199f94e4a647851df531bbaedc99d606",
    "ja": "59a2b50debe77981fd784cb3b2bef1505e3abf2a37116dc9d7a366ab029b4637",
    "ru": "6bd30fd2e80c5bac23f566fb4ae0e6a55a19578401fbf9a01fb21beb3645fef8",
    "sw": "2bac828d77229e65d7c7197b1ad4a2cb5b1fe99b163f2cbdd66501de6a2115c4",
    "te": "dd6b1452c244bb2e4ba254c01ea84137f80c1cefc57d69c23b0ed88b9c0f36b7",
    "th": "f3932dc5ad8e9d0ea82b017adc1e1461dd647af861e7166d6741986602a0cfd6",
    "zh": "b2fa63151022370a0de1f4211c8c284eae74b0f5a3b003b1d5982c0d4a73f661",
}
"""Of the files in google-research/url-nlp."""


def _tables(files: Sequence[Path], directory: Path) -> Path:
    """A directory with `mgsm_<language>.tsv`, made of the hub's tables where the files are those."""
    if all(path.suffix == ".tsv" for path in files):
        return files[0].parent
    for path in files:
        lines = [f"{' '.join(row['question'].split())}\t{row['answer_number']}\n" for row in read(path)]
        records.write_atomic(directory / f"mgsm_{path.parent.name}.tsv", "".join(lines))
    return directory


def _benchmark(name: str, title: str, languages: Sequence[str]) -> Benchmark:
    hashes = [_SHA256[language] for language in languages]
    return Benchmark(
        name=name,
        title=title,
        env=dataset("r1env/Multilingual-v0", language=None, languages=list(languages), instruct=True),
        source=Source(
            hub="juletxara/mgsm",
            revision="b2f13d426afe3be8d69a7e739b36724db8b66bbc",
            hub_files=tuple(f"{language}/test-00000-of-00001.parquet" for language in languages),
            files=("mgsm",),
            members=tuple(f"mgsm_{language}.tsv" for language in languages),
            sha256=hashes[0] if len(hashes) == 1 else records.sha256_json(hashes),
            licence="CC BY 4.0",
            url="https://github.com/google-research/url-nlp/tree/main/mgsm",
        ),
        convert=_tables,
        instruction="Put your final answer within \\boxed{}.",
        metrics=("pass@1", "language"),
        cluster="row" if len(languages) > 1 else "",
        notes="each problem asks, in its language, to reason in that language; not among R1's benchmarks",
    )


BENCHMARKS = (
    _benchmark("mgsm", "MGSM, eleven languages", MGSM_LANGUAGES),
    *(_benchmark(f"mgsm-{code}", f"MGSM, {_NAMES[code]}", [code]) for code in MGSM_LANGUAGES),
)
