"""Studies as a git repository can carry them: a folder of three files in place of a folder for each run.

<archive>/study.toml           the study as it was run
<archive>/runs.jsonl           one record a line, in the order of the runs' names
<archive>/predictions.parquet  the predictions of every run, one row a document
<archive>/study.json           only where runs have not ended: the list of all, as in a folder of runs

Models, logs and rendered reports are left out. No file names a place on the machine that made the runs.
"""

from __future__ import annotations

import io
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

from tanzaku.errors import RecordError, describe_os_error
from tanzaku.study.predictions import StoredPredictions
from tanzaku.study.record import RUN_RECORD, RunRecord, parse_record

if TYPE_CHECKING:
    import pyarrow as pa

ARCHIVED_STUDY_FILE = "study.toml"
ARCHIVED_RUNS_FILE = "runs.jsonl"
ARCHIVED_PREDICTIONS_FILE = "predictions.parquet"

Split = Literal["test", "validation"]
PredictionKey = tuple[str, Split, int | None]
"""A run's name, the split, and the rank that the trained adapter was cut to; None for the model as it was trained."""

ShortPaths = Mapping[str, Mapping[str, str]]
"""By the name of a setting, absolute paths that it has and what an archive has in place of each."""

_COLUMNS = ("run", "split", "rank", "document", "class", "predicted", "probability", "group")
_ABSOLUTE_PATH = re.compile(r"""(?<![\w.~/:])(?:/|[A-Za-z]:\\)(?:[^\s/\\'"()<>,;]+[/\\])+[^\s/\\'"()<>,;:]*""")


@dataclass(frozen=True)
class Archive:
    """An archive that is read: its records at once, its predictions when they are first asked for."""

    folder: Path
    records: tuple[RunRecord, ...]

    @property
    def predictions_path(self) -> Path:
        """The file with the predictions."""
        return self.folder / ARCHIVED_PREDICTIONS_FILE

    def predictions(self, key: PredictionKey) -> StoredPredictions | None:
        """What a run made of a split; None where the archive does not have it.

        Raises:
            RecordError: The file of predictions is missing or damaged.
        """
        return self._predictions.get(key)

    @cached_property
    def _predictions(self) -> dict[PredictionKey, StoredPredictions]:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            table = parquet.read_table(self.predictions_path)
            table = table.cast(_schema(groups=_COLUMNS[-1] in table.column_names))
        except OSError as error:
            raise RecordError(f"the predictions {describe_os_error(error)}") from error
        except (pa.ArrowException, ValueError) as error:
            raise RecordError(f"{self.predictions_path} is not an archive's predictions ({error})") from error
        return dict(self._groups(table))

    def _groups(self, table: pa.Table) -> Iterator[tuple[PredictionKey, StoredPredictions]]:
        """The rows of each key, which are next to each other."""
        documents = table["document"].to_numpy()
        starts = [row for row, document in enumerate(documents.tolist()) if row == 0 or document == 0]
        for start, end in pairwise([*starts, len(documents)]):
            rows = table.slice(start, end - start)
            names = {name: rows[name].unique().to_pylist() for name in ("run", "split", "rank")}
            in_order = documents[start:end].tolist() == list(range(end - start))
            if not in_order or any(len(values) != 1 for values in names.values()):
                raise RecordError(f"{self.predictions_path}: the rows from {start + 1} on are not one run's documents")
            key = (names["run"][0], names["split"][0], names["rank"][0])
            probabilities = [round(one, 4) for one in rows["probability"].to_pylist() if one is not None]
            if len(probabilities) not in (0, len(rows)):
                raise RecordError(f"{self.predictions_path}: only some documents of {key[0]} have probabilities")
            groups = rows["group"].to_pylist() if "group" in rows.column_names else []
            known = [group for group in groups if group is not None]
            if len(known) not in (0, len(groups)):
                raise RecordError(f"{self.predictions_path}: only some documents of {key[0]} have groups")
            classes, predicted = (rows[name].to_pylist() for name in ("class", "predicted"))
            yield key, StoredPredictions(classes, predicted, probabilities or None, known or None)


def check_no_archive(folder: Path) -> None:
    """Make sure that runs are not written into an archive.

    Raises:
        RecordError: It is one.
    """
    if is_archive(folder):
        restore = shlex.join(["tanzaku", "study", "restore", str(folder)])
        raise RecordError(
            f"{folder} is an archive; give another folder with --out (`{restore}` makes one with its runs)"
        )


def is_archive(folder: Path) -> bool:
    """Whether a folder is an archive, as opposed to one with a folder for each run."""
    return (folder / ARCHIVED_RUNS_FILE).is_file()


def read_archive(folder: Path) -> Archive:
    """Read the records of an archive.

    Raises:
        RecordError: A line is damaged, of another version, or not a record.
    """
    path = folder / ARCHIVED_RUNS_FILE
    records = []
    try:
        content = path.read_text(encoding="utf-8-sig").rstrip("\n")
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} can't be read ({error})") from error
    # Not `splitlines`: a label may hold other separators of lines.
    for number, line in enumerate(content.split("\n") if content else [], start=1):
        where, remedy = f"{path}, line {number}", "archive the study again"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{where} is damaged or cut off ({error}); {remedy}") from error
        records.append(parse_record(record, where=where, remedy=remedy))
    return Archive(folder, tuple(records))


def archived_record(record: RunRecord, paths: ShortPaths) -> str:
    """A record as a line of `runs.jsonl`, without its end.

    Args:
        record: Of a run.
        paths: Those of the settings of all runs.
    """
    content = record.model_dump(mode="json")
    content["data"]["source"] = without_folders(content["data"]["source"])  # and not a label such as "/"
    content["spec"] = without_folders(content["spec"], paths)
    if "encoder" in content:
        content["encoder"] = without_folders(content["encoder"])
    if "error" in content:
        content["error"] = _ABSOLUTE_PATH.sub(lambda path: _last_part(path[0]), content["error"])
    return RUN_RECORD.validate_python(content).model_dump_json()


def without_folders(content: Any, paths: ShortPaths | None = None) -> Any:
    """Settings as they are, but of each absolute path in them, which only one machine has, the end.

    Args:
        content: Settings in JSON.
        paths: From `short_paths`, of these settings and others that stay with them; None is of these.
    """
    paths = short_paths(content) if paths is None else paths

    def shortened(value: Any, setting: str) -> Any:
        if isinstance(value, dict):
            return {key: shortened(inner, key) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [shortened(inner, setting) for inner in value]
        return paths[setting][value] if _is_absolute(value) else value

    return shortened(content, "")


def short_paths(content: Any) -> ShortPaths:
    """Of each absolute path in settings, as many of its last parts as distinguish it from others of the same setting.

    That is one part, unless files in different folders have the same name: then arms would become one without it.
    """
    found: dict[str, set[str]] = {}
    for setting, text in texts_of(content):
        if _is_absolute(text):
            found.setdefault(setting, set()).add(text)
    return {setting: _distinct_ends(paths) for setting, paths in found.items()}


def texts_of(content: Any, setting: str = "") -> Iterator[tuple[str, str]]:
    """The values that are texts in settings, at any depth, each with the name of its setting."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from texts_of(value, key)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from texts_of(value, setting)
    elif isinstance(content, str):
        yield setting, content


def _is_absolute(value: Any) -> bool:
    return isinstance(value, str) and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute())


def _distinct_ends(paths: set[str]) -> dict[str, str]:
    parts = {path: PureWindowsPath(path).parts[1:] for path in paths}  # both kinds of slashes are Windows's
    ends = {}
    for path, own in parts.items():
        others = [other for one, other in parts.items() if one != path]
        lengths = (length for length in range(1, len(own)) if all(one[-length:] != own[-length:] for one in others))
        ends[path] = "/".join(own[-next(lengths, len(own)) :]) or path
    return ends


def _last_part(path: str) -> str:
    return PureWindowsPath(path).name or path  # both kinds of slashes separate parts on Windows


def archived_predictions(predictions: Mapping[PredictionKey, StoredPredictions]) -> bytes:
    """The content of `predictions.parquet`, in the order of `predictions`."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = _schema(groups=any(one.groups is not None for one in predictions.values()))
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for key, (classes, predicted, probabilities, groups) in predictions.items():
        for name, value in zip(_COLUMNS, key, strict=False):
            columns[name] += [value] * len(classes)
        columns["document"] += range(len(classes))
        columns["class"] += classes
        columns["predicted"] += predicted
        columns["probability"] += probabilities or [None] * len(classes)
        columns["group"] += groups or [None] * len(classes)
    content = io.BytesIO()
    parquet.write_table(
        pa.table({name: columns[name] for name in schema.names}, schema=schema),
        content,
        compression="zstd",
        compression_level=19,
        use_dictionary=[name for name in schema.names if name != "document"],
        column_encoding={"document": "DELTA_BINARY_PACKED"},
        store_schema=False,
    )
    return content.getvalue()


def _schema(*, groups: bool) -> pa.Schema:
    """The columns; that of the groups is only there where documents have some."""
    import pyarrow as pa

    kinds = (pa.string(), pa.string(), *[pa.int32()] * 4, pa.float32(), *[pa.int32()] * groups)
    return pa.schema(list(zip(_COLUMNS, kinds, strict=False)))
