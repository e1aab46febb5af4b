"""One run of one arm, which may be stopped after some steps."""

from pathlib import Path

from tanzaku.encoders.load import resolve_encoder
from tanzaku.study.expansion import expand
from tanzaku.study.record import RunRecord
from tanzaku.study.run import run
from tanzaku.study.spec import StudySpec
from tanzaku.training.loop import StepDone
from tests.tiny import make_dataset

DATASET = make_dataset(train=24, val=12, test=15)


def run_one(study: StudySpec, folder: Path, *, stop_after: int = 10**6) -> RunRecord:
    """The study's only run, on `DATASET`.

    Args:
        study: One arm, one seed, and an encoder in a local folder.
        folder: The run's.
        stop_after: Steps after which it is interrupted.
    """
    (spec,) = expand(study)
    assert spec.encoder is not None
    steps: list[int] = []

    def listen(event: object) -> None:
        if isinstance(event, StepDone):
            steps.append(event.step)

    return run(
        spec,
        dataset=DATASET,
        encoder=resolve_encoder(spec.encoder.name),
        folder=folder,
        study=study.name,
        listeners=[listen],
        should_stop=lambda: len(steps) + 1 == stop_after,
    )
