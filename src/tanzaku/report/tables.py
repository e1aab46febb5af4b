"""A section's tables: the results, the data, and how the runs differ from the thesis's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from tanzaku.analysis.arms import LEARNING_RATE, RANK, Arm, Estimate, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.display import number
from tanzaku.report import formats, thesis
from tanzaku.report.render import Column, Table
from tanzaku.report.series import in_order
from tanzaku.report.terms import INTERVAL_KINDS, setting_name
from tanzaku.report.words import Words
from tanzaku.study.record import RunRecord

_Cell = Callable[[Arm], str]


def results_table(section: Section, evidence: Evidence, *, words: Words) -> Table:
    """One row an arm, in the order of `in_order`; an arm whose runs all failed has a row too."""
    columns = [
        *_method_columns(section, words),
        *_quality_columns(section, evidence, words),
        *_cost_columns(section, words),
    ]
    return Table(
        caption=words.text("Results"),
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


def data_table(section: Section, *, words: Words) -> Table | None:
    """Training, validation and test documents of each class, with Table 3.1 where it applies."""
    counts = class_counts(section)
    if counts is None:
        return None
    headings = [words.text("Training"), words.text("Validation"), words.text("Test")]
    if thesis.is_thesis_data(section.data):
        headings += [words.text("{label} (thesis)", label=heading) for heading in headings]
    return Table(
        caption=words.text("Data"),
        columns=(Column(words.text("Class")), *(Column(heading, numeric=True) for heading in headings)),
        rows=tuple(
            (name, *map(count_or_dash, row))
            for name, row in zip([*section.data.label_names, words.text("All")], counts, strict=True)
        ),
    )


def count_or_dash(number: int | None) -> str:
    """A whole number, or a dash where it is not known."""
    return formats.NONE if number is None else formats.count(number)


def comparison_table(section: Section, *, words: Words) -> Table:
    """The settings, data and hardware of these runs next to the thesis's, with whether they are the same."""
    rows = [*_data_rows(section, words), *_setting_rows(section, words), *_machine_rows(section, words)]
    return Table(
        caption=words.text("How these runs differ from those of the thesis"),
        columns=tuple(
            Column(heading)
            for heading in (words.text("Setting"), words.text("These runs"), words.text("Thesis"), words.text("Same"))
        ),
        rows=tuple(
            (name, here, published, words.text("yes") if same else words.text("no"))
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


def _method_columns(section: Section, words: Words) -> list[tuple[Column, _Cell]]:
    rates: _Cell = lambda arm: formats.NONE if arm.learning_rate is None else number(arm.learning_rate)  # noqa: E731
    names: _Cell = lambda arm: arm.full_name(words).with_options  # noqa: E731
    columns: list[tuple[Column, _Cell]] = [(Column(words.text("Method")), names)]
    columns.append((Column(words.text("Learning rate"), numeric=True), rates))
    columns += [
        (Column(setting_name(key, words=words).capitalize(), numeric=True), _setting_cell(key, words))
        for key in differing_settings(section.arms)
    ]
    return columns


def _quality_columns(section: Section, evidence: Evidence, words: Words) -> list[tuple[Column, _Cell]]:
    def kind(arm: Arm) -> str:
        interval = evidence.interval(arm)
        return words.text(INTERVAL_KINDS[interval.kind]) if interval else formats.NONE

    numbers = partial(Column, numeric=True, place=9)
    columns: list[tuple[Column, _Cell]] = [
        (numbers(words.text("Scale")), scale),
        (numbers(words.text("Runs")), lambda arm: runs_text(arm, words=words)),
        (numbers(words.text("Test accuracy (%)"), place=1), lambda arm: accuracy_text(arm, words=words)),
        (numbers(words.text("95 % interval (%)"), place=3), lambda arm: formats.interval(evidence.interval(arm))),
        (Column(words.text("Interval covers"), place=9), kind),
    ]
    if any(len(arm.finished) > 1 for arm in section.arms):
        columns.append((numbers(words.text("Lowest–highest (s.d.)")), lambda arm: formats.spread(arm.accuracy)))
    columns.append((numbers(words.text("Macro-F1 (%)"), place=4), lambda arm: _mean(arm.macro_f1, formats.percent)))
    if thesis.beside(section):
        accuracy = thesis.cell(lambda row: f"{row.accuracy_percent:.2f}")
        columns.append((numbers(words.text("Thesis: accuracy (%)")), accuracy))
        columns.append((numbers(words.text("Thesis: table")), thesis.cell(lambda row: row.table)))
    return columns


def _cost_columns(section: Section, words: Words) -> list[tuple[Column, _Cell]]:
    published = thesis.beside(section)
    numbers = partial(Column, numeric=True, place=9)
    columns: list[tuple[Column, _Cell]] = [
        (numbers(words.text("Saved (MB)"), place=2), _cost("saved_bytes", _as_megabytes))
    ]
    if published:
        cell = thesis.cell(lambda row: formats.megabytes(thesis.published_megabytes(row)))
        columns.append((numbers(words.text("Thesis: saved (MB)")), cell))
    columns += [
        (numbers(words.text("Trainable parameters")), _cost("trainable_parameters", formats.count)),
        (numbers(words.text("Training (s)"), place=5), _cost("train_seconds", formats.seconds)),
        (numbers(words.text("Training with evaluation (s)")), _cost("train_seconds_with_evaluation", formats.seconds)),
    ]
    if any(row.train_seconds is not None for row in published):
        cell = thesis.cell(lambda row: _or_dash(row.train_seconds))
        columns.append((numbers(words.text("Thesis: training (s)")), cell))
    columns.append((numbers(words.text("Peak memory (MB)")), _cost("peak_memory_bytes", _as_whole_megabytes)))
    if any(arm.cost("peak_gpu_memory_bytes") for arm in section.arms):
        cell = _cost("peak_gpu_memory_bytes", _as_whole_megabytes)
        columns.append((numbers(words.text("Peak GPU memory (MB)")), cell))
    columns.append((numbers(words.text("Epochs run / best")), epochs))
    return columns


def _setting_cell(key: str, words: Words) -> _Cell:
    return lambda arm: formats.setting(arm.settings[key], words=words) if key in arm.settings else formats.NONE


def runs_text(arm: Arm, *, words: Words) -> str:
    """How many runs there are."""
    finished = str(len(arm.finished))
    return (
        words.text("{finished} + {failed} failed", finished=finished, failed=len(arm.failed))
        if arm.failed
        else finished
    )


def accuracy_text(arm: Arm, *, words: Words) -> str:
    """The mean test accuracy in percent."""
    return _mean(arm.accuracy, formats.percent) if arm.finished else words.text("failed")


def scale(arm: Arm) -> str:
    """The effective scale, such as LoRA's α/r."""
    return formats.NONE if arm.scale is None else formats.factor(arm.scale)


def epochs(arm: Arm) -> str:
    """The epochs that were run, and the one that was restored."""
    if arm.epochs_run is None:
        return formats.NONE
    return f"{formats.span(arm.epochs_run)} / {formats.span(arm.best_epoch)}"


def _mean(value: Estimate | None, write: Callable[[float], str]) -> str:
    return write(value.mean) if value else formats.NONE


def _cost(name: str, write: Callable[[float], str]) -> _Cell:
    return lambda arm: _mean(arm.cost(name), write)


def _as_megabytes(size: float) -> str:
    return formats.megabytes(size / 1e6)


def _as_whole_megabytes(size: float) -> str:
    return formats.count(size / 1e6)


def _or_dash(number: int | None) -> str:
    return formats.NONE if number is None else formats.seconds(number)


_Row = tuple[str, str, str, bool]


def _data_rows(section: Section, words: Words) -> list[_Row]:
    data = section.data
    here = (data.train_documents, data.val_documents, data.test_documents)
    published = tuple(
        sum(getattr(category, split) for category in thesis.TABLE_3_1.values()) for split in ("train", "val", "test")
    )
    return [
        (words.text("Documents (training / validation / test)"), _counts(here), _counts(published), here == published)
    ]


def _setting_rows(section: Section, words: Words) -> list[_Row]:
    rows: list[_Row] = []
    if section.encoder_name:
        same = section.encoder_name in thesis.ENCODERS
        rows.append((words.text("Encoder"), section.encoder_name, thesis.ENCODERS[0], same))
    if section.encoder:
        shape = (section.encoder.layers, section.encoder.hidden_size, section.encoder.vocabulary_size)
        published = (thesis.LAYERS, thesis.HIDDEN_SIZE, thesis.VOCABULARY_SIZE)
        here, theirs = (shape_text(*one, words=words) for one in (shape, published))
        rows.append((words.text("Encoder architecture"), here, theirs, shape == published))
    for name, key, value in (
        (words.text("Tokens read per document"), "encoder.max_tokens", thesis.MAX_TOKENS),
        (words.text("Padding"), "training.padding", thesis.PADDING),
        (words.text("Batch size"), "training.batch_size", thesis.BATCH_SIZE),
        (words.text("Early-stopping threshold"), "training.threshold", thesis.THRESHOLD),
    ):
        found = _values(section.arms, key)
        if found:
            rows.append((name, _joined(found, words), formats.setting(value, words=words), found == [value]))
    if patience := _values(section.arms, "training.patience"):
        same = _same_patience(section.arms)
        rows.append(
            (
                words.text("Patience (epochs)"),
                _joined(patience, words),
                words.text("3 for LoRA and 5 for full fine-tuning (Table 3.2), 5 (Table 3.4)"),
                same,
            )
        )
    return rows


def _machine_rows(section: Section, words: Words) -> list[_Row]:
    records = section.records
    gpus = list(dict.fromkeys(record.environment.gpu or words.text("none") for record in records))
    cpus = list(dict.fromkeys(cpu_text(record, words=words) for record in records))
    runs = sorted({len(arm.finished) for arm in section.arms if arm.finished and not arm.deterministic}) or [1]
    return [
        ("GPU", ", ".join(gpus), thesis.GPU, gpus == [thesis.GPU]),
        ("CPU", ", ".join(cpus), words.text("{cpu}; trained on the GPU", cpu=thesis.CPU), False),
        (words.text("Runs per arm"), _joined(runs, words), "1", runs == [1]),
    ]


def cpu_text(record: RunRecord, *, words: Words) -> str:
    """The processor and the threads that a run used."""
    return words.text(
        "{cpu}, {threads}",
        cpu=record.environment.cpu,
        threads=words.plural("{n} thread", "{n} threads", record.environment.threads),
    )


def shape_text(layers: int, hidden: int, vocabulary: int, *, words: Words) -> str:
    """An encoder's shape in words."""
    return words.text(
        "{layers}, hidden size {hidden:,}, {words:,} vocabulary entries",
        layers=words.plural("{n} layer", "{n} layers", layers),
        hidden=hidden,
        words=vocabulary,
    )


def _same_patience(arms: Iterable[Arm]) -> bool:
    """Whether every arm that has a row in the thesis stops as that row's runs did, where the thesis says how."""
    rows = [(arm, thesis.published_for(arm)) for arm in arms]
    compared = [(arm, row) for arm, row in rows if row and row.patience is not None]
    return bool(compared) and all(arm.settings.get("training.patience") == row.patience for arm, row in compared)


def _values(arms: Iterable[Arm], key: str) -> list[Any]:
    found = [arm.settings[key] for arm in arms if key in arm.settings]
    return [value for index, value in enumerate(found) if value not in found[:index]]


def _joined(values: Iterable[Any], words: Words) -> str:
    return ", ".join(formats.setting(value, words=words) for value in values) or formats.NONE


def _counts(numbers: Iterable[int]) -> str:
    return " / ".join(map(formats.count, numbers))
