"""TF-IDF features with a linear support vector machine: the baseline that every report shows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from tanzaku.encoders.segmenter import ipadic_words
from tanzaku.errors import MethodError
from tanzaku.methods.interface import Contribution, TextMethod
from tanzaku.methods.labels import OptionLabel, Title

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix
    from sklearn.pipeline import Pipeline
    from sklearn.svm import LinearSVC

_TERMS = "terms.json"
_WEIGHTS = "weights.safetensors"
_NEVER = -1e6  # the distance of a class that is never predicted


def _is_32(bits: int) -> bool:
    return bits == 32


class TfidfSvm(TextMethod):
    """scikit-learn's `TfidfVectorizer` and `LinearSVC` (one against the rest) on the whole text."""

    name: ClassVar[str] = "tfidf-svm"
    title: ClassVar[Title] = Title("TF-IDF + SVM", short="TF-IDF")
    is_baseline: ClassVar[bool] = True
    table_order: ClassVar[int] = 0
    deterministic: ClassVar[bool] = True
    takes_weights: ClassVar[bool] = True
    paper: ClassVar[str] = "Joachims 1998, ECML"
    # Measured on four Japanese sets, with words, characters and few terms: 0.15 to 0.71 (benchmarks/calibration.py).
    typical_temperature: ClassVar[float] = 0.4

    analyzer: Annotated[
        Literal["mecab", "character"], Field(description="What a term is made of: MeCab (IPADIC) words or characters.")
    ] = "mecab"
    longest_ngram: Annotated[int, Field(ge=1, le=5, description="Terms have one to this many words or characters.")] = 2
    penalty: Annotated[float, Field(gt=0, description="C of the support vector machine.")] = 1.0
    max_terms: Annotated[
        int | None, Field(ge=1, description="Keep the terms that stand most often in the training texts; None for all.")
    ] = None
    weight_bits: Annotated[
        Literal[8, 32],
        Field(
            description="Bits of each weight of the planes; with 8, the inverse document frequencies have 16.",
            exclude_if=_is_32,  # records of runs that were made without this option keep their identities
        ),
        OptionLabel("{value} bits", ja="{value} ビット"),
    ] = 32

    def dictionaries(self) -> tuple[str, ...]:
        """MeCab's, where terms are words."""
        return ("ipadic",) if self.analyzer == "mecab" else ()

    def fit(
        self,
        texts: Sequence[str],
        classes: Sequence[int],
        *,
        labels: int,
        seed: int,
        weights: Sequence[float] | None = None,
    ) -> Pipeline:
        """Learn terms, their inverse document frequencies and the separating planes.

        The planes heed `weights`; which terms are kept, and their frequencies, follow from the texts. A class whose
        documents all have the weight 0 is never predicted.
        """
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC

        if set(classes) != set(range(labels)):
            missing = sorted(set(range(labels)) - set(classes))
            raise MethodError(f"no training document has class {missing[0]}; give it at least one")
        # The solver visits the documents in a random order, and stops at a tolerance. The seed does not choose that
        # order: the method is deterministic.
        pipeline = make_pipeline(self._vectorizer(), LinearSVC(C=self.penalty, random_state=0))
        _fit_planes(pipeline[-1], pipeline[0].fit_transform(list(texts)), classes, labels=labels, weights=weights)
        if self.weight_bits == 8:
            _lower(pipeline)
        return pipeline

    def scores(self, fitted: Pipeline, texts: Sequence[str]) -> np.ndarray:
        """Distances to the planes, (texts, labels); with two classes, minus and plus the one distance."""
        import numpy as np

        distances: np.ndarray = fitted.decision_function(list(texts))
        if distances.ndim == 1:
            distances = np.stack([-distances, distances], axis=1)  # (texts, 2)
        return distances.astype(np.float32)

    def contributions(self, fitted: Pipeline, text: str) -> list[Contribution]:
        """What each word or character adds to the distances; an n-gram's share is divided evenly among its members."""
        import numpy as np

        vectorizer, svm = fitted[0], fitted[-1]
        weights = svm.coef_ if len(svm.coef_) > 1 else np.concatenate([-svm.coef_, svm.coef_])  # (labels, terms)
        row = vectorizer.transform([text])
        each = dict(zip(row.indices.tolist(), (weights[:, row.indices] * row.data).T, strict=True))  # (labels,) a term
        members, places = _members(vectorizer, text)
        grams = [
            (first, size, column)
            for size in range(1, self.longest_ngram + 1)
            for first in range(len(members) - size + 1)
            if (column := vectorizer.vocabulary_.get(_term(members[first : first + size], self.analyzer))) is not None
        ]
        times = Counter(column for _, _, column in grams)
        shares = np.zeros((len(members), len(weights)))
        for first, size, column in grams:
            shares[first : first + size] += each[column] / (times[column] * size)
        return [Contribution(start, end, share) for (start, end), share in zip(places, shares, strict=True)]

    def parameters(self, fitted: Pipeline) -> int:
        """Inverse document frequencies, weights and offsets, and a scale for each row of weights in 8 bits."""
        vectorizer, svm = fitted[0], fitted[-1]
        scales = len(svm.coef_) if self.weight_bits == 8 else 0
        return int(vectorizer.idf_.size + svm.coef_.size + svm.intercept_.size + scales)

    def save(self, fitted: Pipeline, folder: Path) -> None:
        """Write the terms as JSON, in the order of the columns, and the numbers as float32 safetensors."""
        import numpy as np
        from safetensors.numpy import save_file

        vectorizer, svm = fitted[0], fitted[-1]
        folder.mkdir(parents=True, exist_ok=True)
        terms = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
        content = {"options": self.model_dump(mode="json"), "terms": terms}
        (folder / _TERMS).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        numbers = {"idf": vectorizer.idf_, "weights": svm.coef_, "offsets": svm.intercept_}
        arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in numbers.items()}
        if self.weight_bits == 8:
            whole, scales = to_8_bits(svm.coef_)
            arrays |= {"idf": arrays["idf"].astype(np.float16), "weights": whole, "scales": scales}
        save_file(arrays, folder / _WEIGHTS)

    def load(self, folder: Path) -> Pipeline:
        """Rebuild the pipeline from its terms and numbers."""
        import numpy as np
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import LinearSVC

        try:
            terms = json.loads((folder / _TERMS).read_text(encoding="utf-8"))["terms"]
            numbers = load_file(folder / _WEIGHTS)
            vectorizer = self._vectorizer(vocabulary={term: column for column, term in enumerate(terms)})
            vectorizer.idf_ = numbers["idf"].astype(np.float64)
            svm = LinearSVC(C=self.penalty)
            scales = numbers["scales"].astype(np.float64)[:, None] if self.weight_bits == 8 else 1.0
            svm.coef_ = numbers["weights"].astype(np.float64) * scales
            svm.intercept_ = numbers["offsets"].astype(np.float64)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise MethodError(f"{folder} holds no saved terms and weights ({error})") from error
        svm.classes_ = np.arange(max(2, len(svm.coef_)))
        return make_pipeline(vectorizer, svm)

    def _vectorizer(self, vocabulary: dict[str, int] | None = None) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = self.analyzer == "mecab"
        return TfidfVectorizer(
            analyzer="word" if words else "char",
            tokenizer=ipadic_words() if words else None,
            token_pattern=None if words else r"(?u)\b\w\w+\b",
            ngram_range=(1, self.longest_ngram),
            sublinear_tf=True,
            lowercase=False,
            max_features=self.max_terms,
            vocabulary=vocabulary,
        )


def _fit_planes(
    svm: LinearSVC, vectors: csr_matrix, classes: Sequence[int], *, labels: int, weights: Sequence[float] | None
) -> None:
    """Fit the planes to vectors (documents, terms)."""
    import numpy as np

    truth = np.asarray(classes)
    counts = np.ones(len(truth), dtype=bool) if weights is None else np.asarray(weights) > 0
    present = np.unique(truth[counts])
    if len(present) == labels:
        svm.fit(vectors, truth, sample_weight=weights)
        return
    # The solver knows nothing of the classes whose documents do not count.
    planes, offsets = np.zeros((labels, vectors.shape[1])), np.full(labels, _NEVER)
    offsets[present] = 1.0
    if len(present) > 1:
        svm.fit(vectors[counts], truth[counts], sample_weight=np.asarray(weights)[counts])
        signs = np.array([-1, 1]) if len(present) == 2 else np.ones(len(present))
        planes[present], offsets[present] = signs[:, None] * svm.coef_, signs * svm.intercept_
    if labels == 2:  # one plane, whose positive side is the second class
        planes, offsets = planes[1:], np.array([1.0 if present[0] == 1 else -1.0])
    svm.coef_, svm.intercept_, svm.classes_ = planes, offsets, np.arange(labels)


def _members(vectorizer: Any, text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """What terms are made of, and where each is in the text: the words, or the characters as scikit-learn reads them,
    for which white space of several characters is one."""
    if vectorizer.analyzer == "word":
        words = list(vectorizer.tokenizer(text))
        return words, _places(words, text)
    found = list(re.finditer(r"\s\s+|.", text, re.DOTALL))
    return [one[0] if len(one[0]) == 1 else " " for one in found], [one.span() for one in found]


def _term(members: Sequence[str], analyzer: str) -> str:
    return (" " if analyzer == "mecab" else "").join(members)


def _places(members: Sequence[str], text: str) -> list[tuple[int, int]]:
    """Where each word is in the text: start and end."""
    places, end = [], 0
    for member in members:
        start = text.find(member, end)
        start = end if start < 0 else start
        end = min(start + len(member), len(text))
        places.append((start, end))
    return places


def to_8_bits(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (rows, columns) as whole numbers int8 from -127 to 127, and the scale of each row (rows,) float32.

    Rows that came from 8 bits give the same 8 bits again.
    """
    import numpy as np

    scales = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
    scales[scales == 0] = 1.0  # nothing to scale
    whole = np.rint(weights / scales[:, None].astype(np.float64)).clip(-127, 127)
    return np.ascontiguousarray(whole, dtype=np.int8), scales


def _lower(pipeline: Pipeline) -> None:
    """Round the numbers to what is going to be saved, so that the study measures what is shipped."""
    import numpy as np

    vectorizer, svm = pipeline[0], pipeline[-1]
    whole, scales = to_8_bits(svm.coef_)
    svm.coef_ = whole.astype(np.float64) * scales.astype(np.float64)[:, None]
    vectorizer.idf_ = vectorizer.idf_.astype(np.float16).astype(np.float64)
