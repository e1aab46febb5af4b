"""How the figures came about: data, encoder, settings, machine and versions, as terms with their values."""

from __future__ import annotations

from tanzaku.analysis.arms import Section
from tanzaku.report import formats
from tanzaku.report.tables import shared_settings
from tanzaku.report.words import Words
from tanzaku.study.record import Environment

_DIGITS = 12


def measured_facts(section: Section, *, words: Words) -> list[tuple[str, list[str]]]:
    """Each fact's term, and what is to be said of it."""
    data = section.data
    facts = [
        (
            words("measured.data"),
            [
                words(
                    "measured.data_text",
                    name=data.name,
                    classes=len(data.label_names),
                    train=f"{data.train_documents:,}",
                    val=f"{data.val_documents:,}",
                    test=data.test_documents,
                    fingerprint=data.fingerprint[:_DIGITS],
                )
            ],
        )
    ]
    if section.encoder_name:
        facts.append((words("measured.encoder"), [_encoder(section, words)]))
    if settings := _settings(section):
        facts.append((words("measured.settings"), settings))
    groups: dict[str, list[Environment]] = {}
    for record in section.records:
        groups.setdefault(record.environment.model_dump_json(), []).append(record.environment)
    facts.append((words("measured.machine"), [_machine(found[0], len(found), words) for found in groups.values()]))
    versions = dict.fromkeys(_versions(found[0]) for found in groups.values())
    facts.append((words("measured.versions"), list(versions)))
    return facts


def _settings(section: Section) -> list[str]:
    """Those that all arms share which have them: a line for each method, for the encoder and for training."""
    groups: dict[str, list[str]] = {}
    for name, value in shared_settings(section.arms).items():
        group, _, option = name.rpartition(".")
        groups.setdefault(group, []).append(f"{option.replace('_', ' ')} {formats.setting(value)}")
    return [f"{group}: {', '.join(options)}" for group, options in groups.items()]


def _encoder(section: Section, words: Words) -> str:
    if section.encoder is None:
        return str(section.encoder_name)
    encoder = section.encoder
    return words(
        "measured.encoder_text",
        name=section.encoder_name,
        layers=encoder.layers,
        hidden=f"{encoder.hidden_size:,}",
        vocabulary=f"{encoder.vocabulary_size:,}",
        parameters=f"{encoder.parameters:,}",
        fingerprint=encoder.fingerprint[:_DIGITS],
    )


def _machine(environment: Environment, runs: int, words: Words) -> str:
    commit = (environment.git_commit or words("measured.unknown"))[:10]
    return words(
        "measured.machine_text",
        runs=runs,
        cpu=environment.cpu,
        cores=environment.cores,
        threads=environment.threads,
        memory=f"{environment.memory_bytes / 1e9:.1f}",
        gpu=environment.gpu or words("measured.no_gpu"),
        platform=environment.platform,
        commit=words("measured.dirty", commit=commit) if environment.git_dirty else commit,
    )


def _versions(environment: Environment) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(environment.versions.items()))
