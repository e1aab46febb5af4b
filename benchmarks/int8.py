"""Is an export in 8 bits faster than PyTorch in float32, and as accurate?

    python -m benchmarks.int8 BUNDLE=DATA [BUNDLE=DATA ...]

exports each bundle in every form that this environment can write, and classifies the test texts of the data in one
thread: by PyTorch in float32 and in bfloat16, by ONNX Runtime in float32 and in 8 bits, and by OpenVINO in all three;
bfloat16 only where the processor has instructions for it. The forms take turns. It writes records/benchmarks/int8.json:
seconds of each round and those that the processor worked, the accuracy, how many labels differ from those of float32,
and how many times as fast as PyTorch in float32 each form is, by the processor's seconds, which other programs hardly
change. OpenVINO needs the extra `openvino`.
"""

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import INT8, origin
from tanzaku.compute import choose_precision
from tanzaku.data.dataset import Dataset
from tanzaku.data.loading import load_dataset
from tanzaku.exports.runtime import write_graph_bundle
from tanzaku.files import write_json_atomically
from tanzaku.machine import cpu_vector_features, describe_machine
from tanzaku.measure.metrics import accuracy_interval
from tanzaku.provenance import now, versions
from tanzaku.runtime.graphs import Engine
from tanzaku.ship.bundle import open_bundle
from tanzaku.ship.certificate import Dtype, bundle_bytes, one_thread
from tanzaku.ship.classifier import Classifier

REFERENCE = "pytorch float32"
_CALIBRATION_TEXTS = 200
_WARM_UP = 8


@dataclass(frozen=True)
class Amount:
    """How much is measured."""

    texts: int
    rounds: int


def measure_bundle(bundle: Path, dataset: Dataset, amount: Amount, folder: Path) -> dict[str, Any]:
    """All forms of a bundle.

    Args:
        bundle: Of a method that adapts an encoder.
        dataset: With the bundle's labels: its test texts are classified, and its training texts calibrate OpenVINO.
        amount: Of texts, which are evenly spaced, and of rounds.
        folder: Empty.
    """
    test = dataset.test
    rows = np.unique(np.linspace(0, len(test) - 1, min(amount.texts, len(test))).astype(int))
    texts = [test.texts[row] for row in rows]
    facts = open_bundle(bundle).facts
    classes = np.array([facts.label_names.index(test.labels[row]) for row in rows])
    with one_thread():
        forms = dict(_forms(bundle, dataset.train.texts[:_CALIBRATION_TEXTS], folder))
        compared = compare_forms(forms, texts, classes, rounds=amount.rounds)
    for name, found in compared.items():
        place = folder / _folder_name(name)
        found["bytes"] = bundle_bytes(place) if place.is_dir() else None
    return {
        "data": dataset.name,
        "encoder": Path(facts.model_dump()["encoder"]["name"]).name,
        "texts": len(texts),
        "characters_per_text": statistics.mean(map(len, texts)),
        "forms": compared,
    }


def compare_forms(
    forms: Mapping[str, Classifier], texts: Sequence[str], classes: np.ndarray, *, rounds: int
) -> dict[str, dict[str, Any]]:
    """What each form costs, and how right it is.

    Args:
        forms: By name; `REFERENCE` is what the others are compared with.
        texts: At least one.
        classes: (texts,) int64, as the columns of the scores.
        rounds: So often, in turn, each form classifies the texts.
    """
    seconds, worked, scores = _take_turns(forms, texts, rounds)
    labels = {name: one.argmax(axis=1) for name, one in scores.items()}
    typical = {name: statistics.median(values) for name, values in worked.items()}
    flips = {name: int((one != labels[REFERENCE]).sum()) for name, one in labels.items()}
    return {
        name: {
            "seconds": seconds[name],
            "processor_seconds": worked[name],
            "documents_per_processor_second": len(texts) / typical[name],
            "times_as_fast": typical[REFERENCE] / typical[name],
            "accuracy": float((labels[name] == classes).mean()),
            "flips": flips[name],
            "flips_interval": accuracy_interval(flips[name], len(texts)),
        }
        for name in forms
    }


def _folder_name(form: str) -> str:
    return form.replace(" ", "-")


def _forms(bundle: Path, calibration: Sequence[str], folder: Path) -> Iterator[tuple[str, Classifier]]:
    yield REFERENCE, Classifier.load(bundle, device="cpu", precision="float32")
    has_bfloat16 = choose_precision("auto", device="cpu") == "bfloat16"
    if has_bfloat16:
        yield "pytorch bfloat16", Classifier.load(bundle, device="cpu", precision="bfloat16")
    engines: list[Engine] = ["onnxruntime"]
    if find_spec("openvino") is not None and find_spec("nncf") is not None:
        engines.append("openvino")
    for engine in engines:
        dtypes: list[Dtype] = ["float32", "int8"]
        if engine == "openvino" and has_bfloat16:
            dtypes.append("bfloat16")
        for dtype in dtypes:
            name = f"{engine} {dtype}"
            out = folder / _folder_name(name)
            out.mkdir()
            write_graph_bundle(
                open_bundle(bundle), out, engine=engine, dtype=dtype, encoder=None, calibration=calibration
            )
            yield name, Classifier.load(out)


def _take_turns(
    forms: Mapping[str, Classifier], texts: Sequence[str], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, np.ndarray]]:
    """Seconds and processor seconds of each form by round, and the scores (texts, labels)."""
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    worked: dict[str, list[float]] = {name: [] for name in forms}
    scores: dict[str, np.ndarray] = {}
    for form in forms.values():
        form.scores(texts[:_WARM_UP])
    for number in range(rounds):
        for name in list(forms) if number % 2 == 0 else reversed(list(forms)):
            began, before = time.perf_counter(), time.process_time()
            scores[name] = forms[name].scores(texts)
            worked[name].append(time.process_time() - before)
            seconds[name].append(time.perf_counter() - began)
            _say(f"round {number + 1} of {rounds}  {name}  {len(texts) / worked[name][-1]:.1f} a processor second")
    return seconds, worked, scores


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.int8", description=__doc__.split("\n")[0])
    parser.add_argument("pairs", nargs="+", metavar="BUNDLE=DATA", help="a bundle, and prepared data with its labels")
    parser.add_argument("--texts", type=int, default=1000, help="the most test texts of each (1000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=INT8, help="write the record here")
    options = parser.parse_args(given)
    started, amount = now(), Amount(options.texts, options.rounds)
    measured, shown = [], []
    for pair in options.pairs:
        bundle, _, data = pair.partition("=")
        with tempfile.TemporaryDirectory(prefix="tanzaku-") as name:
            measured.append(measure_bundle(Path(bundle), load_dataset(data), amount, Path(name)))
        shown.append(f"{Path(bundle).name}={Path(data).name}")  # a record says nothing of the machine's paths
    amounts = ["--texts", str(options.texts), "--rounds", str(options.rounds)]
    command = shlex.join(["python", "-m", "benchmarks.int8", *shown, *amounts])
    record = {
        "machine": asdict(describe_machine()),
        "instructions": cpu_vector_features(),
        **origin(command, started=started),
        "packages": versions(("torch", "onnxruntime", "openvino", "nncf")),
        "threads": 1,
        "measured": measured,
    }
    write_json_atomically(options.out, record)
    print(json.dumps(record, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
