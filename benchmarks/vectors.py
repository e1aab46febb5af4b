"""How much do frozen vectors of an encoder say about a task's classes?

    python -m benchmarks.vectors data/ews data/asdc --encoder tanzaku-mini --encoder e5-ja

encodes each folder that `tanzaku data` prepared with each encoder (a folder, Hub id or name), takes the mean of the
last hidden states as a document's vector, fits a logistic regression on the training documents with the C that is
best on the validation documents, and writes records/benchmarks/vectors.json. The encoder is not trained, so the
comparison shows what an encoder knows already.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.record import VECTORS, origin
from tanzaku.data.dataset import Dataset
from tanzaku.data.prepared import read_prepared
from tanzaku.encoders.fast import FastForward
from tanzaku.encoders.load import load_classifier, load_tokenizer
from tanzaku.encoders.source import EncoderSource, files_of, resolve_encoder
from tanzaku.encoders.tokens import tokenize
from tanzaku.errors import EncoderError
from tanzaku.files import write_json_atomically
from tanzaku.measure.metrics import measure
from tanzaku.provenance import now
from tanzaku.study.preparation import class_indices
from tanzaku.training.batches import LabelledTokens
from tanzaku.training.forward import choose_forward

PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
_MAX_TOKENS = 512
_BATCH = 16


def vectors_of(source: EncoderSource, dataset: Dataset) -> dict[str, np.ndarray]:
    """The mean vectors (documents, hidden) float32 of each split.

    Raises:
        EncoderError: The fast path does not compute this architecture.
    """
    loaded = load_classifier(source, label_names=dataset.label_names, seed=0, pooling="mean")
    forward = choose_forward(loaded.model.eval(), fast=True, precision="float32").run
    if not isinstance(forward, FastForward):
        raise EncoderError(f"encoder {source.name!r} is not a BERT; choose one that is")
    tokenizer = load_tokenizer(source)
    vectors = {}
    for name in ("train", "val", "test"):
        split = getattr(dataset, name)
        tokens = LabelledTokens(
            tokenize(tokenizer, split.texts, max_tokens=_MAX_TOKENS),
            class_indices(split, dataset),
            pad_id=tokenizer.pad_token_id,
            max_tokens=_MAX_TOKENS,
        )
        with torch.no_grad():
            vectors[name] = torch.cat([forward.features(batch) for batch in tokens.in_order(_BATCH)]).numpy()
    return vectors


def classified(dataset: Dataset, vectors: dict[str, np.ndarray]) -> dict[str, float]:
    """Accuracy and macro-F1 on the test documents, and the C that the validation documents chose."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classes = {name: class_indices(getattr(dataset, name), dataset) for name in vectors}
    fitted = {
        penalty: make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=5_000)).fit(
            vectors["train"], classes["train"]
        )
        for penalty in PENALTIES
    }
    scores = {penalty: float(model.score(vectors["val"], classes["val"])) for penalty, model in fitted.items()}
    chosen = max(PENALTIES, key=scores.__getitem__)
    found = measure(classes["test"], fitted[chosen].predict(vectors["test"]), label_names=dataset.label_names)
    return {"accuracy": found.accuracy, "macro_f1": found.macro_f1, "penalty": chosen}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The record's rows as a Markdown table with one row for each encoder."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = ["| encoder | MB | " + " | ".join(sets) + " |", "| --- | ---: |" + " ---: |" * len(sets)]
    for encoder in dict.fromkeys(row["encoder"] for row in rows):
        found = {row["set"]: row for row in rows if row["encoder"] == encoder}
        megabytes = f"{next(iter(found.values()))['bytes'] / 1e6:.1f}"
        scores = [f"{100 * found[name]['accuracy']:.1f} / {100 * found[name]['macro_f1']:.1f}" for name in sets]
        lines.append("| " + " | ".join([encoder, megabytes, *scores]) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectors", description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="+", type=Path, help="prepared folders")
    parser.add_argument("--encoder", action="append", required=True, help="folder, Hub id or name; may be repeated")
    parser.add_argument("--out", type=Path, default=VECTORS, help="write the record here")
    options = parser.parse_args(given)
    started = now()
    rows: list[dict[str, Any]] = []
    for name in options.encoder:
        source = resolve_encoder(name)
        facts = {
            "encoder": source.folder.name if Path(source.name).is_absolute() else source.name,
            "fingerprint": source.fingerprint,
            "bytes": sum((source.folder / file).stat().st_size for file in files_of(source).names),
        }
        for folder in options.sets:
            dataset = read_prepared(folder)
            rows.append({**facts, "set": folder.name, **classified(dataset, vectors_of(source, dataset))})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    # Only the names: a record contains no paths of the machine.
    command = shlex.join(["python", "-m", "benchmarks.vectors", *(Path(one).name for one in given)])
    write_json_atomically(options.out, {**origin(command, started=started), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
