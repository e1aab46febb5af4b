"""One run of one arm, which may be stopped after some steps."""

from pathlib import Path

from tanzaku.encoders.load import resolve_encoder
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.record import FinishedEncoderRun
from tanzaku.study.run import run_encoder
from tanzaku.study.spec import StudySpec
from tanzaku.training.events import StepDone
from tests.kinds import encoder_run
from tests.tiny import make_dataset

DATASET = make_dataset(train=24, val=12, test=15)


def run_one(study: StudySpec, folder: Path, *, stop_after: int = 10**6) -> FinishedEncoderRun:
    """The study's only run, on `DATASET`.

    Args:
        study: One arm, one seed, and an encoder in a local folder.
        folder: The run's.
        stop_after: Steps after which it is interrupted.
    """
    spec = encoder_run(study)
    steps: list[int] = []

    def listen(event: object) -> None:
        if isinstance(event, StepDone):
            steps.append(event.step)

    return run_encoder(
        PlannedEncoderRun(spec, folder, resolve_encoder(spec.encoder.name)),
        dataset=DATASET,
        study=study.name,
        listeners=[listen],
        should_stop=lambda: len(steps) + 1 == stop_after,
    )
