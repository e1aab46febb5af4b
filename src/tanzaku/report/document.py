"""The report as one Markdown document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tanzaku.analysis.arms import Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.pretraining.options import describe_options
from tanzaku.report import formats, tables, texts, thesis
from tanzaku.report.class_tables import class_tables
from tanzaku.report.comparisons import front_table, reference_tables
from tanzaku.report.rank_tables import cost_sentences, rank_tables
from tanzaku.report.render import escape_markdown, markdown_table, one_line
from tanzaku.report.sentences import class_notes, told
from tanzaku.report.words import filled, words_of
from tanzaku.study.record import Environment, FinishedEncoderRun, RunRecord

_FINGERPRINT_DIGITS = 12
_COMMIT_DIGITS = 10


@dataclass(frozen=True)
class FigureFile:
    """A figure that was written."""

    path: str
    """Of the SVG, from the report's folder."""
    caption: str


def markdown_document(
    sections: Sequence[Section],
    evidence: Sequence[Evidence],
    *,
    records: Sequence[RunRecord],
    figures: Mapping[int, Sequence[FigureFile]],
    packs: Mapping[int, str],
    left_out: int = 0,
) -> str:
    """The whole report.

    Args:
        sections: What belongs side by side.
        evidence: What is inferred of each section, in the same order.
        records: All records.
        figures: By a section's number from 1.
        packs: By a section's number, the command that packs the recommended run, where its model is there.
        left_out: How many other records lie in the folder.
    """
    lines = [f"# {texts.TITLE}", "", count_text(records), ""]
    if left_out:
        lines += [filled(texts.LEFT_OUT, count=left_out), ""]
    if len(sections) > 1:
        lines += [texts.SECTION_COUNT.format(sections=len(sections)), ""]
    for number, (section, found) in enumerate(zip(sections, evidence, strict=True), start=1):
        lines += _section_lines(section, found, number=number, figures=figures.get(number, []), pack=packs.get(number))
    return "\n".join(lines).rstrip("\n") + "\n"


def section_heading(section: Section, *, number: int) -> str:
    """What tells a section from the others."""
    return texts.SECTION.format(
        number=number, data=one_line(section.data.name), encoder=one_line(section.encoder_name or texts.NO_ENCODER)
    )


def count_text(records: Sequence[RunRecord]) -> str:
    """How many runs there are, finished, failed and resumed."""
    return filled(
        texts.RUN_COUNT,
        runs=len(records),
        finished=sum(record.status == "finished" for record in records),
        failed=sum(record.status == "failed" for record in records),
        resumed=sum(record.resumptions > 0 for record in records),
    )


def notes(section: Section, evidence: Evidence) -> list[str]:
    """The sentences that belong under the results, in Markdown."""
    lines = []
    finished = [len(arm.finished) for arm in section.arms if arm.finished]
    deterministic = [arm for arm in section.arms if arm.finished and arm.deterministic]
    if section.baseline is None:
        lines.append(texts.NO_BASELINE)
    if any(len(arm.finished) == 1 and not arm.deterministic for arm in section.arms):
        lines.append(texts.INTERVALS_WILSON)
    if deterministic:
        lines.append(texts.INTERVALS_DETERMINISTIC)
    if any(runs > 1 for runs in finished):
        lines.append(texts.INTERVALS_BOTH)
        if evidence.predictions_missing:
            lines.append(texts.INTERVALS_WIDE)
    lines += map(escape_markdown, class_notes(section, evidence, words=words_of("en")))
    if len(finished) > 1:
        lines.append(texts.NO_PREDICTIONS if evidence.predictions_missing else texts.NO_ORDER)
    if repeated := sum(len(arm.repeated) for arm in section.arms):
        lines.append(filled(texts.REPEATED, count=repeated))
    if thesis.beside(section):
        lines.append(texts.SIDE_BY_SIDE)
    return lines


def failure_lines(section: Section) -> list[str]:
    """One line a failed run, with its error."""
    return [
        texts.FAILED_RUN.format(
            run_id=one_line(record.run_id).replace("`", "'"),
            arm=escape_markdown(formats.arm_name(arm)),
            seed=record.spec["seed"],
            error=escape_markdown(record.error),
        )
        for arm in section.arms
        for record in arm.failed
    ]


def _section_lines(
    section: Section,
    evidence: Evidence,
    *,
    number: int,
    figures: Sequence[FigureFile],
    pack: str | None,
) -> list[str]:
    results = tables.results_table(section, evidence)
    data = tables.data_table(section)
    lines = [
        f"## {escape_markdown(section_heading(section, number=number))}",
        "",
        *_recommendation_lines(evidence, pack),
    ]
    lines += [f"### {texts.RESULTS}", "", *_shared_lines(section), "", markdown_table(results)]
    lines += _bullets(notes(section, evidence))
    lines += [*_comparison_lines(section, evidence), *_rank_lines(evidence)]
    lines += _class_lines(evidence)
    if failures := failure_lines(section):
        lines += [f"### {texts.FAILED_RUNS}", "", *_bullets(failures)]
    if thesis.is_thesis_data(section.data):
        lines += [f"### {texts.COMPARISON}", "", markdown_table(tables.comparison_table(section))]
    lines += [f"### {texts.DATA}", "", _data_text(section), ""]
    lines += [texts.DATA_COUNTS, "", markdown_table(data)] if data else [texts.NO_CLASS_COUNTS, ""]
    lines += [f"### {texts.ENVIRONMENT}", "", *_encoder_lines(section), *_bullets(_environment_lines(section))]
    if figures:
        lines += [f"### {texts.FIGURES}", "", *_figure_lines(figures)]
    return lines


def _recommendation_lines(evidence: Evidence, pack: str | None) -> list[str]:
    """What to take, first of all arms and then, where that is none, of those that adapt the encoder."""
    words = words_of("en")
    paragraphs = []
    for advice in told(evidence, words=words):
        take, *rest = map(escape_markdown, advice.sentences)
        paragraphs.append(" ".join([f"**{take}**", *rest]))
    if not paragraphs:
        return []
    rule = texts.CHOSEN_BY.format(measure=words(f"measure.{evidence.choose_by}"))
    lines = [line for paragraph in (*paragraphs, rule, *_pack_lines(evidence, pack)) for line in (paragraph, "")]
    return [f"### {texts.RECOMMENDATION}", "", *lines]


def _pack_lines(evidence: Evidence, pack: str | None) -> list[str]:
    """How to pack the recommended run, where its model is there."""
    if evidence.recommendation is None:
        return []
    words = words_of("en")
    return [f"{words('recommended.pack')} `{one_line(pack)}`" if pack else words("recommended.no_model")]


def _comparison_lines(section: Section, evidence: Evidence) -> list[str]:
    lines = []
    if compared := reference_tables(evidence):
        lines += [f"### {texts.COMPARISONS}", ""]
        for table in compared:
            lines += [f"{escape_markdown(table.caption)}:", "", markdown_table(table)]
        lines += _bullets(texts.COMPARISON_NOTES)
    if front := front_table(section, evidence):
        lines += [f"### {texts.FRONT}", "", markdown_table(front), texts.FRONT_NOTE, ""]
    return lines


def _class_lines(evidence: Evidence) -> list[str]:
    found = class_tables(evidence)
    lines = [f"### {texts.CLASSES}", ""] if found else []
    for table in found:
        lines += [f"{escape_markdown(table.caption)}:", "", markdown_table(table)]
    return lines


def _rank_lines(evidence: Evidence) -> list[str]:
    """One adapter at several ranks, where some arm was measured so."""
    if not evidence.curves:
        return []
    words = words_of("en")
    lines = [f"### {words('heading.curves')}", ""]
    for curve, table in zip(evidence.curves, rank_tables(evidence), strict=True):
        lines += [f"{escape_markdown(table.caption)}:", "", markdown_table(table)]
        lines += [escape_markdown(" ".join(cost_sentences(curve, words=words))), ""]
    return [*lines, texts.RANKS_NOTE, ""] if any(curve.separate for curve in evidence.curves) else lines


def _bullets(lines: Iterable[str]) -> list[str]:
    return [*(f"- {line}" for line in lines), ""]


def _shared_lines(section: Section) -> list[str]:
    """The settings that need no column, method by method."""
    groups: dict[str, list[str]] = {}
    for name, value in tables.shared_settings(section.arms).items():
        group, _, option = name.partition(".")
        if option not in ("rank", "learning_rate"):
            groups.setdefault(group, []).append(f"{option} {formats.setting(value)}")
    parts = [
        texts.SHARED_GROUP.format(group=texts.SHARED_GROUPS.get(group, group), settings=", ".join(options))
        for group, options in groups.items()
    ]
    return [escape_markdown(texts.SHARED.format(settings="; ".join(parts)))] if parts else []


def _data_text(section: Section) -> str:
    data = section.data
    return filled(
        texts.DATA_FACTS,
        name=one_line(data.name).replace("`", "'"),
        classes=len(data.label_names),
        train=data.train_documents,
        val=data.val_documents,
        test=data.test_documents,
        fingerprint=data.fingerprint[:_FINGERPRINT_DIGITS],
    )


def _encoder_lines(section: Section) -> list[str]:
    if section.encoder_name is None:
        return []
    name = one_line(section.encoder_name).replace("`", "'")
    if section.encoder is None:
        return [texts.ENCODER_UNKNOWN.format(name=name), ""]
    encoder = section.encoder
    shape = tables.shape_text(encoder.layers, encoder.hidden_size, encoder.vocabulary_size, words=words_of("en"))
    facts = texts.ENCODER_FACTS.format(
        name=name,
        model_type=escape_markdown(encoder.model_type),
        shape=shape,
        parameters=encoder.parameters,
        fingerprint=encoder.fingerprint[:_FINGERPRINT_DIGITS],
    )
    pretraining = _pretraining_lines(section)
    return [facts, "", *(_bullets(pretraining) if pretraining else [])]


def _pretraining_lines(section: Section) -> list[str]:
    """One line for each pretraining that arms build on."""
    lines = {}
    for arm in section.arms:
        for record in (*arm.finished, *arm.repeated):
            if not isinstance(record, FinishedEncoderRun) or record.encoder.pretraining is None:
                continue
            facts = record.encoder.pretraining
            lines[facts.identity] = filled(
                texts.PRETRAINING_FACTS,
                options=escape_markdown(describe_options(record.spec["encoder"]["pretrain"])),
                documents=facts.documents,
                steps=facts.steps,
                seconds=facts.seconds,
                first=facts.first_held_out_loss,
                last=facts.held_out_loss,
                fingerprint=record.encoder.fingerprint[:_FINGERPRINT_DIGITS],
            )
    return list(lines.values())


def _environment_lines(section: Section) -> list[str]:
    """One line for each machine, commit and set of versions that runs were made with."""
    groups: dict[str, list[Environment]] = {}
    for record in section.records:
        groups.setdefault(record.environment.model_dump_json(), []).append(record.environment)
    lines = [_environment_text(members[0], runs=len(members)) for members in groups.values()]
    return [*lines, texts.ENVIRONMENTS_DIFFER] if len(lines) > 1 else lines


def _environment_text(environment: Environment, *, runs: int) -> str:
    commit = (environment.git_commit or texts.COMMIT_UNKNOWN)[:_COMMIT_DIGITS]
    if environment.git_dirty:
        commit = texts.COMMIT_DIRTY.format(commit=commit)
    facts = filled(
        texts.ENVIRONMENT_FACTS,
        runs=runs,
        cpu=environment.cpu,
        cores=environment.cores,
        threads=environment.threads,
        memory=environment.memory_bytes / 1e9,
        gpu=environment.gpu or words_of("en")("setting.no_gpu"),
        platform=environment.platform,
        commit=commit,
        versions=", ".join(f"{name} {version}" for name, version in sorted(environment.versions.items())),
    )
    return escape_markdown(facts)


def _figure_lines(figures: Sequence[FigureFile]) -> list[str]:
    captions = [escape_markdown(figure.caption) for figure in figures]
    return [
        line
        for figure, caption in zip(figures, captions, strict=True)
        for line in (f"![{caption}]({figure.path})", "", caption, "")
    ]
