"""Runs, records and bundles of one kind, for tests that know which kind theirs are."""

from collections.abc import Iterable

from tanzaku.ship.bundle import Bundle, EncoderBundleFacts
from tanzaku.study.expansion import expand
from tanzaku.study.record import FinishedEncoderRun, FinishedRun, RunRecord
from tanzaku.study.spec import EncoderRunSpec, RunSpec, StudySpec


def of_encoders(runs: Iterable[RunSpec]) -> list[EncoderRunSpec]:
    """Those of methods that adapt an encoder."""
    return [run for run in runs if isinstance(run, EncoderRunSpec)]


def encoder_run(study: StudySpec) -> EncoderRunSpec:
    """The only run of a study."""
    (run,) = of_encoders(expand(study))
    return run


def finished(record: RunRecord) -> FinishedRun:
    """A record that must be of a finished run."""
    assert isinstance(record, FinishedRun), record
    return record


def adapted(record: RunRecord) -> FinishedEncoderRun:
    """A record that must be of a finished run of a method that adapts an encoder."""
    assert isinstance(record, FinishedEncoderRun), record
    return record


def encoder_facts(bundle: Bundle) -> EncoderBundleFacts:
    """What the bundle of a method that adapts an encoder says of itself."""
    assert isinstance(bundle.facts, EncoderBundleFacts)
    return bundle.facts
