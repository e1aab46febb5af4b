"""A training that another run of the study has done before: its weights and its history, instead of the same again."""

from dataclasses import dataclass, fields
from pathlib import Path

from torch import nn

from tanzaku.methods.interface import EncoderMethod
from tanzaku.study.environment import describe_environment
from tanzaku.study.folders import RunFolders
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.record import MODEL_FOLDER, RECORD_FILE, FinishedEncoderRun, read_record
from tanzaku.training.events import EpochResult, TrainingDone

_ALIKE = ("cpu", "gpu", "threads", "versions")
"""Of the environment."""


@dataclass(frozen=True)
class TrainedBefore:
    """A finished run with the same training as another."""

    folder: Path
    record: FinishedEncoderRun

    def take_over(self, method: EncoderMethod, model: nn.Module) -> TrainingDone:
        """Give the weights to the model that `method` attached; how they were trained is in the record.

        Raises:
            MethodError: The weights can't be read.
        """
        method.take_over(model, self.folder / MODEL_FOLDER)
        names = [field.name for field in fields(EpochResult)]
        return TrainingDone(
            history=tuple(EpochResult(**{name: getattr(one, name) for name in names}) for one in self.record.history),
            curve=self.record.training_curve,
            best_epoch=self.record.best_epoch,
            stopped_early=self.record.stopped_early,
            resumptions=0,
        )


def trained_before(planned: PlannedEncoderRun) -> TrainedBefore | None:
    """The finished run of the same training, where there is one on such a machine and its weights were kept.

    Other processors, versions and numbers of threads or processes round differently, and take another time.

    Raises:
        RecordError: Its record is damaged.
    """
    if planned.trained_like is None:
        return None
    folder = RunFolders(planned.folder.parent).existing(planned.trained_like)
    if folder is None or not (folder / RECORD_FILE).is_file() or not (folder / MODEL_FOLDER).is_dir():
        return None  # not begun, under way, or restored from an archive
    record, here = read_record(folder), describe_environment()
    if not isinstance(record, FinishedEncoderRun):
        return None
    alike = all(getattr(record.environment, name) == getattr(here, name) for name in _ALIKE)
    return TrainedBefore(folder, record) if alike and record.compute.processes == planned.processes else None
