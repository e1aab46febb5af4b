"""The figures as flat rows in the records' units: of arms, runs, comparisons and ranks, as the CSV files have them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tanzaku.analysis import thesis
from tanzaku.analysis.arms import Arm, Estimate, Section
from tanzaku.analysis.evidence import Evidence
from tanzaku.analysis.rank_curves import RankCurve, RankRow
from tanzaku.analysis.statistics import Difference
from tanzaku.study.record import Costs, FailedRun, FinishedEncoderRun, FinishedRun, RunRecord

_COSTS = tuple(Costs.model_fields)


def arm_rows(sections: Sequence[Section], evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """One row an arm; accuracies are shares (0 to 1), the thesis's percentages included."""
    return [
        _arm_row(arm, section=section, evidence=found, number=number)
        for number, (section, found) in enumerate(zip(sections, evidence, strict=True), start=1)
        for arm in section.arms
    ]


def comparison_rows(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """One row an arm and reference; differences are of shares."""
    return [
        {
            "section": number,
            "arm": one.arm.name,
            "reference": one.reference.name,
            "outcome": one.outcome,
            **_difference("test_accuracy", one.accuracy, corrected=one.accuracy_p),
            **_difference("test_macro_f1", one.macro_f1, corrected=one.macro_f1_p),
            "test": one.accuracy.test,
            "seeds_covered": one.seeds_covered,
        }
        for number, found in enumerate(evidence, start=1)
        for one in found.comparisons
    ]


def run_rows(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """One row a record, failed and repeated ones too; a baseline's record stands in each section it belongs to."""
    return [
        _run_row(record, arm=arm, section=section, number=number)
        for number, section in enumerate(sections, start=1)
        for arm in section.arms
        for record in arm.records
    ]


def rank_rows(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """One row an arm that was measured at several ranks and rank; its seconds are those of one run for all of them."""
    return [
        _rank_row(curve, row, number=number)
        for number, found in enumerate(evidence, start=1)
        for curve in found.curves
        for row in curve.rows
    ]


def _arm_row(arm: Arm, *, section: Section, evidence: Evidence, number: int) -> dict[str, Any]:
    interval = evidence.interval(arm)
    place = section.arms.index(arm)
    return {
        **_where(section, number=number),
        "arm": arm.name,
        **_settings(arm),
        "scale": arm.scale,
        "runs_finished": len(arm.finished),
        "runs_failed": len(arm.failed),
        **_spread("test_accuracy", arm.accuracy),
        "test_accuracy_interval_low": interval.low if interval else None,
        "test_accuracy_interval_high": interval.high if interval else None,
        "test_accuracy_interval_kind": interval.kind if interval else None,
        **_spread("test_macro_f1", arm.macro_f1),
        **_spread("val_accuracy", arm.val_accuracy),
        **{f"{name}_mean": _mean(arm.cost(name)) for name in _COSTS},
        "epochs_run_mean": _mean(arm.epochs_run),
        "best_epoch_mean": _mean(arm.best_epoch),
        "best": evidence.best == arm,
        "recommended": bool(evidence.recommendation and evidence.recommendation.arm == arm),
        "recommended_with_encoder": bool(evidence.among_encoders and evidence.among_encoders.arm == arm),
        "on_size_front": evidence.size_front[place],
        "on_time_front": evidence.time_front[place],
        **_thesis(arm, section=section),
    }


def _rank_row(curve: RankCurve, row: RankRow, *, number: int) -> dict[str, Any]:
    separate, difference = row.separate, row.difference
    return {
        "section": number,
        "arm": curve.arm.name,
        "rank": row.rank,
        "runs": len(row.measured),
        **_spread("test_accuracy", row.accuracy),
        "test_accuracy_interval_low": row.interval.low if row.interval else None,
        "test_accuracy_interval_high": row.interval.high if row.interval else None,
        "test_accuracy_interval_kind": row.interval.kind if row.interval else None,
        "test_macro_f1_mean": _mean(row.macro_f1),
        "val_accuracy_mean": _mean(row.val_accuracy),
        "saved_bytes_mean": _mean(row.saved_bytes),
        "train_seconds_mean": curve.train_seconds,
        "measuring_seconds_mean": curve.measuring_seconds,
        "separate_arm": separate.name if separate else None,
        "separate_test_accuracy_mean": _mean(separate.accuracy) if separate else None,
        "separate_train_seconds_mean": _mean(separate.cost("train_seconds")) if separate else None,
        "outcome": row.outcome,
        **(_difference("test_accuracy", difference, corrected=row.p_value) if difference else {}),
        "test": difference.test if difference else None,
    }


def _difference(name: str, value: Difference, *, corrected: float | None) -> dict[str, float | None]:
    return {
        f"{name}_difference": value.mean,
        f"{name}_difference_low": value.interval.low,
        f"{name}_difference_high": value.interval.high,
        f"{name}_p": value.p_value,
        f"{name}_p_holm": corrected,
    }


def _run_row(record: RunRecord, *, arm: Arm, section: Section, number: int) -> dict[str, Any]:
    return {
        **_where(section, number=number),
        "run_id": record.run_id,
        "study": record.study,
        "status": record.status,
        "counted": record in arm.finished,
        "error": record.error if isinstance(record, FailedRun) else None,
        "arm": arm.name,
        **_settings(arm),
        "seed": None if arm.deterministic else record.spec["seed"],
        "scale": arm.scale,
        "started": record.started,
        "ended": record.ended,
        "resumptions": record.resumptions,
        **(_measured(record) if isinstance(record, FinishedRun) else {}),
        **record.environment.model_dump(exclude={"versions"}),
        "versions": json.dumps(record.environment.versions, sort_keys=True),
    }


def _measured(record: FinishedRun) -> dict[str, Any]:
    trained = record if isinstance(record, FinishedEncoderRun) else None
    return {
        "test_documents": record.test.documents,
        "test_correct": record.test.correct,
        "test_accuracy": record.test.accuracy,
        "test_accuracy_interval_low": record.test.accuracy_interval[0],
        "test_accuracy_interval_high": record.test.accuracy_interval[1],
        "test_macro_f1": record.test.macro_f1,
        "val_accuracy": record.val.accuracy,
        **{name: getattr(record.costs, name) for name in _COSTS},
        "epochs_run": len(record.history) or None,
        "best_epoch": trained.best_epoch if trained else None,
        "stopped_early": trained.stopped_early if trained else None,
    }


def _where(section: Section, *, number: int) -> dict[str, Any]:
    return {
        "section": number,
        "data": section.data.name,
        "data_fingerprint": section.data.fingerprint,
        "encoder": section.encoder_name,
        "encoder_fingerprint": section.encoder.fingerprint if section.encoder else None,
    }


def _settings(arm: Arm) -> dict[str, Any]:
    return {
        key: json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple | dict) else value
        for key, value in sorted(arm.settings.items())
    }


def _thesis(arm: Arm, *, section: Section) -> dict[str, Any]:
    row = thesis.published_for(arm) if thesis.is_thesis_data(section.data) else None
    return {
        "thesis_table": row.table if row else None,
        "thesis_test_accuracy": row.accuracy_percent / 100 if row else None,
        "thesis_megabytes": thesis.published_megabytes(row) if row else None,
        "thesis_train_seconds_with_evaluation": row.train_seconds if row else None,
    }


def _spread(name: str, value: Estimate | None) -> dict[str, float | None]:
    return {
        f"{name}_mean": value.mean if value else None,
        f"{name}_lowest": value.lowest if value else None,
        f"{name}_highest": value.highest if value else None,
        f"{name}_standard_deviation": value.standard_deviation if value else None,
    }


def _mean(value: Estimate | None) -> float | None:
    return value.mean if value else None
