"""Tanzaku finds, proves and ships the smallest Japanese text classifier that does the job.

The names below are the public interface. Each is imported when it is first used, so that `import tanzaku` imports
nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from tanzaku.data.dataset import Dataset, Documents
    from tanzaku.data.importing import import_documents, import_splits
    from tanzaku.data.loading import load_dataset
    from tanzaku.data.options import ReadOptions
    from tanzaku.errors import (
        BundleError,
        CheckpointError,
        DataError,
        EncoderError,
        MethodError,
        ProcessError,
        RecordError,
        SpecError,
        TanzakuError,
        TanzakuWarning,
        TrackingError,
    )
    from tanzaku.exports.exporting import Exported, export
    from tanzaku.fitting.estimator import TextClassifier
    from tanzaku.fitting.options import FitOptions
    from tanzaku.fitting.run import FitReport, FitResult, fit
    from tanzaku.methods import METHODS, register_method
    from tanzaku.report.write import Report, write_report
    from tanzaku.ship.bundle import Bundle
    from tanzaku.ship.classifier import Classifier, Prediction
    from tanzaku.ship.hub import Upload, push
    from tanzaku.ship.packing import pack
    from tanzaku.study.expansion import parse_study, read_study
    from tanzaku.study.process import StudyInterrupted
    from tanzaku.study.record import RunRecord
    from tanzaku.study.running import run_study
    from tanzaku.study.runs import read_records
    from tanzaku.study.spec import StudySpec

__all__ = [
    "METHODS",
    "Bundle",
    "BundleError",
    "CheckpointError",
    "Classifier",
    "DataError",
    "Dataset",
    "Documents",
    "EncoderError",
    "Exported",
    "FitOptions",
    "FitReport",
    "FitResult",
    "MethodError",
    "Prediction",
    "ProcessError",
    "ReadOptions",
    "RecordError",
    "Report",
    "RunRecord",
    "SpecError",
    "StudyInterrupted",
    "StudySpec",
    "TanzakuError",
    "TanzakuWarning",
    "TextClassifier",
    "TrackingError",
    "Upload",
    "__version__",
    "export",
    "fit",
    "import_documents",
    "import_splits",
    "load_dataset",
    "pack",
    "parse_study",
    "push",
    "read_records",
    "read_study",
    "register_method",
    "run_study",
    "write_report",
]

_MODULES = {
    "data.dataset": ("Dataset", "Documents"),
    "data.importing": ("import_documents", "import_splits"),
    "data.loading": ("load_dataset",),
    "data.options": ("ReadOptions",),
    "errors": (
        "BundleError",
        "CheckpointError",
        "DataError",
        "EncoderError",
        "MethodError",
        "ProcessError",
        "RecordError",
        "SpecError",
        "TanzakuError",
        "TanzakuWarning",
        "TrackingError",
    ),
    "fitting.estimator": ("TextClassifier",),
    "exports.exporting": ("Exported", "export"),
    "fitting.options": ("FitOptions",),
    "fitting.run": ("FitReport", "FitResult", "fit"),
    "methods": ("METHODS", "register_method"),
    "report.write": ("Report", "write_report"),
    "ship.bundle": ("Bundle",),
    "ship.classifier": ("Classifier", "Prediction"),
    "ship.hub": ("Upload", "push"),
    "ship.packing": ("pack",),
    "study.expansion": ("parse_study", "read_study"),
    "study.process": ("StudyInterrupted",),
    "study.record": ("RunRecord",),
    "study.running": ("run_study",),
    "study.runs": ("read_records",),
    "study.spec": ("StudySpec",),
}
_MODULE_OF = {name: f"tanzaku.{module}" for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> Any:
        """Import a public name from its module (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'tanzaku' has no attribute {name!r}")
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
