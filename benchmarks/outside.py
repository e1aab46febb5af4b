"""What a bundle costs and gets right, seen from outside: its files, and a fresh process with one thread.

`python -m benchmarks.outside` reads `{"bundle": folder, "texts": […], "labels": […]}` as JSON from standard input and
writes an `Outside` as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_WARM_UP, _TIMED = 5, 200
_FOR_PEOPLE = ("README.md", "certificate.json")  # the model card, and how a form compares with another


@dataclass(frozen=True)
class Outside:
    """What `tanzaku fit` did not measure itself."""

    bytes: int
    """Of all files."""
    milliseconds: float
    """The median of one document at a time."""
    accuracy: float
    macro_f1: float
    correct: tuple[bool, ...]
    """Whether each document was classified right."""

    @property
    def summary(self) -> dict[str, float]:
        """For a record: all but the single documents."""
        found = asdict(self)
        correct = found.pop("correct")
        return {**found, "documents": len(correct)}


def bytes_of(folder: Path) -> int:
    """The bytes of all files, as `du -b` counts those of files, without the two that are only for people."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name not in _FOR_PEOPLE)


def measure_outside(bundle: Path, texts: Sequence[str], labels: Sequence[str]) -> Outside:
    """Classify documents with a bundle in a fresh process with one thread.

    Raises:
        subprocess.CalledProcessError: The process failed.
    """
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "utf-8"}
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.outside"],
        input=json.dumps({"bundle": str(bundle), "texts": list(texts), "labels": list(labels)}),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | one | paths,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    found = json.loads(finished.stdout.splitlines()[-1])
    return Outside(**{**found, "correct": tuple(found["correct"])})


def main() -> None:
    """Read a request, measure, and write the answer."""
    from sklearn.metrics import f1_score

    from tanzaku import Classifier

    request = json.load(sys.stdin)
    classifier = Classifier.load(request["bundle"], device="cpu")
    texts, labels = request["texts"], request["labels"]
    classifier(texts[:_WARM_UP])
    for text in texts[:_WARM_UP]:
        classifier([text])
    seconds = []
    for text in texts[:_TIMED]:
        began = time.perf_counter()
        classifier([text])
        seconds.append(time.perf_counter() - began)
    predicted = [one.label for one in classifier(texts)]
    correct = tuple(one == other for one, other in zip(predicted, labels, strict=True))
    found = Outside(
        bytes=bytes_of(Path(request["bundle"])),
        milliseconds=1000 * statistics.median(seconds),
        accuracy=sum(correct) / len(texts),
        macro_f1=float(f1_score(labels, predicted, average="macro")),
        correct=correct,
    )
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
