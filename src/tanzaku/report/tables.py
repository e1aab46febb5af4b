"""A section's tables: the results, the data, and how the runs differ from the thesis's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from tanzaku.analysis.arms import LEARNING_RATE, RANK, Arm, Estimate, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.report import formats, texts, thesis
from tanzaku.report.render import Column, Table
from tanzaku.report.series import in_order
from tanzaku.report.words import Words, words_of
from tanzaku.study.record import RunRecord

_Cell = Callable[[Arm], str]


def results_table(section: Section, evidence: Evidence) -> Table:
    """One row an arm, in the order of `in_order`; an arm whose runs all failed has a row too."""
    columns = [*_method_columns(section), *_quality_columns(section, evidence), *_cost_columns(section)]
    return Table(
        caption=texts.RESULTS,
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(cell(arm) for _, cell in columns) for arm in in_order(section)),
    )


def class_counts(section: Section) -> list[list[int]] | None:
    """Training, validation and test documents of each class, and of all; then the thesis's, where the data is its own.

    The documents of the validation and test sets are those of the first run that finished; None without one.
    """
    scored = next((record for arm in section.arms for record in arm.finished), None)
    if scored is None:
        return None
    data = scored.data
    counts = [
        [train, scored.val.per_class[name].support, scored.test.per_class[name].support]
        for name, train in zip(data.label_names, data.train_documents_per_class, strict=True)
    ]
    if thesis.is_thesis_data(data):
        published = [thesis.TABLE_3_1[name] for name in data.label_names]
        counts = [[*row, each.train, each.val, each.test] for row, each in zip(counts, published, strict=True)]
    return [*counts, [sum(column) for column in zip(*counts, strict=True)]]


def data_table(section: Section) -> Table | None:
    """Training, validation and test documents of each class, with Table 3.1 where it applies."""
    counts = class_counts(section)
    if counts is None:
        return None
    headings = [texts.TRAINING, texts.VALIDATION, texts.TEST]
    if thesis.is_thesis_data(section.data):
        headings += [texts.THESIS_TRAIN, texts.THESIS_VALIDATION, texts.THESIS_TEST]
    return Table(
        caption=texts.DATA,
        columns=(Column(texts.CLASS), *(Column(heading, numeric=True) for heading in headings)),
        rows=tuple(
            (name, *map(count_or_dash, row))
            for name, row in zip([*section.data.label_names, texts.ALL_CLASSES], counts, strict=True)
        ),
    )


def count_or_dash(number: int | None) -> str:
    """A whole number, or a dash where it is not known."""
    return texts.NONE if number is None else formats.count(number)


def comparison_table(section: Section, *, words: Words | None = None) -> Table:
    """The settings, data and hardware of these runs next to the thesis's, with whether they are the same."""
    words = words or words_of("en")
    rows = [*_data_rows(section), *_setting_rows(section, words), *_machine_rows(section, words)]
    return Table(
        caption=texts.COMPARISON,
        columns=tuple(Column(words(f"setting.{name}")) for name in ("heading", "here", "thesis", "same")),
        rows=tuple(
            (words(f"setting.{name}"), here, published, words("setting.yes" if same else "setting.no"))
            for name, here, published, same in rows
        ),
    )


def shared_settings(arms: Sequence[Arm]) -> dict[str, Any]:
    """Settings with one value in all the arms that have them; a method's own are keyed with its name."""
    return {name: values[0] for name, values in _settings(arms).items() if len(values) == 1}


def differing_settings(arms: Sequence[Arm]) -> list[str]:
    """Settings, besides rank and learning rate, that have several values: each has a column of its own."""
    differing = (_setting_key(name) for name, values in _settings(arms).items() if len(values) > 1)
    return [key for key in dict.fromkeys(differing) if key not in (RANK, LEARNING_RATE)]


def _settings(arms: Iterable[Arm]) -> dict[str, list[Any]]:
    values: dict[str, list[Any]] = {}
    for arm in arms:
        for key, value in arm.settings.items():
            if key == "method.name":
                continue
            name = key.replace("method.", f"{arm.method}.", 1) if key.startswith("method.") else key
            known = values.setdefault(name, [])
            if value not in known:
                known.append(value)
    return values


def _setting_key(name: str) -> str:
    part, _, option = name.partition(".")
    return name if part in ("encoder", "training") else f"method.{option}"


def _method_columns(section: Section) -> list[tuple[Column, _Cell]]:
    rates: _Cell = lambda arm: texts.NONE if arm.learning_rate is None else formats.compact(arm.learning_rate)  # noqa: E731
    columns: list[tuple[Column, _Cell]] = [(Column(texts.METHOD), formats.method_name)]
    columns.append((Column(texts.LEARNING_RATE, numeric=True), rates))
    columns += [(Column(_heading(key), numeric=True), _setting_cell(key)) for key in differing_settings(section.arms)]
    return columns


def _quality_columns(section: Section, evidence: Evidence) -> list[tuple[Column, _Cell]]:
    columns: list[tuple[str, _Cell]] = [
        (texts.SCALE, scale),
        (texts.RUNS, _runs),
        (texts.ACCURACY, _accuracy),
        (texts.INTERVAL, lambda arm: formats.interval(evidence.interval(arm))),
        (texts.INTERVAL_KIND, lambda arm: formats.interval_kind(evidence.interval(arm))),
    ]
    if any(len(arm.finished) > 1 for arm in section.arms):
        columns.append((texts.SPREAD, lambda arm: formats.spread(arm.accuracy)))
    columns.append((texts.MACRO_F1, lambda arm: _mean(arm.macro_f1, formats.percent)))
    if thesis.beside(section):
        columns.append((texts.THESIS_ACCURACY, thesis.cell(lambda row: f"{row.accuracy_percent:.2f}")))
        columns.append((texts.THESIS_TABLE, thesis.cell(lambda row: row.table)))
    return _grouped(columns, "quality")


def _cost_columns(section: Section) -> list[tuple[Column, _Cell]]:
    published = thesis.beside(section)
    columns: list[tuple[str, _Cell]] = [(texts.SIZE, _cost("saved_bytes", _as_megabytes))]
    if published:
        cell = thesis.cell(lambda row: formats.megabytes(thesis.published_megabytes(row)))
        columns.append((texts.THESIS_SIZE, cell))
    columns += [
        (texts.PARAMETERS, _cost("trainable_parameters", formats.count)),
        (texts.TRAIN_SECONDS, _cost("train_seconds", formats.seconds)),
        (texts.TRAIN_SECONDS_WITH_EVALUATION, _cost("train_seconds_with_evaluation", formats.seconds)),
    ]
    if any(row.train_seconds is not None for row in published):
        columns.append((texts.THESIS_SECONDS, thesis.cell(lambda row: _or_dash(row.train_seconds))))
    columns.append((texts.MEMORY, _cost("peak_memory_bytes", lambda size: formats.count(size / 1e6))))
    if any(arm.cost("peak_gpu_memory_bytes") for arm in section.arms):
        columns.append((texts.GPU_MEMORY, _cost("peak_gpu_memory_bytes", lambda size: formats.count(size / 1e6))))
    columns.append((texts.EPOCHS, epochs))
    return _grouped(columns, "cost")


def _grouped(columns: Iterable[tuple[str, _Cell]], group: Literal["quality", "cost"]) -> list[tuple[Column, _Cell]]:
    return [(Column(heading, numeric=heading != texts.INTERVAL_KIND, group=group), cell) for heading, cell in columns]


def _heading(key: str) -> str:
    return key.partition(".")[2].replace("_", " ").capitalize()


def _setting_cell(key: str) -> _Cell:
    return lambda arm: formats.setting(arm.settings[key]) if key in arm.settings else texts.NONE


def _runs(arm: Arm) -> str:
    if not arm.failed:
        return str(len(arm.finished))
    return texts.RUNS_AND_FAILED.format(finished=len(arm.finished), failed=len(arm.failed))


def _accuracy(arm: Arm) -> str:
    return _mean(arm.accuracy, formats.percent) if arm.finished else texts.FAILED


def scale(arm: Arm) -> str:
    """The effective scale, such as LoRA's α/r."""
    return texts.NONE if arm.scale is None else formats.factor(arm.scale)


def epochs(arm: Arm) -> str:
    """The epochs that were run, and the one that was restored."""
    if arm.epochs_run is None:
        return texts.NONE
    return f"{formats.span(arm.epochs_run)} / {formats.span(arm.best_epoch)}"


def _mean(value: Estimate | None, write: Callable[[float], str]) -> str:
    return write(value.mean) if value else texts.NONE


def _cost(name: str, write: Callable[[float], str]) -> _Cell:
    return lambda arm: _mean(arm.cost(name), write)


def _as_megabytes(size: float) -> str:
    return formats.megabytes(size / 1e6)


def _or_dash(number: int | None) -> str:
    return texts.NONE if number is None else formats.seconds(number)


_Row = tuple[str, str, str, bool]


def _data_rows(section: Section) -> list[_Row]:
    data = section.data
    here = (data.train_documents, data.val_documents, data.test_documents)
    published = tuple(
        sum(getattr(category, split) for category in thesis.TABLE_3_1.values()) for split in ("train", "val", "test")
    )
    return [("documents", _counts(here), _counts(published), here == published)]


def _setting_rows(section: Section, words: Words) -> list[_Row]:
    rows: list[_Row] = []
    if section.encoder_name:
        same = section.encoder_name in thesis.ENCODERS
        rows.append(("encoder", section.encoder_name, thesis.ENCODERS[0], same))
    if section.encoder:
        shape = (section.encoder.layers, section.encoder.hidden_size, section.encoder.vocabulary_size)
        published = (thesis.LAYERS, thesis.HIDDEN_SIZE, thesis.VOCABULARY_SIZE)
        here, theirs = (shape_text(*one, words=words) for one in (shape, published))
        rows.append(("shape", here, theirs, shape == published))
    for name, key, value in (
        ("tokens", "encoder.max_tokens", thesis.MAX_TOKENS),
        ("padding", "training.padding", thesis.PADDING),
        ("batch", "training.batch_size", thesis.BATCH_SIZE),
        ("threshold", "training.threshold", thesis.THRESHOLD),
    ):
        found = _values(section.arms, key)
        if found:
            rows.append((name, _joined(found, words), formats.setting(value), found == [value]))
    if patience := _values(section.arms, "training.patience"):
        same = _same_patience(section.arms)
        rows.append(("patience", _joined(patience, words), words("setting.patience_value"), same))
    return rows


def _machine_rows(section: Section, words: Words) -> list[_Row]:
    records = section.records
    gpus = list(dict.fromkeys(record.environment.gpu or words("setting.no_gpu") for record in records))
    cpus = list(dict.fromkeys(cpu_text(record, words=words) for record in records))
    runs = sorted({len(arm.finished) for arm in section.arms if arm.finished and not arm.deterministic}) or [1]
    return [
        ("gpu", ", ".join(gpus), thesis.GPU, gpus == [thesis.GPU]),
        ("cpu", ", ".join(cpus), words("setting.thesis_cpu", cpu=thesis.CPU), False),
        ("runs", _joined(runs, words), "1", runs == [1]),
    ]


def cpu_text(record: RunRecord, *, words: Words) -> str:
    """The processor and the threads that a run used."""
    return words("setting.cpu_value", cpu=record.environment.cpu, threads=record.environment.threads)


def shape_text(layers: int, hidden: int, vocabulary: int, *, words: Words) -> str:
    """An encoder's shape in words."""
    return words("setting.shape_value", layers=layers, hidden=hidden, words=vocabulary)


def _same_patience(arms: Iterable[Arm]) -> bool:
    """Whether every arm that has a row in the thesis stops as that row's runs did, where the thesis says how."""
    rows = [(arm, thesis.published_for(arm)) for arm in arms]
    compared = [(arm, row) for arm, row in rows if row and row.patience is not None]
    return bool(compared) and all(arm.settings.get("training.patience") == row.patience for arm, row in compared)


def _values(arms: Iterable[Arm], key: str) -> list[Any]:
    found = [arm.settings[key] for arm in arms if key in arm.settings]
    return [value for index, value in enumerate(found) if value not in found[:index]]


def _joined(values: Iterable[Any], words: Words) -> str:
    never = words("setting.never")
    return ", ".join(never if value is None else formats.setting(value) for value in values) or texts.NONE


def _counts(numbers: Iterable[int]) -> str:
    return " / ".join(map(formats.count, numbers))
