"""A run packed in one of its forms: what it weighs, and what it makes of the documents."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tanzaku.data.dataset import Dataset
from tanzaku.files import folder_bytes
from tanzaku.fitting.budgets import Costs, CostsFile
from tanzaku.fitting.candidates import Form
from tanzaku.fitting.dictionaries import dictionary_bytes
from tanzaku.fitting.race import Race, classes_of
from tanzaku.ship.bundle import ENCODER_FOLDER
from tanzaku.ship.certificate import bundle_bytes
from tanzaku.ship.held_out import HeldOut, replace_held_out
from tanzaku.ship.packing import pack
from tanzaku.study.planned import PlannedRun
from tanzaku.study.predictions import PREDICTIONS_FILE, StoredPredictions, read_predictions, write_predictions
from tanzaku.words import Language

_PREDICTIONS: Mapping[Form, str] = {"int8": "int8-predictions.csv", "int4": "int4-predictions.csv"}


def pack_form(
    planned: PlannedRun,
    form: Form,
    out: Path,
    *,
    compare: bool,
    language: Language = "en",
    held_out: HeldOut | None = None,
) -> None:
    """Pack a run in one of its forms; `compare` and `language` as for `pack`, and `held_out` for `replace_held_out`."""
    shutil.rmtree(out, ignore_errors=True)
    pack(
        planned.folder,
        out,
        with_encoder=form in ("whole", "stored"),
        merge=form != "stored",
        int8=form == "int8",
        int4=form == "int4",
        compare=compare,
        language=language,
    )
    if held_out is not None:
        replace_held_out(out, held_out)


def costs_key(planned: PlannedRun, form: Form) -> str:
    """The name of a bundle's costs in the file of costs."""
    return f"{planned.run_id}/{form}"


def measure_form(costs: CostsFile, planned: PlannedRun, form: Form, bundle: Path, texts: Sequence[str]) -> Costs:
    """What a run's bundle costs. If the encoder is there anyway, so is its tokenizer, and its copy does not count."""
    own = bundle_bytes(bundle) - (folder_bytes(bundle / ENCODER_FOLDER) if form == "adapter" else 0)
    needed = dictionary_bytes(planned.spec.method, form, getattr(planned, "encoder", None))
    return costs.measure(costs_key(planned, form), bundle, texts, own_bytes=own, dictionary_bytes=needed)


def weigh(race: Race, planned: PlannedRun, form: Form, dataset: Dataset) -> Costs:
    """What the bundle of a fold's run costs, measured unless that is known."""
    if (known := race.costs.get(costs_key(planned, form))) is not None:
        return known
    before = time.monotonic()
    bundle = race.scratch / f"{planned.run_id}-{form}"
    pack_form(planned, form, bundle, compare=False)
    costs = measure_form(race.costs, planned, form, bundle, dataset.test.texts)
    predict_in_fewer_bits(planned, form, bundle, dataset)
    shutil.rmtree(bundle)
    race.clock.learn_weighing(planned, time.monotonic() - before)
    return costs


def predictions(race: Race, planned: PlannedRun, form: Form, dataset: Dataset) -> StoredPredictions:
    """What a form makes of the test documents of a fold, computed unless that is stored."""
    if _must_classify(planned, form):
        bundle = race.scratch / f"{planned.run_id}-{form}"
        pack_form(planned, form, bundle, compare=False)
        predict_in_fewer_bits(planned, form, bundle, dataset)
        shutil.rmtree(bundle)
    return predictions_of(planned, form)


def predictions_of(planned: PlannedRun, form: Form) -> StoredPredictions:
    """What a form made of the test documents of a run."""
    return read_predictions(planned.folder, name=_PREDICTIONS.get(form, PREDICTIONS_FILE))


def predict_in_fewer_bits(planned: PlannedRun, form: Form, bundle: Path, dataset: Dataset) -> None:
    """Classify the test documents with a bundle in 8 or 4 bits, unless that was done before; the other forms compute
    what the run computed. See `predictions_of`."""
    if not _must_classify(planned, form):
        return
    from tanzaku.measure.calibration import rounded_down, softmax
    from tanzaku.ship.classifier import Classifier

    classifier = Classifier.load(bundle)
    scores = classifier.scores(dataset.test.texts)  # (documents, labels)
    probabilities = softmax(scores, temperature=classifier.facts.calibration.temperature).max(axis=1)
    write_predictions(
        planned.folder,
        classes=classes_of(dataset).tolist(),
        predicted=scores.argmax(axis=1).tolist(),
        probabilities=rounded_down(probabilities).tolist(),
        name=_PREDICTIONS[form],
    )


def _must_classify(planned: PlannedRun, form: Form) -> bool:
    return form in _PREDICTIONS and not (planned.folder / _PREDICTIONS[form]).exists()
