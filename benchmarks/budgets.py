"""Accuracy within 1, 2, 8 and 64 megabytes, and fastText's within the same: `records/benchmarks/budgets.json`.

    python -m benchmarks.budgets LIVEDOOR

takes the folder that `tanzaku data livedoor` wrote. `tanzaku fit` and fastText's autotune get the same documents, the
same minutes and the same test documents, for each size. Of Tanzaku, the record has the recommended classifier and the
one that was most accurate on the folds. fastText reads words of MeCab (IPADIC), validates on the documents that Tanzaku
validates on, and quantises to the size; its file is weighed. MeCab's dictionary is counted for neither of the two.
fastText runs in a virtual environment that the script makes in build/, with `pip install fasttext-wheel`.

It takes about three hours, with `--minutes 10` one and a half. The same command resumes after an interruption: sizes
that are done are not repeated. `python -m benchmarks.fit_page` then writes the table and the figure of docs/fit.md.

`--documents 300 --minutes 2` rehearses all of it on a part of the documents, and `--scale tiny` only tries it out, on
the sample corpus, in a minute or two. Neither writes the record.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tanzaku
from benchmarks.fit import MARGIN, best_of, part_of, say
from benchmarks.outside import measure_outside
from benchmarks.record import RECORDS
from benchmarks.resuming import BUILD, Parts
from tanzaku.data.dataset import SAMPLE, Dataset, Documents
from tanzaku.data.loading import load_dataset
from tanzaku.fitting.candidates import Form
from tanzaku.fitting.verdict import TriedCandidate
from tanzaku.measure.metrics import accuracy_interval
from tanzaku.study.process import StudyInterrupted
from tanzaku.threads import settle_threads

RECORD = RECORDS / "budgets.json"
MEGABYTES = (1.0, 2.0, 8.0, 64.0)
PACKAGES = ("fasttext-wheel==0.9.2", "numpy<2")
_PATIENCE, _AFTERWARDS = 2, 300  # times the search's time, and seconds: it trains and quantises what it found after it
_SCRIPT = Path(__file__).with_name("fasttext_autotune.py")
_TINY_SEARCH = 0.1  # minutes
_FORMS: Mapping[Form, str] = {
    "text": "",
    "whole": "",
    "stored": "",
    "adapter": "",
    "int8": ", 8 bits",
    "int4": ", 4 bits",
}
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

    With a size, the search of fastText 0.9.2 aborts or hangs on some data: `autotune_with_size` says how it ended. The
    search without a size is made once for all sizes.
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
            timeout=_PATIENCE * seconds + _AFTERWARDS,
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
    common = {"minutes": minutes, "margin": MARGIN, "out": bundle, "study": study, "shared_dictionary": True, **options}
    result = tanzaku.fit(source, max_mb=megabytes, **common, listener=say)
    part: dict[str, Any] = {"seconds": time.perf_counter() - began, "verdict": list(result.report.sentences)}
    whole = load_dataset(study / "data")
    findings = result.report.findings
    if result.bundle is not None and findings.recommended is not None:
        part["tanzaku"] = _side(findings.recommended, result.bundle, whole)
        best = best_of(result)
        most = next(one for one in findings.candidates if one.best)
        part["most_accurate"] = part["tanzaku"] if best is None else _side(most, best, whole)
    words = out / "words"
    if not (words / "test.txt").is_file():
        words.mkdir(exist_ok=True)
        for name in ("train", "val", "test"):
            write_words(getattr(whole, name), words / f"{name}.txt", label_names=whole.label_names)
    print("  fastText", file=sys.stderr, flush=True)
    part["fasttext"] = with_fasttext(words, megabytes=megabytes, minutes=_TINY_SEARCH if options else minutes)
    part["test_documents"] = len(whole.test)
    return part


def _side(candidate: TriedCandidate, bundle: Path, whole: Dataset) -> dict[str, Any]:
    found = measure_outside(bundle, whole.test.texts, whole.test.labels)
    return {
        "name": str(candidate.name),
        "form": candidate.form,
        "bytes": found.bytes,
        "accuracy": found.accuracy,
        "interval": accuracy_interval(sum(found.correct), len(found.correct)),
        "milliseconds": found.milliseconds,
    }


def rows(parts: Mapping[str, Any]) -> list[str]:
    """The table of the documentation."""
    lines = [
        "| MB at most | recommended | MB | accuracy (%) | most accurate on the folds | MB | accuracy (%) "
        "| fastText: MB | accuracy (%) |",
        "| ---: | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for megabytes, part in parts.items():
        sides = [_cells(part.get(name)) for name in ("tanzaku", "most_accurate")]
        lines.append(f"| {megabytes} | {' | '.join(sides)} | {_fasttext_cells(part['fasttext'])} |")
    return lines


def _cells(side: Mapping[str, Any] | None) -> str:
    if side is None:
        return "none | – | –"
    return f"{side['name']}{_FORMS[side['form']]} | {side['bytes'] / 1e6:.2f} | {100 * side['accuracy']:.2f}"


def _fasttext_cells(side: Mapping[str, Any]) -> str:
    if "failed" in side:
        return f"failed ({side['failed']}) | –"
    return f"{side['bytes'] / 1e6:.2f} | {100 * side['accuracy']:.2f}"


def main() -> None:
    """Measure every size that is not done yet, and write the record."""
    settle_threads()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("livedoor", type=Path, nargs="?", help="folder of `tanzaku data livedoor`")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each side and size (default: 20)")
    parser.add_argument("--documents", type=int, help="only so many; no record is written")
    parser.add_argument("--scale", choices=("full", "tiny"), default="full")
    asked = parser.parse_args()
    tiny = asked.scale == "tiny"
    if not tiny and asked.livedoor is None:
        parser.error("give the folder of Livedoor, or --scale tiny")
    name = asked.scale if asked.documents is None else f"{asked.documents}-documents"
    out = BUILD / f"budgets-{name}"
    minutes = min(2.0, asked.minutes) if tiny else asked.minutes
    parts = Parts(BUILD / f"budgets-{name}.json", key={"scale": name, "minutes": minutes})
    if parts.fresh:
        shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    source: Path | Dataset = asked.livedoor
    if tiny:
        source = load_dataset(SAMPLE)
    elif asked.documents is not None:
        source = part_of(asked.livedoor, asked.documents, out / "livedoor.csv")
    try:
        _measure(parts, MEGABYTES[:1] if tiny else MEGABYTES, source, minutes, out, _TINY if tiny else {})
    except (KeyboardInterrupt, StudyInterrupted):
        sys.exit("interrupted; the same command resumes")
    print("\n".join(rows(parts.found)))
    whole = name == "full"
    command = f"python -m benchmarks.budgets --minutes {minutes:g}" + (" LIVEDOOR" if whole else "")
    parts.write(RECORD if whole else out / "record.json", command=command)


def _measure(
    parts: Parts,
    sizes: Sequence[float],
    source: Path | Dataset,
    minutes: float,
    out: Path,
    options: Mapping[str, Any],
) -> None:
    for megabytes in sizes:
        if f"{megabytes:g}" not in parts.found:
            print(f"{megabytes:g} MB", file=sys.stderr, flush=True)
            parts.begin(f"{megabytes:g}")
            parts.add(f"{megabytes:g}", within(megabytes, source, minutes=minutes, out=out, options=options))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no process of its own is left behind
    main()
