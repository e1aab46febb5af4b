"""What do several jobs, Ray and Ray Data cost and gain on this machine?

    python -m benchmarks.engines

makes a study of eight small runs on the sample corpus one after the other, with two jobs, and with Ray one after the
other and two at a time; then classifies a million short documents by TF-IDF, and some of them by a LoRA on
tanzaku-mini, in one process and with Ray Data. Each is repeated, in turn, and writes records/benchmarks/engines.json.
`--scale tiny` only shows that everything works. Needs the extra `ray`, and a machine with no other work.
"""

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.record import ENGINES, origin
from tanzaku.data.streaming import stream_texts
from tanzaku.files import write_json_atomically
from tanzaku.machine import describe_machine
from tanzaku.provenance import now, versions
from tanzaku.ship.bulk import BulkOptions, classify_file
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.packing import pack
from tanzaku.study.engines.cluster import Cluster
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.running import run_study
from tanzaku.threads import settle_threads, settled_threads

_WORDS = ("空", "海", "山", "川", "森", "町", "駅", "橋", "犬", "猫")  # one for each digit of a document's number
_ROWS_AT_ONCE = 50_000
_ARMS = {"lora": {"method": "lora", "rank": 4}, "tfidf-svm": {"method": "tfidf-svm"}}


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    runs: int
    max_tokens: int
    documents: Mapping[str, int]  # by the method that classifies them
    shards: int
    rounds: int


SCALES = {
    "full": Sizes(runs=8, max_tokens=64, documents={"tfidf-svm": 1_000_000, "lora": 60_000}, shards=50, rounds=3),
    "tiny": Sizes(runs=2, max_tokens=16, documents={"tfidf-svm": 400, "lora": 200}, shards=4, rounds=1),
}


def study_of(sizes: Sizes) -> dict[str, Any]:
    """The study, as its file would say it: one arm, a run for each seed."""
    return {
        "name": "engines",
        "seeds": list(range(sizes.runs)),
        "data": {"source": "sample"},
        "encoder": {"name": "tanzaku-mini", "max_tokens": sizes.max_tokens},
        "training": {"epochs": 1, "learning_rate": 5e-4, "batch_size": 16},
        "arms": [_ARMS["lora"]],
    }


def write_documents(path: Path, count: int) -> None:
    """A Parquet file of short texts that differ from each other, the same on every machine."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for start in range(0, count, _ROWS_AT_ONCE):
            numbers = range(start, min(count, start + _ROWS_AT_ONCE))
            texts = ["と".join(_WORDS[int(digit)] for digit in f"{number:07}") + "を見た。" for number in numbers]
            writer.write_table(pa.table({"text": texts}))


def seconds_of(work: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_runs(sizes: Sizes, folder: Path) -> dict[str, list[float]]:
    """Seconds of the study with each engine, by round. Ray is there already."""
    threads = settled_threads()
    halves = RayOptions(cpus_per_run=max(1, threads // 2))
    sides: dict[str, dict[str, Any]] = {
        "processes, 1 job": {"jobs": 1},
        "processes, 2 jobs": {"jobs": 2},
        "ray, 1 job": {"jobs": 1, "ray": RayOptions(cpus_per_run=threads)},
        "ray, 2 jobs": {"jobs": 2, "ray": halves},
    }
    study = study_of(sizes)
    run_study({**study, "seeds": [99]}, out=folder / "warm")  # tokens and the server of runs are made
    run_study({**study, "seeds": [98, 99]}, out=folder / "warm-ray", jobs=2, ray=halves)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(sizes.rounds):
        for name, options in sides.items():
            out = folder / f"{name.replace(', ', '-')}-{number}"
            seconds[name].append(seconds_of(partial(run_study, study, out=out, **options)))
            _say(f"{name}: {seconds[name][-1]:.1f} s")
    return seconds


def measure_documents(method: str, sizes: Sizes, folder: Path) -> dict[str, list[float]]:
    """Seconds of the documents in one process and with Ray Data, by round, model loading included."""
    count, bundle, documents = sizes.documents[method], folder / f"{method}-bundle", folder / f"{method}.parquet"
    run_study({**study_of(sizes), "seeds": [0], "arms": [_ARMS[method]]}, out=folder / method)
    (record,) = (folder / method).glob("*/record.json")
    pack(record.parent, bundle)  # a study's own choice may be none: what is classified matters here, not how well
    write_documents(documents, count)
    options = BulkOptions(shard_rows=count // sizes.shards)

    def inline() -> None:
        classified = sum(1 for _ in Classifier.load(bundle, device="cpu").stream(stream_texts(documents)))
        if classified != count:
            raise RuntimeError(f"{count} texts went in, and {classified} predictions came out")

    one, ray = f"{method}, one process", f"{method}, ray data"
    seconds: dict[str, list[float]] = {one: [], ray: []}
    for number in range(sizes.rounds):
        out = folder / f"{method}-labels-{number}"
        seconds[one].append(seconds_of(inline))
        seconds[ray].append(seconds_of(partial(classify_file, bundle, documents, out, options=options)))
        _say(f"{method}: {count} documents in {seconds[one][-1]:.1f} s and {seconds[ray][-1]:.1f} s")
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]], sizes: Sizes) -> dict[str, float]:
    """What the page quotes, of the medians."""
    typical = {name: statistics.median(values) for name, values in seconds.items()}
    found = {
        "two_jobs_are_times_as_fast": typical["processes, 1 job"] / typical["processes, 2 jobs"],
        "two_jobs_of_ray_are_times_as_fast": typical["processes, 1 job"] / typical["ray, 2 jobs"],
        "ray_seconds_per_run": (typical["ray, 1 job"] - typical["processes, 1 job"]) / sizes.runs,
    }
    for method, count in sizes.documents.items():
        one, ray = typical[f"{method}, one process"], typical[f"{method}, ray data"]
        found |= {
            f"{method}_ray_data_is_times_as_fast": one / ray,
            f"{method}_documents_per_second_in_one_process": count / one,
            f"{method}_documents_per_second_with_ray_data": count / ray,
        }
    return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--out", type=Path, help="write the record here; the full scale has its place")
    options = parser.parse_args(given)
    sizes, started = SCALES[options.scale], now()
    settle_threads()
    cluster = Cluster(None)
    start = seconds_of(lambda: cluster.connect(cpus=1))
    try:
        with TemporaryDirectory() as folder:
            seconds = measure_runs(sizes, Path(folder))
            for method in sizes.documents:
                seconds |= measure_documents(method, sizes, Path(folder))
    finally:
        cluster.disconnect()
    record = {
        "machine": asdict(describe_machine()),
        **origin(shlex.join(["python", "-m", "benchmarks.engines", *given]), started=started),
        "ray": versions(("ray",))["ray"],
        "threads": settled_threads(),
        "scale": {"name": options.scale, **asdict(sizes)},
        "seconds": {**seconds, "start of ray": [start]},
        "ratios": ratios(seconds, sizes),
    }
    out = options.out or (ENGINES if options.scale == "full" else None)
    if out is not None:
        write_json_atomically(out, record)
    print(json.dumps(record, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
