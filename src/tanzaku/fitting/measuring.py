"""What a bundle costs to use: `python -m tanzaku.fitting.measuring`, in a fresh process with one thread.

The process reads `{"bundle": folder, "texts": […], "methods": […]}` or `{"encoder": [encoder], "labels": n, "texts":
[…], "methods": […]}` as JSON from standard input, and writes a `Measured` as JSON. The methods are those that the
program registered, as module and name. A process of its own has nothing else in its memory, and its libraries have read
the number of threads before they were loaded.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from tanzaku.errors import ProcessError, TanzakuError
from tanzaku.threads import settle_threads

_WARM_UP = 3
_SECONDS = 3.0  # so long single documents are timed at most, and as long a whole batch
_TEXTS = 200
_FINE_SECONDS = 1e-5


@dataclass(frozen=True)
class Measured:
    """What a classifier costs on this machine, with one thread."""

    milliseconds: float
    """The median of one document at a time, in the processor's time."""
    documents_per_second: float
    """Of many documents in one call."""
    memory_bytes: int
    """The largest resident memory of a process that loads the classifier and uses it."""


def measure_bundle(bundle: Path, texts: Sequence[str]) -> Measured:
    """Classify texts with a bundle in a fresh process.

    Args:
        bundle: Its folder.
        texts: Documents such as it is going to classify, one at least; 200 are drawn from them.

    Raises:
        ProcessError: The process failed; the message has what it said.
    """
    return _in_process({"bundle": str(bundle), "texts": drawn(texts)})


def drawn(texts: Sequence[str]) -> list[str]:
    """Those that are classified: drawn from all, since documents that lie together may be of one class and length. The
    order is random too, so that this also holds for the first of them, where there is time for no more."""
    return random.Random(0).sample(list(texts), min(_TEXTS, len(texts)))


def measure_encoder(encoder: dict[str, Any], texts: Sequence[str], *, labels: int) -> Measured:
    """As `measure_bundle`, of an encoder with a head that is not trained: what every method that is merged costs.

    Args:
        encoder: The study's [encoder] section.
        texts: Documents.
        labels: Classes of the head.
    """
    return _in_process({"encoder": encoder, "labels": labels, "texts": drawn(texts)})


def _in_process(request: dict[str, Any]) -> Measured:
    from tanzaku.methods import METHODS

    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    paths = os.pathsep.join(path for path in sys.path if path)
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tanzaku.fitting.measuring"],
        input=json.dumps({**request, "methods": METHODS.registered}),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | one | {"PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    if finished.returncode != 0:
        reason = (finished.stderr.strip().splitlines() or [f"status {finished.returncode}"])[-1]
        raise ProcessError(f"the classifier could not be timed in a process of its own: {reason}")
    return Measured(**json.loads(finished.stdout.splitlines()[-1]))


def _measure(classify: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> Measured:
    from tanzaku.measure.cost import peak_memory_bytes

    for text in texts[:_WARM_UP]:
        classify([text])
    # With one thread, a processor's time is the time that passes on a machine without other work, and does not grow
    # where there is some. Where its clock is too coarse for a document, as on Windows, the passing time is taken.
    fine = time.get_clock_info("process_time").resolution < _FINE_SECONDS
    clock = time.process_time if fine else time.perf_counter
    seconds: list[float] = []
    began = time.perf_counter()
    for text in texts:
        before = clock()
        classify([text])
        seconds.append(clock() - before)
        if time.perf_counter() - began > _SECONDS:
            break
    together = texts[: max(1, int(_SECONDS / max(statistics.median(seconds), 1e-6)))]
    before = clock()
    classify(together)
    rate = len(together) / max(clock() - before, 1e-9)
    return Measured(1000 * statistics.median(seconds), rate, peak_memory_bytes() or 0)


def _classify_with(request: dict[str, Any]) -> Callable[[Sequence[str]], Any]:
    if "bundle" in request:
        from tanzaku.ship.classifier import Classifier

        return Classifier.load(request["bundle"], device="cpu")
    from tanzaku.compute import choose_compute
    from tanzaku.encoders.load import load_classifier
    from tanzaku.encoders.source import resolve_encoder
    from tanzaku.encoders.tokenizer import load_tokenizer
    from tanzaku.ship.scorers import EncoderScorer
    from tanzaku.study.encoder_spec import EncoderSpec

    spec = EncoderSpec.model_validate(request["encoder"])
    source = resolve_encoder(spec.name, revision=spec.revision)
    names = [str(label) for label in range(request["labels"])]
    model = load_classifier(source, label_names=names, seed=0, pooling=spec.pooling, long_text=spec.long_text).model
    compute = choose_compute(device="cpu", precision="auto", attention="auto")
    scorer = EncoderScorer(model.eval(), load_tokenizer(source), spec, compute=compute, batch_tokens=8192)
    return lambda texts: scorer(texts, listener=lambda _: None)


def main() -> None:
    """Read a request, measure, and write the answer."""
    settle_threads(1)
    request = json.load(sys.stdin)
    if request["methods"]:
        from tanzaku.methods import register_method

        for module, name in request["methods"]:
            register_method(attrgetter(name)(importlib.import_module(module)))
    try:
        measured = _measure(_classify_with(request), request["texts"])
    except TanzakuError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")


if __name__ == "__main__":
    main()
