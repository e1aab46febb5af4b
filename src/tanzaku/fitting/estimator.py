"""A scikit-learn classifier of texts: one run of a study, kept as the bytes of its bundle."""

from __future__ import annotations

import io
import random
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from tanzaku.data.dataset import Dataset, Documents
from tanzaku.data.split import pick
from tanzaku.encoders.source import EMBEDDED_NAME
from tanzaku.fitting.inputs import (
    InvalidInputError,
    InvalidOptionError,
    held_out,
    labels_of,
    names_of,
    texts_of,
    value_errors,
    weights_of,
)
from tanzaku.study.recipes import RecipeName
from tanzaku.words import Language

if TYPE_CHECKING:
    from tanzaku.ship.classifier import Classifier
    from tanzaku.study.spec import StudySpec

_NAME = "text-classifier"  # of the study and the data in the bundle
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # what a zip file can date: equal bundles give equal bytes


class TextClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of texts with scikit-learn's interface.

    `fit` makes one run as a study does, in this process, with the random generators of this process left as they were.
    Cloning, `cross_val_score`, `GridSearchCV`, pipelines and `CalibratedClassifierCV` work as with any classifier.
    A pickle holds the bytes of the packed bundle and no object of ours but this one. A bundle that needs its encoder
    needs it on the other machine too, unless `with_encoder` is set.

    Args:
        method: One of `tanzaku.METHODS`.
        encoder: The encoder that the method adapts, as in a study's `[encoder]`; text methods need none.
        recipe: Fills in what the options do not say, as in a study.
        validation_fraction: The share of each class that is not trained on: the epoch is chosen on it, and
            probabilities are calibrated on it. With 0, the epoch is chosen on the training documents, and probabilities
            are those that are typical of the method. Documents with the same text stay together, and a class with only
            one text is only trained on.
        with_encoder: Pack the encoder's weights too, so that a pickle needs nothing else.
        random_state: The run's seed; an instance of `RandomState` or None draws it.
        options: Options of the method and settings of `[training]` and `[encoder]`, as in an arm of a study, such as
            `rank=8` or `epochs=3`. Lists are values of one option, and no axes.

    Attributes:
        classes_: The labels, sorted, (labels,).
        bundle_: The packed bundle as an uncompressed zip file, bytes.
    """

    def __init__(
        self,
        method: str = "lora",
        *,
        encoder: str = EMBEDDED_NAME,
        recipe: RecipeName = "default",
        validation_fraction: float = 0.1,
        with_encoder: bool = False,
        random_state: Any = 42,
        **options: Any,
    ) -> None:
        self.method = method
        self.encoder = encoder
        self.recipe = recipe
        self.validation_fraction = validation_fraction
        self.with_encoder = with_encoder
        self.random_state = random_state
        for name, value in options.items():
            setattr(self, name, value)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name, those of `options` too."""
        return {**super().get_params(deep=deep), **self._options()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters; names that `__init__` does not have are options of the method.

        Raises:
            InvalidOptionError: The method has no option of a name. Values are checked when it is fitted.
        """
        self._check_names(params.get("method", self.method), set(params))
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Learn from texts and their labels.

        Args:
            X: The texts, (documents,).
            y: Their labels, (documents,), of any type that can be sorted.
            sample_weight: How much each document counts, (documents,); None for all alike.

        Raises:
            InvalidInputError: Texts, labels and weights do not fit, there is only one class, or `validation_fraction`
                leaves a class nothing to train on.
            InvalidOptionError: There is no such method, or it has no such option or value.
            TanzakuError: The encoder can't be used, or the method can't weight documents.
        """
        texts, labels = texts_of(X), labels_of(y)
        weights = weights_of(sample_weight, documents=len(texts))
        if len(texts) != len(labels):
            raise InvalidInputError(f"there are {len(texts)} texts and {len(labels)} labels; give each text its label")
        classes, rows = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise InvalidInputError(f"there is only 1 class, {str(classes[0])!r}; a classifier needs two at least")
        names = names_of(classes)
        with value_errors(), tempfile.TemporaryDirectory() as folder, _generators_as_they_were():
            study = self._study(self._seed())
            dataset = self._dataset(Documents(texts, tuple(names[row] for row in rows), weights), seed=study.seeds[0])
            bundle = _zipped(_train(dataset, study, Path(folder), with_encoder=self.with_encoder))
            loaded = _load(bundle)
        self.classes_, self.bundle_, self._loaded = classes, bundle, loaded
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The labels of texts, (documents,)."""
        check_is_fitted(self, "bundle_")
        predicted: np.ndarray = self.classes_[self._scores(X).argmax(axis=1)]
        return predicted

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Calibrated probabilities (documents, labels), columns as in `classes_`."""
        check_is_fitted(self, "bundle_")
        names = names_of(self.classes_)
        rows = [prediction.probabilities or {} for prediction in self._classifier(texts_of(X), all_labels=True)]
        return np.array([[row[name] for name in names] for row in rows]).reshape(len(rows), len(names))

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """Scores (documents, labels), columns as in `classes_`; with two classes (documents,): of the second."""
        check_is_fitted(self, "bundle_")
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def save_bundle(self, folder: str | Path, *, force: bool = False, language: Language = "en") -> None:
        """Write the bundle, for `tanzaku classify` and `Classifier.load`.

        What it says of its accuracy was measured on the documents of `validation_fraction`, which chose the epoch.

        Args:
            folder: New or empty.
            force: Replace a bundle that lies there.
            language: Of the model card.

        Raises:
            BundleError: Something lies in `folder`.
        """
        from tanzaku.ship.building import building

        check_is_fitted(self, "bundle_")
        with building(Path(folder), force=force, language=language) as staging:
            _unzip(self.bundle_, staging)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_loaded"}

    def _options(self) -> dict[str, Any]:
        """What `__init__` does not name: all other attributes, but for those of a fitted estimator."""
        named = set(self._get_param_names())
        return {
            name: value
            for name, value in vars(self).items()
            if name not in named and not name.startswith("_") and not name.endswith("_")
        }

    def _check_names(self, method: object, names: set[str]) -> None:
        """Make sure that there are parameters of some names with this method.

        Nothing is said of a method that there is not: `fit` does that, since scikit-learn's checks set anything.

        Raises:
            InvalidOptionError: There is none of a name.
        """
        from tanzaku.methods import METHODS
        from tanzaku.study.expansion import option_names, unknown_name

        if not isinstance(method, str) or method not in METHODS:
            return
        known = option_names(METHODS[method]).union(self._get_param_names())
        if unknown := sorted(names - known):
            raise InvalidOptionError(f"{method}: {unknown_name('option', unknown[0], sorted(known))}")

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        try:
            return int(check_random_state(self.random_state).randint(2**31))
        except ValueError as error:
            raise InvalidOptionError(
                f"random_state = {self.random_state!r}; give a whole number, a RandomState, or None"
            ) from error

    def _study(self, seed: int) -> StudySpec:
        from tanzaku.methods import TextMethod
        from tanzaku.study.expansion import parse_study
        from tanzaku.study.spec import method_named

        options = {name: [value] if isinstance(value, list) else value for name, value in self._options().items()}
        text_method = issubclass(method_named(self.method, where="method"), TextMethod)
        self._check_names(self.method, set(options))
        content = {
            "name": _NAME,
            "seeds": [seed],
            "recipe": self.recipe,
            "data": {"source": _NAME},
            "arms": [{"method": self.method, **options}],
        } | ({} if text_method else {"encoder": {"name": self.encoder}})
        return parse_study(content, where=type(self).__name__)

    def _dataset(self, documents: Documents, *, seed: int) -> Dataset:
        kept, taken = held_out(documents, share=self.validation_fraction, seed=seed)
        train = pick(documents, kept)
        if train.weights is not None:
            if not (counted := {one for one, weight in zip(train.labels, train.weights, strict=True) if weight > 0}):
                raise InvalidInputError("all texts left for training have the weight 0; give more a weight above 0")
            taken = [row for row in taken if documents.labels[row] in counted]  # the others would spoil the temperature
        val = replace(pick(documents, taken or kept), weights=None)
        return Dataset(name=_NAME, train=train, val=val, test=val, label_names=tuple(sorted(set(documents.labels))))

    def _scores(self, texts: Any) -> np.ndarray:
        """(documents, labels) float32, columns as in `classes_`."""
        classifier = self._classifier
        columns = [classifier.label_names.index(name) for name in names_of(self.classes_)]
        scores: np.ndarray = classifier.scores(texts_of(texts))[:, columns]
        return scores

    @property
    def _classifier(self) -> Classifier:
        if "_loaded" not in self.__dict__:  # it comes from a pickle
            with _generators_as_they_were():
                self._loaded = _load(self.bundle_)
        loaded: Classifier = self._loaded
        return loaded


def _train(dataset: Dataset, study: StudySpec, folder: Path, *, with_encoder: bool) -> Path:
    """The bundle of the study's only run."""
    from tanzaku.ship.packing import pack
    from tanzaku.study.plan import plan_study
    from tanzaku.study.run import run

    plan = plan_study(study, dataset=dataset, out=folder / "runs")
    run(plan.runs[0], dataset=plan.dataset, study=plan.study)
    return pack(plan.runs[0].folder, folder / "bundle", with_encoder=with_encoder).folder


@contextmanager
def _generators_as_they_were() -> Iterator[None]:
    """Put the global generators back that a run seeds."""
    import torch

    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def _load(bundle: bytes) -> Classifier:
    from tanzaku.ship.classifier import Classifier

    with tempfile.TemporaryDirectory() as folder:
        _unzip(bundle, Path(folder))
        return Classifier.load(folder)


def _zipped(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression=zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            archive.writestr(zipfile.ZipInfo(name, date_time=_EARLIEST), path.read_bytes())
    return content.getvalue()


def _unzip(content: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder)
