"""fastText's autotune within a size, for `benchmarks.budgets`: runs in an environment that has fastText and no Tanzaku.

It reads `{"folder": …, "megabytes": …, "seconds": …, "search_with_size": …}` as JSON from standard input, and writes
the result as JSON. Without `search_with_size`, it searches without regard to the size, and then quantises the
classifier with as many features as fit.
"""

import json
import os
import sys
from pathlib import Path

import fasttext  # type: ignore[import-not-found]

_CUTOFFS = (1_000_000, 300_000, 100_000, 50_000, 20_000, 10_000, 5_000, 2_000, 1_000)  # features that are left


def main() -> None:
    """Search, quantise, weigh and test."""
    request = json.load(sys.stdin)
    folder, most = Path(request["folder"]), 1e6 * request["megabytes"]
    path = folder / f"{request['megabytes']:g}.ftz"
    size = {"autotuneModelSize": f"{round(1000 * request['megabytes'])}K"} if request["search_with_size"] else {}
    model = fasttext.train_supervised(
        input=str(folder / "train.txt"),
        autotuneValidationFile=str(folder / "val.txt"),
        autotuneDuration=request["seconds"],
        thread=os.cpu_count() or 1,
        verbose=0,
        **size,
    )
    model.save_model(str(path))
    if not size:
        whole = folder / "whole.bin"
        model.save_model(str(whole))
        for cutoff in _CUTOFFS:
            model = fasttext.load_model(str(whole))
            model.quantize(input=str(folder / "train.txt"), qnorm=True, retrain=True, cutoff=cutoff)
            model.save_model(str(path))
            if path.stat().st_size <= most:
                break
    documents, accuracy, _ = model.test(str(folder / "test.txt"))
    print(json.dumps({"bytes": path.stat().st_size, "accuracy": accuracy, "documents": documents}))


if __name__ == "__main__":
    main()
