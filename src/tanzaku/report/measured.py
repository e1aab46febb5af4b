"""How the results were measured: data, encoder, settings, machines and versions, as terms with their values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tanzaku.analysis.arms import LONG_TEXT, MAX_TOKENS, MAX_WINDOWS, Section
from tanzaku.analysis.settings import shared_settings
from tanzaku.pretraining.options import describe_options
from tanzaku.report import formats
from tanzaku.report.terms import setting_name
from tanzaku.report.thesis_table import shape_text
from tanzaku.study.naming import option_label
from tanzaku.study.record import Environment, FinishedEncoderRun
from tanzaku.words import Words

_DIGITS = 12  # of a fingerprint
_COMMIT_DIGITS = 10
_READING = (MAX_TOKENS, LONG_TEXT, MAX_WINDOWS)


def measured_facts(section: Section, *, words: Words) -> list[tuple[str, list[str]]]:
    """Each fact's term, and its values."""
    facts = [(words.text("Data"), [_data(section, words), *_partly_read(section, words)])]
    if section.encoder_name:
        facts.append((words.text("Encoder"), [_encoder(section, words), *_pretrainings(section, words)]))
    if settings := _settings(section, words):
        facts.append((words.text("Settings with one value, by method"), settings))
    groups: dict[str, list[Environment]] = {}
    for record in section.records:
        groups.setdefault(record.environment.model_dump_json(), []).append(record.environment)
    machines = [_machine(members[0], len(members), words) for members in groups.values()]
    if len(machines) > 1:
        machines.append(
            words.text(
                "The runs were made on different machines or with different versions or commits: their times may not "
                "be comparable."
            )
        )
    facts.append((words.text("Machine"), machines))
    if computed := _computed(section, words):
        facts.append((words.text("Computation"), computed))
    versions = dict.fromkeys(_versions(members[0]) for members in groups.values())
    facts.append((words.text("Versions"), list(versions)))
    return facts


def _data(section: Section, words: Words) -> str:
    data = section.data
    return words.text(
        "{name}: {classes}; {train:,} training, {val:,} validation and {test:,} test documents; fingerprint "
        "{fingerprint}",
        name=data.name,
        classes=words.plural("{n} class", "{n} classes", len(data.label_names)),
        train=data.train_documents,
        val=data.val_documents,
        test=data.test_documents,
        fingerprint=data.fingerprint[:_DIGITS],
    )


def _partly_read(section: Section, words: Words) -> Iterable[str]:
    """One line for each way of reading that leaves out tokens of long documents."""
    lines = {}
    for record in section.records:
        if isinstance(record, FinishedEncoderRun) and record.partly_read:
            settings = {name: record.spec["encoder"].get(name.rpartition(".")[2]) for name in _READING}
            given = (_setting(name, value, words) for name, value in settings.items() if value is not None)
            reading = words.text(", ").join(given)
            lines[reading] = words.plural(
                "{n:,} training document is longer than what is read of it ({reading})",
                "{n:,} training documents are longer than what is read of them ({reading})",
                record.partly_read,
                reading=reading,
            )
    return lines.values()


def _settings(section: Section, words: Words) -> list[str]:
    """Those that all arms share which have them: a line for each method, for the encoder and for training."""
    groups: dict[str, list[str]] = {}
    for name, value in shared_settings(section.arms).items():
        groups.setdefault(name.rpartition(".")[0], []).append(_setting(name, value, words))
    names = {arm.method: arm.full_name(words).method for arm in section.arms}
    names |= {"encoder": words.text("Encoder"), "training": words.text("Training")}
    return [
        words.text(
            "{name}: {value}",
            name=names[group],
            value=words.text(", ").join(settings),
        )
        for group, settings in groups.items()
    ]


def _setting(name: str, value: Any, words: Words) -> str:
    """As names of arms say it, such as `α = r`, where that says which setting it is; else its name and its value."""
    text = formats.setting(value, words=words)
    method, _, option = name.rpartition(".")
    label = option_label(method, option)
    phrase = label.text(words.language) if label else ""
    if label and re.search(r"\w.*{value}|{value}.*\w", phrase) and not isinstance(value, bool | None):
        return phrase.format(value=label.values.get(text, text))
    return f"{setting_name(name, words=words)} {text}"


def _encoder(section: Section, words: Words) -> str:
    if section.encoder is None:
        return str(section.encoder_name)
    encoder = section.encoder
    return words.text(
        "{name} ({model_type}): {shape}, {parameters:,} parameters with its head; fingerprint {fingerprint}",
        name=section.encoder_name,
        model_type=encoder.model_type,
        shape=shape_text(encoder.layers, encoder.hidden_size, encoder.vocabulary_size, words=words),
        parameters=encoder.parameters,
        fingerprint=encoder.fingerprint[:_DIGITS],
    )


def _pretrainings(section: Section, words: Words) -> Iterable[str]:
    """One line for each pretraining that arms build on."""
    lines = {}
    for arm in section.arms:
        for record in (*arm.finished, *arm.repeated):
            if not isinstance(record, FinishedEncoderRun) or record.encoder.pretraining is None:
                continue
            facts = record.encoder.pretraining
            lines[facts.identity] = words.text(
                "Further pretrained ({options}): masked language modeling on {documents:,} training texts, {steps:,} "
                "steps in {seconds:,.0f} s, which the training times do not include; held-out loss {first:.4f} at the "
                "first evaluation and {last:.4f} at the end; fingerprint {fingerprint}",
                options=describe_options(record.spec["encoder"]["pretrain"]),
                documents=facts.documents,
                steps=facts.steps,
                seconds=facts.seconds,
                first=facts.first_held_out_loss,
                last=facts.held_out_loss,
                fingerprint=record.encoder.fingerprint[:_DIGITS],
            )
    return lines.values()


def _machine(environment: Environment, runs: int, words: Words) -> str:
    commit = (environment.git_commit or words.text("unknown"))[:_COMMIT_DIGITS]
    return words.text(
        "{runs}: {cpu}, {cores}, {threads}, {memory:.1f} GB memory, GPU {gpu}; {platform}; commit {commit}",
        runs=words.plural("{n} run", "{n} runs", runs),
        cpu=environment.cpu,
        cores=words.plural("{n} core", "{n} cores", environment.cores),
        threads=words.plural("{n} thread", "{n} threads", environment.threads),
        memory=environment.memory_bytes / 1e9,
        gpu=environment.gpu or words.text("none"),
        platform=environment.platform,
        commit=words.text("{commit} with uncommitted changes", commit=commit) if environment.git_dirty else commit,
    )


def _computed(section: Section, words: Words) -> list[str]:
    """A line for each way in which encoders were computed, and one where it differs within an arm."""
    encoders = [record for record in section.records if isinstance(record, FinishedEncoderRun)]
    lines = [
        words.text(
            "{runs}: {path}, {precision}",
            runs=words.plural("{n} run", "{n} runs", runs),
            path=words.text("the fast path") if path == "fast" else path,
            precision=precision,
        )
        for (path, precision), runs in Counter(_computation(record) for record in encoders).items()
    ]
    ways = [{_computation(run) for run in arm.finished if isinstance(run, FinishedEncoderRun)} for arm in section.arms]
    if any(len(of_arm) > 1 for of_arm in ways):
        lines.append(
            words.text("Some arms have runs that were computed in different ways, which also adds to their spread.")
        )
    return lines


def _computation(record: FinishedEncoderRun) -> tuple[str, str]:
    return record.compute.path, record.compute.precision


def _versions(environment: Environment) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(environment.versions.items()))
