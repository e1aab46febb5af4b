"""Classifies a Parquet file or JSON lines of any size with Ray Data: shards of the file, one model per worker.

The labels are in a folder, with one file for each shard, which is whole or absent:

    labels/_settings.json              what the labels depend on
    labels/_part-000000000001.json     what was counted in this shard
    labels/part-000000000001.parquet

A part is named by the number of its first row, so that the names sort in the rows' order. Programs that read a folder
as one table pass over names that begin with an underscore. The same call classifies the shards of which there is no
part.
"""

import io
import json
import logging
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tanzaku.data.options import ReadOptions
from tanzaku.data.shards import Shard, read_shard, shards_of
from tanzaku.errors import BundleError, DataError, ProcessError, TanzakuError
from tanzaku.files import check_writable, sha256_of_file, write_atomically, write_json_atomically
from tanzaku.ship.bundle import open_bundle
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.manifest import MANIFEST_FILE
from tanzaku.ship.scorers import Device, Precision
from tanzaku.ship.tally import Tally
from tanzaku.study.engines.cluster import Cluster
from tanzaku.threads import settle_threads

SETTINGS_FILE = "_settings.json"
DEFAULT_SHARD_ROWS = 20_000
_LOCK_FILE = "_lock"


@dataclass(frozen=True)
class BulkOptions:
    """Where and how a file is classified.

    Args:
        address: Of a Ray cluster; None starts Ray on this machine. Every machine needs the file under the same path.
        workers: How many workers, each with its own model; None for as many as there is room for.
        cpus_per_worker: CPUs and threads of a worker.
        gpus_per_worker: GPUs of a worker; with 0, workers compute on the CPU.
        shard_rows: Rows of a shard, which is classified, and kept, as a whole.
        min_probability: Answer only texts whose label has at least this probability; None answers all.
        otherwise: The label of the others.
        encoder: Where the bundle's encoder is, if not under its name.
        precision: As `Classifier.load` takes it.
    """

    address: str | None = None
    workers: int | None = None
    cpus_per_worker: int = 1
    gpus_per_worker: float = 0.0
    shard_rows: int = DEFAULT_SHARD_ROWS
    min_probability: float | None = None
    otherwise: str = ""
    encoder: str | None = None
    precision: Precision = "auto"

    @property
    def device(self) -> Device:
        """What workers compute on."""
        return "cuda" if self.gpus_per_worker > 0 else "cpu"


def classify_file(
    bundle: Path,
    source: Path,
    out: Path,
    *,
    reading: ReadOptions | None = None,
    options: BulkOptions | None = None,
    listener: Callable[[int, int], None] = lambda *_: None,
) -> Tally:
    """Classify a file into a folder of labels; the same call resumes after an interruption.

    Each row of a part has `number` (of the row in the file, from 1 on), `label`, `probability` and `score`, and with
    `min_probability` also `suggestion`. The parts have the file's format.

    Args:
        bundle: What `tanzaku pack` wrote.
        source: A `.parquet` file, or a `.jsonl` file in UTF-8.
        out: The folder for the labels.
        reading: `text_column` and `text_separator`.
        options: Where and how it is classified.
        listener: Called with how many rows have labels and how many there are, at first and after each shard.

    Returns:
        What was counted of all rows, also of those that had labels before.

    Raises:
        DataError: The file can't be read, or `out` has labels of another file, bundle or settings.
        BundleError: The bundle can't be used.
        ProcessError: Ray can't be used, or another process is writing to `out`.
    """
    reading, options = reading or ReadOptions(), options or BulkOptions()
    check_writable(out)
    settings = _settings(open_bundle(bundle).folder / MANIFEST_FILE, source, reading, options)
    shards = shards_of(source, reading, rows=options.shard_rows)
    total = sum(shard.rows for shard in shards)
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        _check_settings(out, settings)
        missing, tally = _missing(out, source, shards)
        listener(tally.texts, total)
        for first, part, counted in _classified(bundle, source.absolute(), missing, reading, options):
            write_json_atomically(_tally_file(out, first), counted.to_json())
            write_atomically(_part(out, source, first), part)
            tally.include(counted)
            listener(tally.texts, total)
    return tally


class _Worker:
    """An actor of Ray Data with a model; it is called with the shards of one batch."""

    def __init__(self, bundle: Any, source: Path, reading: ReadOptions, options: BulkOptions) -> None:
        import ray

        settle_threads(options.cpus_per_worker)
        self._folder = tempfile.TemporaryDirectory(prefix="tanzaku-bundle-")
        with tarfile.open(fileobj=io.BytesIO(ray.get(bundle[0]))) as packed:
            packed.extractall(self._folder.name, filter="data")
        self._classifier = Classifier.load(
            self._folder.name, encoder=options.encoder, device=options.device, precision=options.precision
        )
        self._source, self._reading, self._options = source, reading, options

    def __call__(self, batch: dict[str, Any]) -> Any:
        """The part of the shard in a batch: its files' contents, in one row, which Ray does not divide."""
        import pyarrow as pa

        (content,) = batch["shard"]
        shard, part, tally, error = Shard(**json.loads(content)), None, None, None
        try:
            part, tally = self._part(shard)
        except TanzakuError as refused:  # Ray would only pass on its text, among other things
            error = json.dumps([isinstance(refused, BundleError), str(refused)])
        columns = {"first": pa.array([shard.first], pa.int64()), "part": pa.array([part], pa.large_binary())}
        return pa.table({**columns, "tally": pa.array([tally], pa.string()), "error": pa.array([error], pa.string())})

    def _part(self, shard: Shard) -> tuple[bytes, str]:
        minimum, otherwise = self._options.min_probability, self._options.otherwise
        texts = list(read_shard(self._source, shard, self._reading))
        predictions = self._classifier.stream(texts, min_probability=minimum, otherwise=otherwise)
        rows, tally = [], Tally()
        for number, (text, prediction) in enumerate(zip(texts, predictions, strict=True), start=shard.first):
            row = {
                "number": number,
                "label": prediction.label,
                "probability": prediction.probability,
                "score": prediction.score,
            }
            rows.append(row | ({} if minimum is None else {"suggestion": prediction.suggestion}))
            tally.add(number, text, answered=prediction.suggestion is None)
        return _encoded(rows, self._source.suffix.lower()), json.dumps(tally.to_json())


def _classified(
    bundle: Path, source: Path, shards: list[Shard], reading: ReadOptions, options: BulkOptions
) -> Iterator[tuple[int, bytes, Tally]]:
    """The first row of a shard, its part and what was counted in it, as the shards are done."""
    if not shards:
        return  # without a need for Ray
    cluster = Cluster(options.address)
    cluster.connect(cpus=options.cpus_per_worker, gpus=options.gpus_per_worker)
    try:
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)  # which the import has set to another one
        ray.data.DataContext.get_current().enable_progress_bars = False
        items = [{"shard": json.dumps(asdict(shard))} for shard in shards]
        labelled = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Worker,
            batch_size=1,
            fn_constructor_args=([ray.put(_pack(bundle))], source, reading, options),
            compute=ray.data.ActorPoolStrategy(size=_workers(options, shards=len(shards))),
            num_cpus=options.cpus_per_worker,
            num_gpus=options.gpus_per_worker or None,
        )
        for table in labelled.iter_batches(batch_size=None, batch_format="pyarrow"):
            for row in table.to_pylist():
                if row["error"] is not None:
                    of_bundle, message = json.loads(row["error"])
                    raise (BundleError if of_bundle else DataError)(message)
                yield row["first"], row["part"], Tally.from_json(json.loads(row["tally"]))
    except TanzakuError:
        raise
    except Exception as error:
        if not any(kind.__module__.startswith("ray.") for kind in type(error).__mro__):
            raise
        raise ProcessError(
            f"Ray can't classify {source}: {str(error).strip().splitlines()[-1]}. Every machine of the cluster needs "
            "the file under this path, and the same versions of Python, Ray and Tanzaku. The shards that are done are "
            "safe, and the same command resumes"
        ) from error
    finally:
        cluster.disconnect()


def _workers(options: BulkOptions, *, shards: int) -> int:
    """How many workers there are: as many as are wanted, as there is room for, and as there are shards."""
    import ray

    there = ray.cluster_resources()
    room = int(there.get("CPU", 1)) // options.cpus_per_worker
    if options.gpus_per_worker:
        room = min(room, int(there.get("GPU", 0) / options.gpus_per_worker))
    return max(1, min(options.workers or room, room, shards))


def _pack(bundle: Path) -> bytes:
    content = io.BytesIO()
    # In the cache of the Hub's client, a bundle's files are links to others outside of its folder.
    with tarfile.open(fileobj=content, mode="w", dereference=True) as archive:
        for path in sorted(bundle.iterdir()):
            archive.add(path, arcname=path.name)
    return content.getvalue()


def _part(out: Path, source: Path, first: int) -> Path:
    return out / f"part-{first:012}{source.suffix.lower()}"


def _tally_file(out: Path, first: int) -> Path:
    return out / f"_part-{first:012}.json"


def _missing(out: Path, source: Path, shards: list[Shard]) -> tuple[list[Shard], Tally]:
    """The shards without labels, and what was counted in the others."""
    missing, tally = [], Tally()
    for shard in shards:
        if (counted := _counted(out, source, shard)) is None:
            missing.append(shard)
        else:
            tally.include(counted)
    return missing, tally


def _counted(out: Path, source: Path, shard: Shard) -> Tally | None:
    """What was counted in a shard, if it has labels."""
    if not _part(out, source, shard.first).is_file():
        return None
    try:
        return Tally.from_json(json.loads(_tally_file(out, shard.first).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is classified again


def _encoded(rows: list[dict[str, Any]], ending: str) -> bytes:
    if ending != ".parquet":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"number": pa.int64(), "probability": pa.float64(), "score": pa.float64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in rows[0]])
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), content)
    return content.getvalue()


def _settings(manifest: Path, source: Path, reading: ReadOptions, options: BulkOptions) -> dict[str, Any]:
    """What the labels depend on. The file is known by its size and time: reading it twice would take too long."""
    state = source.stat()
    return {
        "version": 1,
        "file": source.name,
        "file_bytes": state.st_size,
        "file_modified_ns": state.st_mtime_ns,
        "columns": list(reading.text_columns),
        "text_separator": reading.text_separator,
        "bundle_manifest_sha256": sha256_of_file(manifest),
        "shard_rows": options.shard_rows,
        "min_probability": options.min_probability,
        "otherwise": options.otherwise,
        "precision": options.precision,
        "device": options.device,
    }


def _check_settings(out: Path, settings: dict[str, Any]) -> None:
    path = out / SETTINGS_FILE
    if not path.exists():
        if others := [one.name for one in out.iterdir() if one.name != _LOCK_FILE and not one.name.startswith(".")]:
            raise DataError(f"{out} has files that are no labels, such as {sorted(others)[0]}; choose another folder")
        write_json_atomically(path, settings)
        return
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); remove the folder, or choose another one") from error
    if different := sorted(key for key in settings if earlier.get(key) != settings[key]):
        raise DataError(
            f"{out} has labels that were made with another {different[0]} ({earlier.get(different[0])!r}, now "
            f"{settings[different[0]]!r}); choose another folder, or remove this one"
        )


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    try:
        with FileLock(out / _LOCK_FILE, timeout=0):
            yield
    except Timeout:
        raise ProcessError(
            f"another process is classifying into {out}; wait for it, or choose another folder"
        ) from None
