"""A section's tables: the results, the data, and how the runs differ from the thesis's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from tanzaku.report import formats, texts, thesis
from tanzaku.report.arms import LEARNING_RATE, RANK, Arm, Estimate, Section
from tanzaku.report.evidence import Evidence
from tanzaku.report.render import Column, Table
from tanzaku.report.words import filled
from tanzaku.study.record import RunRecord

_Cell = Callable[[Arm], str]


def results_table(section: Section, evidence: Evidence) -> Table:
    """One row an arm, in the section's order; an arm of failed runs alone has a row too."""
    columns = [*_method_columns(section), *_quality_columns(section, evidence), *_cost_columns(section)]
    return Table(
        caption=texts.RESULTS,
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(cell(arm) for _, cell in columns) for arm in section.arms),
    )


def data_table(section: Section) -> Table | None:
    """Validation and test documents a class, from the first run that finished, with Table 3.1 where it applies."""
    scored = next((record for record in section.records if record.test and record.val), None)
    if scored is None or scored.test is None or scored.val is None:
        return None
    names = [*section.data.label_names]
    counts = [[scored.val.per_class[name].support, scored.test.per_class[name].support] for name in names]
    headings = [texts.VALIDATION, texts.TEST]
    if thesis.is_thesis_data(section.data):
        published = [thesis.TABLE_3_1[name] for name in names]
        counts = [[*row, each.train, each.val, each.test] for row, each in zip(counts, published, strict=True)]
        headings += [texts.THESIS_TRAIN, texts.THESIS_VALIDATION, texts.THESIS_TEST]
    totals = [sum(column) for column in zip(*counts, strict=True)]
    return Table(
        caption=texts.DATA,
        columns=(Column(texts.CLASS), *(Column(heading, numeric=True) for heading in headings)),
        rows=tuple(
            (name, *map(formats.count, row))
            for name, row in zip([*names, texts.ALL_CLASSES], [*counts, totals], strict=True)
        ),
    )


def comparison_table(section: Section) -> Table:
    """The settings, data and hardware of these runs beside the thesis's, with whether they are the same."""
    rows = [*_data_rows(section), *_setting_rows(section), *_machine_rows(section)]
    return Table(
        caption=texts.COMPARISON,
        columns=(Column(texts.SETTING), Column(texts.HERE), Column(texts.THESIS), Column(texts.SAME)),
        rows=tuple((name, here, published, texts.YES if same else texts.NO) for name, here, published, same in rows),
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
        (texts.SCALE, lambda arm: texts.NONE if arm.scale is None else formats.compact(arm.scale)),
        (texts.RUNS, _runs),
        (texts.ACCURACY, _accuracy),
        (texts.INTERVAL, lambda arm: formats.interval(evidence.interval(arm))),
        (texts.INTERVAL_KIND, lambda arm: formats.interval_kind(evidence.interval(arm))),
    ]
    if any(len(arm.finished) > 1 for arm in section.arms):
        columns.append((texts.SPREAD, lambda arm: formats.spread(arm.accuracy)))
    columns.append((texts.MACRO_F1, lambda arm: _mean(arm.macro_f1, formats.percent)))
    if thesis.is_thesis_data(section.data):
        columns.append((texts.THESIS_ACCURACY, _published(lambda row: f"{row.accuracy_percent:.2f}")))
        columns.append((texts.THESIS_TABLE, _published(lambda row: row.table)))
    return _grouped(columns, "quality")


def _cost_columns(section: Section) -> list[tuple[Column, _Cell]]:
    compared = thesis.is_thesis_data(section.data)
    columns: list[tuple[str, _Cell]] = [(texts.SIZE, _cost("saved_bytes", _as_megabytes))]
    if compared:
        columns.append((texts.THESIS_SIZE, _published(lambda row: formats.megabytes(thesis.published_megabytes(row)))))
    columns += [
        (texts.PARAMETERS, _cost("trainable_parameters", formats.count)),
        (texts.TRAIN_SECONDS, _cost("train_seconds", formats.seconds)),
        (texts.TRAIN_SECONDS_WITH_EVALUATION, _cost("train_seconds_with_evaluation", formats.seconds)),
    ]
    if compared:
        columns.append((texts.THESIS_SECONDS, _published(lambda row: _or_dash(row.train_seconds))))
    columns.append((texts.MEMORY, _cost("peak_memory_bytes", lambda size: formats.count(size / 1e6))))
    if any(arm.cost("peak_gpu_memory_bytes") for arm in section.arms):
        columns.append((texts.GPU_MEMORY, _cost("peak_gpu_memory_bytes", lambda size: formats.count(size / 1e6))))
    columns.append((texts.EPOCHS, _epochs))
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


def _epochs(arm: Arm) -> str:
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


def _published(write: Callable[[thesis.Published], str]) -> _Cell:
    def cell(arm: Arm) -> str:
        row = thesis.published_for(arm)
        return write(row) if row else texts.NONE

    return cell


_Row = tuple[str, str, str, bool]


def _data_rows(section: Section) -> list[_Row]:
    data = section.data
    here = (data.train_documents, data.val_documents, data.test_documents)
    published = tuple(
        sum(getattr(category, split) for category in thesis.TABLE_3_1.values()) for split in ("train", "val", "test")
    )
    return [(texts.ROW_DOCUMENTS, _counts(here), _counts(published), here == published)]


def _setting_rows(section: Section) -> list[_Row]:
    rows: list[_Row] = []
    if section.encoder_name:
        rows.append(
            (
                texts.ROW_ENCODER,
                section.encoder_name,
                thesis.ENCODERS[0],
                section.encoder_name in thesis.ENCODERS,
            )
        )
    if section.encoder:
        shape = (section.encoder.layers, section.encoder.hidden_size, section.encoder.vocabulary_size)
        published = (thesis.LAYERS, thesis.HIDDEN_SIZE, thesis.VOCABULARY_SIZE)
        rows.append((texts.ROW_SHAPE, shape_text(*shape), shape_text(*published), shape == published))
    for name, key, value in (
        (texts.ROW_TOKENS, "encoder.max_tokens", thesis.MAX_TOKENS),
        (texts.ROW_PADDING, "training.padding", thesis.PADDING),
        (texts.ROW_BATCH, "training.batch_size", thesis.BATCH_SIZE),
        (texts.ROW_THRESHOLD, "training.threshold", thesis.THRESHOLD),
    ):
        found = _values(section.arms, key)
        if found:
            rows.append((name, _joined(found), formats.setting(value), found == [value]))
    if patience := _values(section.arms, "training.patience"):
        rows.append((texts.ROW_PATIENCE, _joined(patience), texts.THESIS_PATIENCE, _same_patience(section.arms)))
    return rows


def _machine_rows(section: Section) -> list[_Row]:
    records = section.records
    gpus = list(dict.fromkeys(record.environment.gpu or texts.NO_GPU for record in records))
    cpus = list(dict.fromkeys(cpu_text(record) for record in records))
    runs = sorted({len(arm.finished) for arm in section.arms if arm.finished})
    return [
        (texts.ROW_GPU, ", ".join(gpus), thesis.GPU, gpus == [thesis.GPU]),
        (texts.ROW_CPU, ", ".join(cpus), texts.THESIS_CPU.format(cpu=thesis.CPU), False),
        (texts.ROW_RUNS, _joined(runs), "1", runs == [1]),
    ]


def cpu_text(record: RunRecord) -> str:
    """The processor and the threads that a run used."""
    return filled(texts.CPU, cpu=record.environment.cpu, threads=record.environment.threads)


def shape_text(layers: int, hidden: int, words: int) -> str:
    """An encoder's shape in words."""
    return filled(texts.SHAPE, layers=layers, hidden=hidden, words=words)


def _same_patience(arms: Iterable[Arm]) -> bool:
    """Whether every arm that has a row in the thesis stops as that row's runs did, where the thesis says how."""
    rows = [(arm, thesis.published_for(arm)) for arm in arms]
    compared = [(arm, row) for arm, row in rows if row and row.patience is not None]
    return bool(compared) and all(arm.settings.get("training.patience") == row.patience for arm, row in compared)


def _values(arms: Iterable[Arm], key: str) -> list[Any]:
    found = [arm.settings[key] for arm in arms if key in arm.settings]
    return [value for index, value in enumerate(found) if value not in found[:index]]


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(formats.setting(value) for value in values) or texts.NONE


def _counts(numbers: Iterable[int]) -> str:
    return " / ".join(map(formats.count, numbers))
