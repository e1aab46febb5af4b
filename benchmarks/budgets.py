"""Accuracy within 1, 2, 8 and 64 megabytes, and fastText's within the same: `records/benchmarks/budgets.json`.

    python -m benchmarks.budgets LIVEDOOR

takes the folder that `tanzaku data livedoor` wrote. `tanzaku fit` and fastText's autotune get the same documents, the
same minutes and the same test documents, for each size. fastText reads words of MeCab (IPADIC), validates on the
documents that Tanzaku validates on, and quantises to the size; its file is weighed. It runs in a virtual environment
that the script makes in build/, with `pip install fasttext-wheel`.

It takes about three hours. The same command resumes after an interruption: sizes that are done are not repeated.
`--scale tiny` only tries it out, on the sample corpus, in a minute or two.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tanzaku
from benchmarks.fit import MARGIN
from benchmarks.outside import measure_outside
from benchmarks.record import RECORDS
from benchmarks.resuming import BUILD, Parts
from tanzaku.data.dataset import SAMPLE, Dataset, Documents
from tanzaku.data.loading import load_dataset
from tanzaku.measure.metrics import accuracy_interval

RECORD = RECORDS / "budgets.json"
MEGABYTES = (1.0, 2.0, 8.0, 64.0)
PACKAGES = ("fasttext-wheel==0.9.2", "numpy<2")
_PATIENCE = 3  # times the time of the search; the training of what it found comes after it
_SCRIPT = Path(__file__).with_name("fasttext_autotune.py")
_TINY_SEARCH = 0.1  # minutes
_TINY: dict[str, Any] = {
    "encoder": None,
    "folds": 2,
    "candidates": [{"method": "tfidf-svm", "max_terms": 500, "longest_ngram": 1, "weight_bits": 8}],
}


def environment() -> Path:
    """The Python of an environment with fastText, which is made where it is not there."""
    folder = BUILD / "fasttext"
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not (folder / "ready").is_file():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (folder / "ready").touch()
    return python


def write_words(documents: Documents, path: Path, *, label_names: Sequence[str]) -> None:
    """A line for each document, as fastText reads them: the class's number, and MeCab's words."""
    from tanzaku.encoders.segmenter import ipadic_words

    words = ipadic_words()
    lines = (
        f"__label__{label_names.index(label)} {' '.join(words(text))}\n"
        for text, label in zip(documents.texts, documents.labels, strict=True)
    )
    path.write_text("".join(lines), encoding="utf-8")


def with_fasttext(folder: Path, *, megabytes: float, minutes: float) -> dict[str, Any]:
    """fastText's autotune within a size, on the splits in `folder`; quantised afterwards where that search fails.

    With a size, the search of fastText 0.9.2 aborts or hangs on some data: `autotune_with_size` says how it ended.
    """
    first = _fasttext(folder, megabytes=megabytes, minutes=minutes, search_with_size=True)
    if "failed" not in first:
        return first
    second = _fasttext(folder, megabytes=megabytes, minutes=minutes, search_with_size=False)
    return {**second, "autotune_with_size": first["failed"]}


def _fasttext(folder: Path, *, megabytes: float, minutes: float, search_with_size: bool) -> dict[str, Any]:
    seconds = max(5, round(60 * minutes))
    request = {"folder": str(folder), "megabytes": megabytes, "seconds": seconds, "search_with_size": search_with_size}
    began = time.perf_counter()
    try:
        finished = subprocess.run(
            [environment(), _SCRIPT],
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # thousands of lines of progress
            encoding="utf-8",
            timeout=_PATIENCE * seconds + 60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": "no end", "seconds": time.perf_counter() - began}
    if finished.returncode != 0:
        return {"failed": f"status {finished.returncode}", "seconds": time.perf_counter() - began}
    return {**json.loads(finished.stdout.splitlines()[-1]), "seconds": time.perf_counter() - began}


def within(
    megabytes: float, source: Path | Dataset, *, minutes: float, out: Path, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Both within a size: one part of the record."""
    bundle, study = out / f"{megabytes:g}mb", out / "study"
    shutil.rmtree(bundle, ignore_errors=True)
    began = time.perf_counter()
    result = tanzaku.fit(source, max_mb=megabytes, minutes=minutes, margin=MARGIN, out=bundle, study=study, **options)
    part: dict[str, Any] = {"seconds": time.perf_counter() - began, "verdict": list(result.report.sentences)}
    whole = load_dataset(study / "data")
    recommended = result.report.findings.recommended
    if result.bundle is not None and recommended is not None:
        found = measure_outside(result.bundle, whole.test.texts, whole.test.labels)
        part["tanzaku"] = {
            "name": str(recommended.name),
            "bytes": found.bytes,
            "accuracy": found.accuracy,
            "interval": accuracy_interval(round(found.accuracy * found.documents), found.documents),
            "milliseconds": found.milliseconds,
        }
    words = out / "words"
    if not words.is_dir():
        words.mkdir()
        for name in ("train", "val", "test"):
            write_words(getattr(whole, name), words / f"{name}.txt", label_names=whole.label_names)
    part["fasttext"] = with_fasttext(words, megabytes=megabytes, minutes=_TINY_SEARCH if options else minutes)
    part["test_documents"] = len(whole.test)
    return part


def rows(parts: Mapping[str, Any]) -> list[str]:
    """The table of the documentation."""
    lines = [
        "| MB at most | Tanzaku's candidate | MB | accuracy (%) | fastText: MB | accuracy (%) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for megabytes, part in parts.items():
        ours, theirs = part.get("tanzaku"), part["fasttext"]
        first = f"{ours['name']} | {ours['bytes'] / 1e6:.2f} | {100 * ours['accuracy']:.2f}" if ours else "none | – | –"
        second = f"failed ({theirs['failed']}) | –" if "failed" in theirs else ""
        second = second or f"{theirs['bytes'] / 1e6:.2f} | {100 * theirs['accuracy']:.2f}"
        lines.append(f"| {megabytes} | {first} | {second} |")
    return lines


def main() -> None:
    """Measure every size that is not done yet, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("livedoor", type=Path, nargs="?", help="folder of `tanzaku data livedoor`")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each side and size (default: 20)")
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    asked = parser.parse_args()
    tiny = asked.scale == "tiny"
    if not tiny and asked.livedoor is None:
        parser.error("give the folder of Livedoor, or --scale tiny")
    out = BUILD / f"budgets-{asked.scale}"
    out.mkdir(parents=True, exist_ok=True)
    minutes = min(2.0, asked.minutes) if tiny else asked.minutes
    source = load_dataset(SAMPLE) if tiny else asked.livedoor
    parts = Parts(BUILD / f"budgets-{asked.scale}.json", key={"scale": asked.scale, "minutes": minutes})
    for megabytes in MEGABYTES[:1] if tiny else MEGABYTES:
        if f"{megabytes:g}" not in parts.found:
            options = _TINY if tiny else {}
            parts.add(f"{megabytes:g}", within(megabytes, source, minutes=minutes, out=out, options=options))
    print("\n".join(rows(parts.found)))
    command = f"python -m benchmarks.budgets --minutes {minutes:g}" + (" --scale tiny" if tiny else " LIVEDOOR")
    parts.write(out / "record.json" if tiny else RECORD, command=command)


if __name__ == "__main__":
    main()
