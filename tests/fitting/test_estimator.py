"""`TextClassifier` with scikit-learn's tools: its checks, its searches, pickles, weights."""

import math
import pickle
import pickletools
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted, validate_data

import tanzaku
from benchmarks.inquiries import inquiries
from tanzaku.data.dataset import Documents
from tanzaku.errors import DataError, MethodError, SpecError
from tanzaku.fitting.estimator import TextClassifier
from tanzaku.fitting.inputs import InvalidInputError, InvalidOptionError, held_out
from tests.tiny import make_documents

DOCUMENTS = make_documents(60, seed=1)
TEXTS, LABELS = list(DOCUMENTS.texts), list(DOCUMENTS.labels)
NEW = make_documents(30, seed=2)
QUICK: dict[str, Any] = {"method": "tfidf-svm", "analyzer": "character"}


def _numpy_state() -> list[int]:
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)
    return [int(number) for number in state[1]]


class OfRows(TextClassifier):
    """Takes rows of numbers, as scikit-learn's checks give them, and writes each as a text: a character a number."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = True, False, False
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "OfRows":  # noqa: N803
        rows = validate_data(self, X, dtype=np.float64)
        return super().fit(_written(rows), y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        return super().predict(self._read(X))

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        probabilities: np.ndarray = super().predict_proba(self._read(X))
        return probabilities

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        return super().decision_function(self._read(X))

    def _read(self, X: Any) -> list[str]:  # noqa: N803
        check_is_fitted(self)
        return _written(validate_data(self, X, dtype=np.float64, reset=False))


def _written(rows: np.ndarray) -> list[str]:
    levels = np.clip(np.round(2 * rows), -16, 15).astype(int) + 16
    return ["".join(chr(0x4E00 + 32 * column + level) for column, level in enumerate(row)) for row in levels]


# Checks of scikit-learn that do not apply, and why.
SKIPPED = {
    "check_no_attributes_set_in_init": "options of the method are parameters that __init__ takes as **options",
    "check_sample_weight_equivalence_on_dense_data": "terms and their frequencies follow from the texts, not from "
    "their weights, and the held-out documents are drawn from the rows",
}
# Checks that need what is not installed or set.
NOT_RUN = {"check_array_api_input"}


def test_scikit_learns_checks_pass_on_rows_that_are_written_as_texts() -> None:
    results = check_estimator(OfRows(**QUICK), expected_failed_checks=SKIPPED, on_fail=None, on_skip=None)
    by_status: dict[str, set[str]] = {}
    for result in results:
        by_status.setdefault(result["status"], set()).add(result["check_name"])
    assert {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"} == {}
    assert by_status["xfail"] == set(SKIPPED)  # none of them passes by now
    assert by_status.get("skipped", set()) <= NOT_RUN
    assert len(by_status["passed"]) > 40


def test_the_documentation_lists_the_checks_that_do_not_apply() -> None:
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(check_\w+)` \| (.+) \|$", text, flags=re.MULTILINE))
    assert {check: reason.replace("`", "") for check, reason in rows.items()} == SKIPPED


def test_searches_cross_validation_calibration_and_pipelines_take_it() -> None:
    search = GridSearchCV(TextClassifier(**QUICK), {"longest_ngram": [1, 2], "penalty": [1.0]}, cv=2).fit(TEXTS, LABELS)
    assert search.best_params_["penalty"] == 1.0
    assert search.predict(NEW.texts).tolist() == search.best_estimator_.predict(NEW.texts).tolist()
    pipeline = make_pipeline(FunctionTransformer(pd.Series), TextClassifier(**QUICK))
    assert cross_val_score(pipeline, TEXTS, LABELS, cv=2).mean() > 0.9
    calibrated = CalibratedClassifierCV(TextClassifier(**QUICK), cv=2).fit(np.array(TEXTS), np.array(LABELS))
    assert np.allclose(calibrated.predict_proba(NEW.texts).sum(axis=1), 1)


def test_an_encoder_method_trains_by_its_options_and_leaves_the_generators(tiny_encoder: Path) -> None:
    options: dict[str, Any] = {
        "encoder": str(tiny_encoder),
        "max_tokens": 24,
        "epochs": 2,
        "learning_rate": 5e-3,
        "precision": "float32",
    }
    estimator = TextClassifier("lora", rank=2, random_state=3, **options)
    states = random.getstate(), _numpy_state(), torch.get_rng_state()
    estimator.fit(np.array(TEXTS), pd.Series(LABELS))
    assert (random.getstate(), _numpy_state()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])
    probabilities = estimator.predict_proba(NEW.texts)
    assert estimator.classes_.tolist() == sorted(set(LABELS))
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert estimator.classes_[probabilities.argmax(axis=1)].tolist() == estimator.predict(list(NEW.texts)).tolist()
    again = clone(estimator)
    assert again.get_params() == estimator.get_params() | {"rank": 2}
    assert np.array_equal(again.fit(TEXTS, LABELS).decision_function(NEW.texts), estimator.decision_function(NEW.texts))
    heavy = clone(estimator).fit(TEXTS, LABELS, sample_weight=np.where(np.array(LABELS) == "海", 50.0, 1.0))
    of_sea = estimator.classes_.tolist().index("海")
    assert heavy.predict_proba(NEW.texts)[:, of_sea].mean() > probabilities[:, of_sea].mean() + 0.1


def test_weights_count_as_repeated_documents() -> None:
    """With the same terms and frequencies, that is: here every text has each of its characters as often."""
    texts, labels = ["甲乙", "甲丙", "乙甲", "丙甲"], ["一", "一", "二", "二"]
    options: dict[str, Any] = {**QUICK, "longest_ngram": 2, "validation_fraction": 0.0}
    plain = TextClassifier(**options).fit(texts, labels)
    assert plain._classifier.facts.calibration.documents == 0  # all are trained on
    weighted = TextClassifier(**options).fit(texts, labels, sample_weight=[1, 1, 30, 30])
    assert plain.decision_function(["甲"])[0] < weighted.decision_function(["甲"])[0]
    alike = TextClassifier(**options).fit(texts, labels, sample_weight=[1, 1, 1, 1])
    assert np.array_equal(plain.decision_function(texts), alike.decision_function(texts))


def test_weights_that_are_all_zero_in_training_are_named() -> None:
    _, taken = held_out(Documents(tuple(TEXTS), tuple(LABELS)), share=0.4, seed=0)
    weights = np.zeros(60)
    weights[taken[0]] = 1.0
    with pytest.raises(InvalidInputError, match="all texts left for training have the weight 0"):
        TextClassifier(**QUICK, validation_fraction=0.4, random_state=0).fit(TEXTS, LABELS, sample_weight=weights)


def test_a_label_without_weight_does_not_spoil_the_probabilities_of_the_others() -> None:
    weights = np.array([float(label != sorted(set(LABELS))[0]) for label in LABELS])
    estimator = TextClassifier(**QUICK, random_state=0).fit(TEXTS, LABELS, sample_weight=weights)
    probabilities = estimator.predict_proba(TEXTS)
    assert probabilities[:, 0].max() < 1e-6
    assert probabilities[weights > 0].max(axis=1).mean() > 0.9


def test_a_pickle_holds_the_bundles_bytes_and_none_of_our_objects_but_itself(tmp_path: Path) -> None:
    estimator = TextClassifier(**QUICK).fit(TEXTS, [WORD_OF[label] for label in LABELS])
    content = pickle.dumps(estimator)
    named = {value for opcode, value, _ in pickletools.genops(content) if opcode.name in ("SHORT_BINUNICODE",)}
    assert {name for name in named if str(name).startswith("tanzaku.")} == {"tanzaku.fitting.estimator"}
    opened = pickle.loads(content)  # noqa: S301 - written above
    assert opened.predict(NEW.texts).tolist() == estimator.predict(NEW.texts).tolist()
    assert opened.classes_.tolist() == [1, 2, 10]  # as scikit-learn sorts them, not as strings
    opened.save_bundle(tmp_path / "bundle")
    labels = [prediction.label for prediction in tanzaku.Classifier.load(tmp_path / "bundle")(NEW.texts)]
    assert labels == [str(label) for label in estimator.predict(NEW.texts)]


def test_probabilities_of_repeated_texts_are_not_overconfident() -> None:
    """As bagging repeats them: a copy of a text that is trained on must not calibrate the probabilities."""
    texts, labels = inquiries(240, mislabelled=0.25)
    new, truth = inquiries(600, seed=9, mislabelled=0.25)
    excess = []
    for seed in range(2):
        rows = np.random.default_rng(seed).integers(0, len(texts), 720)
        estimator = TextClassifier(**QUICK, validation_fraction=0.3, random_state=seed)
        estimator.fit([texts[row] for row in rows], [labels[row] for row in rows])
        confidence = estimator.predict_proba(new).max(axis=1).mean()
        excess.append(confidence - np.mean(estimator.predict(new) == np.array(truth)))
    assert np.mean(excess) < 0.06  # 0.09 with copies on both sides


def test_a_class_whose_texts_another_class_has_too_is_trained_on() -> None:
    texts = ["甲の話", "甲の話", "乙の話", "乙の話", *(f"{number}番の丙の話" for number in range(6))]
    labels = ["a", "b", "a", "b", *"aaaccc"]
    for seed in range(5):
        estimator = TextClassifier(**QUICK, validation_fraction=0.4, random_state=seed).fit(texts, labels)
        assert estimator.predict_proba(texts).shape == (10, 3)


WORD_OF = {"空": 10, "海": 2, "山": 1}


@pytest.mark.parametrize(
    ("options", "texts", "labels", "message"),
    [
        ({}, "海と空", ["a"], "write \\[text\\]"),
        ({}, [["海"], ["空"]], ["a", "b"], "text 1 is of the type list"),
        ({}, TEXTS, LABELS[:-1], "60 texts and 59 labels"),
        ({}, TEXTS, ["海"] * 60, "only 1 class, '海'"),
        ({}, TEXTS, [*LABELS[:-1], None], "some labels are missing .*, such as label 60"),
        ({}, TEXTS, [*LABELS[:-1], math.nan], "some labels are missing .*, such as label 60"),
        ({}, TEXTS, pd.Series([None, *LABELS[1:]]), "some labels are missing .*, such as label 1;"),
        ({}, TEXTS, pd.Series([*LABELS[:-1], pd.NA], dtype="string"), "some labels are missing .*, such as label 60"),
        ({}, TEXTS, [math.inf, *range(59)], "some labels are missing .* infinite, such as label 1;"),
        ({}, TEXTS, [*LABELS[:-1], "\ud800"], r"the label '\\ud800' has half of a surrogate pair"),
        ({}, [*TEXTS[:-1], "\ud800"], LABELS, "surrogate"),
        ({}, pd.DataFrame({"text": TEXTS}), LABELS, r"the shape \(60, 1\)"),
        ({"validation_fraction": 1}, TEXTS, LABELS, "validation_fraction = 1; give a share from 0.001 to 0.999, or 0"),
        ({"validation_fraction": 0.0005}, TEXTS, LABELS, "validation_fraction = 0.0005; give a share from 0.001"),
        ({"validation_fraction": "0.1"}, TEXTS, LABELS, "validation_fraction = '0.1'; give a share from 0.001"),
        (
            {"validation_fraction": 0.6},
            [*TEXTS, "月一", "月二"],
            [*LABELS, "月", "月"],
            "validation_fraction = 0.6 leaves nothing to train on of the class '月', which has 2 different texts; give "
            "0.5 or less, or more texts$",
        ),
    ],
)
def test_input_that_can_not_be_used_is_named(options: dict[str, Any], texts: Any, labels: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        TextClassifier(**QUICK, **options).fit(texts, labels)
    assert isinstance(caught.value, DataError)
    assert isinstance(caught.value, ValueError)


def test_unknown_methods_and_options_are_named_when_it_fits() -> None:
    with pytest.raises(InvalidOptionError, match="there is no method 'svm'") as caught:
        TextClassifier("svm").fit(TEXTS, LABELS)
    assert isinstance(caught.value, SpecError)
    assert isinstance(caught.value, ValueError)
    with pytest.raises(InvalidOptionError, match="unknown option 'penality'; did you mean 'penalty'"):
        TextClassifier("tfidf-svm", penality=1).fit(TEXTS, LABELS)
    with pytest.raises(InvalidOptionError, match="penalty = -1"):
        TextClassifier("tfidf-svm", penalty=-1).fit(TEXTS, LABELS)
    with pytest.raises(InvalidOptionError, match=r"seeds\.0 = -1"):
        TextClassifier("tfidf-svm", random_state=-1).fit(TEXTS, LABELS)
    with pytest.raises(InvalidOptionError, match="random_state = 'x'; give a whole number"):
        TextClassifier("tfidf-svm", random_state="x").fit(TEXTS, LABELS)
    with pytest.raises(InvalidOptionError, match="nope"):
        TextClassifier("lora", targets="nope").fit(TEXTS, LABELS)
    with pytest.raises(NotFittedError):
        TextClassifier(**QUICK).predict(TEXTS)


def test_what_failed_to_be_fitted_again_stays_as_it_was() -> None:
    fitted = TextClassifier(**QUICK).fit(TEXTS, LABELS)
    expected = fitted.predict(NEW.texts)
    with pytest.raises(InvalidOptionError, match="penalty"):
        fitted.set_params(penalty="x").fit(TEXTS, ["x", "y"] * 30)
    assert fitted.predict(NEW.texts).tolist() == expected.tolist()


@pytest.mark.gpu
def test_the_generators_of_gpus_are_left_as_they_were(tiny_encoder: Path) -> None:
    before = torch.cuda.get_rng_state_all()
    TextClassifier("lora", rank=2, encoder=str(tiny_encoder), max_tokens=24, epochs=1).fit(TEXTS, LABELS)
    assert all(map(torch.equal, before, torch.cuda.get_rng_state_all()))


def test_only_parameters_that_there_are_can_be_set() -> None:
    estimator = TextClassifier(**QUICK)
    for name in ("nonsense", "penality", "rank", "epochs", "steps__penalty"):
        with pytest.raises(ValueError, match=f"^tfidf-svm: unknown option '{name}'"):
            estimator.set_params(**{name: 3})
    assert estimator.get_params() == TextClassifier(**QUICK).get_params()
    assert estimator.set_params(penalty=2.0, validation_fraction=0.2).get_params()["penalty"] == 2.0
    # Options of the method that is set with them, in any order.
    options = {"rank": 4, "epochs": 2, "max_tokens": 32, "method": "lora"}
    assert estimator.set_params(**options).get_params().items() >= options.items()


def test_a_method_without_weights_refuses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tanzaku.METHODS["tfidf-svm"], "takes_weights", False)
    with pytest.raises(MethodError, match="tfidf-svm: the method can't weight documents"):
        TextClassifier(**QUICK).fit(TEXTS, LABELS, sample_weight=[1.0] * 60)
