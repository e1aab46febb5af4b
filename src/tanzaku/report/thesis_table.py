"""The settings, data and hardware of a section's runs next to the thesis's, with whether they are the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import Section
from tanzaku.analysis.settings import values_of
from tanzaku.report import formats
from tanzaku.report.render import Column, Table
from tanzaku.study.record import Environment
from tanzaku.words import Words

_Row = tuple[str, str, str, bool]


def thesis_table(section: Section, *, words: Words, paper: bool = False) -> Table:
    """How these runs differ from the thesis's."""
    text = words.text
    caption = (
        text("How the runs on {data} differ from those of the thesis.", data=section.data.name)
        if paper
        else text("How these runs differ from those of the thesis")
    )
    headings = (text("Setting"), text("These runs"), text("Thesis"), text("Same"))
    rows = [_data_row(section, words), *_setting_rows(section, words), *_machine_rows(section, words)]
    return Table(
        caption,
        tuple(Column(heading, wraps=place < 3) for place, heading in enumerate(headings)),
        tuple((name, here, published, text("yes") if same else text("no")) for name, here, published, same in rows),
    )


def shape_text(layers: int, hidden: int, vocabulary: int, *, words: Words) -> str:
    """An encoder's shape in words."""
    return words.text(
        "{layers}, hidden size {hidden:,}, {words:,} vocabulary entries",
        layers=words.plural("{n} layer", "{n} layers", layers),
        hidden=hidden,
        words=vocabulary,
    )


def _data_row(section: Section, words: Words) -> _Row:
    data = section.data
    here = (data.train_documents, data.val_documents, data.test_documents)
    each = [(category.train, category.val, category.test) for category in thesis.TABLE_3_1.values()]
    published = tuple(map(sum, zip(*each, strict=True)))
    written, theirs = (" / ".join(map(formats.count, numbers)) for numbers in (here, published))
    return words.text("Documents (training / validation / test)"), written, theirs, here == published


def _setting_rows(section: Section, words: Words) -> list[_Row]:
    text, rows = words.text, []
    if section.encoder_name:
        same = section.encoder_name in thesis.ENCODERS
        rows.append((text("Encoder"), section.encoder_name, thesis.ENCODERS[0], same))
    if section.encoder:
        shape = (section.encoder.layers, section.encoder.hidden_size, section.encoder.vocabulary_size)
        published = (thesis.LAYERS, thesis.HIDDEN_SIZE, thesis.VOCABULARY_SIZE)
        here, theirs = (shape_text(*one, words=words) for one in (shape, published))
        rows.append((text("Encoder architecture"), here, theirs, shape == published))
    for name, key, value in (
        (text("Tokens read per document"), "encoder.max_tokens", thesis.MAX_TOKENS),
        (text("Padding"), "training.padding", thesis.PADDING),
        (text("Batch size"), "training.batch_size", thesis.BATCH_SIZE),
        (text("Early-stopping threshold"), "training.threshold", thesis.THRESHOLD),
    ):
        if known := values_of(section.arms, key):
            rows.append((name, _joined(known, words), formats.setting(value, words=words), known == [value]))
    if patience := values_of(section.arms, "training.patience"):
        theirs = text("3 for LoRA and 5 for full fine-tuning (Table 3.2), 5 (Table 3.4)")
        same = thesis.has_same_patience(section)
        rows.append((text("Patience (epochs)"), _joined(patience, words), theirs, same))
    return rows


def _machine_rows(section: Section, words: Words) -> list[_Row]:
    machines = [record.environment for record in section.records]
    gpus = list(dict.fromkeys(machine.gpu or words.text("none") for machine in machines))
    cpus = dict.fromkeys(_cpu(machine, words) for machine in machines)
    runs = sorted({len(arm.finished) for arm in section.arms if arm.finished and not arm.deterministic}) or [1]
    return [
        ("GPU", ", ".join(gpus), thesis.GPU, gpus == [thesis.GPU]),
        ("CPU", ", ".join(cpus), words.text("{cpu}; trained on the GPU", cpu=thesis.CPU), False),
        (words.text("Runs per arm"), _joined(runs, words), "1", runs == [1]),
    ]


def _cpu(machine: Environment, words: Words) -> str:
    threads = words.plural("{n} thread", "{n} threads", machine.threads)
    return words.text("{cpu}, {threads}", cpu=machine.cpu, threads=threads)


def _joined(values: Iterable[Any], words: Words) -> str:
    return ", ".join(formats.setting(value, words=words) for value in values)
