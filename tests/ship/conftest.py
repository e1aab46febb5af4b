"""One finished study of every kind of method, and their bundles."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tanzaku.data.dataset import Dataset
from tanzaku.encoders.load import resolve_encoder
from tanzaku.ship.packing import pack
from tanzaku.study.expansion import expand
from tanzaku.study.planned import PlannedEncoderRun, PlannedTextRun
from tanzaku.study.run import LOGITS_FILE, run
from tanzaku.study.spec import EncoderRunSpec, StudySpec
from tests.tiny import make_dataset, make_encoder

METHODS = ("full", "head", "lora", "houlsby", "tfidf-svm")


@dataclass(frozen=True)
class Study:
    """A study's folder, what it was made of, and a bundle of each method."""

    folder: Path
    runs: dict[str, Path]
    bundles: dict[str, Path]
    encoder: Path
    dataset: Dataset

    def logits(self, method: str) -> np.ndarray:
        """What the study's own evaluation wrote for the test set."""
        logits: np.ndarray = np.load(self.runs[method] / LOGITS_FILE)
        return logits


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The pooler is made anew, so the head is more than the classifier."""
    folder = tmp_path_factory.mktemp("study")
    encoder = make_encoder(folder / "encoder", dropout=0.1, pooler=False)
    dataset = make_dataset()
    spec = StudySpec.model_validate(
        {
            "name": "tiny",
            "data": {"source": "made by the test"},
            "encoder": {"name": str(encoder), "max_tokens": 16},
            "training": {"epochs": 1, "learning_rate": 5e-3, "precision": "float32"},
            "arms": [{"method": name} for name in METHODS],
        }
    )
    runs, bundles = {}, {}
    for run_spec in expand(spec):
        name = run_spec.method_name
        runs[name] = folder / "runs" / f"{name}-s42"
        planned = (
            PlannedEncoderRun(run_spec, runs[name], resolve_encoder(str(encoder)))
            if isinstance(run_spec, EncoderRunSpec)
            else PlannedTextRun(run_spec, runs[name])
        )
        run(planned, dataset=dataset, study="tiny")
        bundles[name] = folder / "bundles" / name
        pack(runs[name], bundles[name])
    return Study(folder / "runs", runs, bundles, encoder, dataset)
