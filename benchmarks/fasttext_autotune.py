"""fastText's autotune within a size, for `benchmarks.budgets`: runs in an environment that has fastText and no Tanzaku.

It reads `{"folder": …, "megabytes": …, "seconds": …, "search_with_size": …}` as JSON from standard input, and writes
the result as JSON. Without `search_with_size`, it searches without regard to the size, and then quantises the
classifier with as many features as fit.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import fasttext  # type: ignore[import-not-found]

_FEATURE_BYTES = 9  # of a feature besides a byte for each two dimensions: its norm and its place
_TRIES = 6


def main() -> None:
    """Search, quantise, weigh and test."""
    request = json.load(sys.stdin)
    folder, most = Path(request["folder"]), 1e6 * request["megabytes"]
    path = folder / f"{request['megabytes']:g}.ftz"
    if request["search_with_size"]:
        size = f"{round(1000 * request['megabytes'])}K"
        model = search(folder, request["seconds"], autotuneModelSize=size)
        model.save_model(str(path))
    else:
        model = quantised(folder, request["seconds"], path, most=most)
    documents, accuracy, _ = model.test(str(folder / "test.txt"))
    size_bytes = path.stat().st_size
    missed = {"failed": f"{size_bytes / 1e6:.2f} MB"} if size_bytes > most else {}
    print(json.dumps({"bytes": size_bytes, "accuracy": accuracy, "documents": documents, **missed}))


def search(folder: Path, seconds: int, **size: str) -> Any:
    """The classifier that the autotune finds."""
    return fasttext.train_supervised(
        input=str(folder / "train.txt"),
        autotuneValidationFile=str(folder / "val.txt"),
        autotuneDuration=seconds,
        thread=os.cpu_count() or 1,
        verbose=0,
        **size,
    )


def quantised(folder: Path, seconds: int, path: Path, *, most: float) -> Any:
    """What the autotune finds without regard to a size, with as many features as fit, written to `path`."""
    whole, made = folder / "whole.bin", folder / "whole.tmp"
    if not whole.is_file():  # of an earlier size
        search(folder, seconds).save_model(str(made))
        made.replace(whole)
    model = fasttext.load_model(str(whole))
    features = int(most / (model.get_dimension() / 2 + _FEATURE_BYTES))
    for _ in range(_TRIES):
        with_features(model, features, folder, retrain=False).save_model(str(path))
        if (size := path.stat().st_size) <= most:
            break
        features = int(0.95 * features * most / size)
        model = fasttext.load_model(str(whole))
    model = with_features(fasttext.load_model(str(whole)), features, folder, retrain=True)
    model.save_model(str(path))
    return model


def with_features(model: Any, features: int, folder: Path, *, retrain: bool) -> Any:
    """The classifier quantised, with only so many features, where it has more."""
    cutoff = features if features < model.get_input_matrix().shape[0] else 0
    model.quantize(input=str(folder / "train.txt"), qnorm=True, retrain=retrain, cutoff=cutoff)
    return model


if __name__ == "__main__":
    main()
