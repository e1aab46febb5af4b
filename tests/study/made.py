"""What a study, a search and a pretraining make of the tiny dataset, for processes that are stopped or killed."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.encoders.load import resolve_encoder
from tanzaku.pretraining.options import ContinuedOptions
from tanzaku.study.engine import RunBusy, RunEnds, make_runs
from tanzaku.study.engines.options import RayOptions
from tanzaku.study.plan import plan_study
from tanzaku.study.pretrained import pretrained_encoder
from tanzaku.study.spec import StudySpec
from tanzaku.study.tune.search import search
from tests.tiny import make_dataset


def make_study(
    study: str, out: Path, train: int, retry_failed: bool = False, jobs: int = 1, ray: RayOptions | None = None
) -> None:
    """Make the runs of a study, given as JSON, of so many training documents, and print a line for each."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    spec, dataset = StudySpec.model_validate_json(study), make_dataset(train=train)
    plan = plan_study(spec, dataset=dataset, out=out)
    for event in make_runs(plan.runs, dataset=dataset, study=spec.name, retry_failed=retry_failed, jobs=jobs, ray=ray):
        if isinstance(event, RunEnds):
            print("found" if event.found else "made", event.run.run_id, event.record.status, flush=True)
        elif isinstance(event, RunBusy):
            print("busy", event.run.run_id, flush=True)


def blind_dataset(**sizes: int) -> Dataset:
    """The tiny dataset without its test set, as a search gets it."""
    return replace(make_dataset(**sizes), test=Documents((), ()))


def make_search(study: str, out: Path, jobs: int = 1) -> None:
    """Search the settings of a study, given as JSON."""
    for _ in search(StudySpec.model_validate_json(study), dataset=blind_dataset(), out=out, jobs=jobs):
        pass


def make_pretrained(encoder: Path, options: ContinuedOptions, texts: Sequence[str], out: Path) -> None:
    """Pretrain an encoder as a study does, and print the result's fingerprint."""
    print(pretrained_encoder(resolve_encoder(str(encoder)), options, texts=texts, out=out).fingerprint)
