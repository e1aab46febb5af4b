"""Static embeddings with a linear head, folded into one table: a row of scores for each token of a vocabulary."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field

from tanzaku.encoders.files import CONFIG_FILE, SAFETENSORS_FILE
from tanzaku.encoders.source import EMBEDDED_NAME, EncoderSource, absolute_name, files_of, resolve_encoder
from tanzaku.errors import EncoderError, MethodError
from tanzaku.methods.interface import TextMethod
from tanzaku.methods.labels import OptionLabel, Title
from tanzaku.methods.tfidf_svm import to_8_bits

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TokenTable:
    """What was learned: `whole` (vocabulary, labels) int8 times `scales` (labels,) are the tokens' scores, and
    `offsets` (labels,) is added to their mean over a document."""

    tokenizer: PreTrainedTokenizerBase
    files: Path
    """The folder of the tokenizer's files."""
    whole: np.ndarray
    scales: np.ndarray
    offsets: np.ndarray


class StaticEmbeddings(TextMethod):
    """The mean of a document's token vectors, and a logistic regression on it.

    The vectors are what an encoder makes of each token without a context, reduced by a principal component analysis
    and weighted by a/(a + p) with the token's mean share p of a training document's tokens (smooth inverse frequency).
    Both steps and the head are linear, so that a token needs no vector to classify, only a score for each label: the
    encoder itself is not needed again, and the table has 8 bits a score.
    """

    name: ClassVar[str] = "static"
    title: ClassVar[Title] = Title("Static embeddings", ja="静的埋め込み", short="Static")
    table_order: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    takes_weights: ClassVar[bool] = True
    paper: ClassVar[str] = "Arora, Liang and Ma 2017, ICLR"

    vectors_from: Annotated[
        str,
        Field(
            description="The encoder that gives the vectors and the tokenizer: an embedded one, a folder or a Hub id."
        ),
    ] = EMBEDDED_NAME
    dimensions: Annotated[
        int,
        Field(ge=1, description="Principal components that are kept."),
        OptionLabel("{value} dimensions", ja="{value} 次元"),
    ] = 256
    smoothing: Annotated[float, Field(gt=0, description="a in the weight a/(a + p) of a token.")] = 1e-3
    penalty: Annotated[float, Field(gt=0, description="C of the logistic regression.")] = 10.0

    def dictionaries(self) -> tuple[str, ...]:
        """Those of the tokenizer, which is the encoder's.

        Raises:
            EncoderError: There is no such encoder.
        """
        from tanzaku.encoders.tokenizer import dictionaries_of

        return dictionaries_of(resolve_encoder(self.vectors_from))

    def with_absolute_paths(self) -> Self:
        """The method with the absolute path of a local encoder."""
        return self.model_copy(update={"vectors_from": absolute_name(self.vectors_from)})

    def fingerprints(self) -> dict[str, str]:
        """That of the encoder.

        Raises:
            MethodError: There is no such encoder.
        """
        return {"vectors_from": self._encoder().fingerprint}

    def _encoder(self) -> EncoderSource:
        try:
            return resolve_encoder(self.vectors_from)
        except EncoderError as error:
            raise MethodError(f"vectors_from: {error}") from error

    def fit(
        self,
        texts: Sequence[str],
        classes: Sequence[int],
        *,
        labels: int,
        seed: int,
        weights: Sequence[float] | None = None,
    ) -> TokenTable:
        """Take the vectors from the encoder, learn the head, and fold all of it into the table."""
        from sklearn.linear_model import LogisticRegression

        from tanzaku.encoders.token_vectors import token_vectors
        from tanzaku.encoders.tokenizer import load_tokenizer

        if set(classes) != set(range(labels)):
            missing = sorted(set(range(labels)) - set(classes))
            raise MethodError(f"no training document has class {missing[0]}; give it at least one")
        source = self._encoder()
        try:
            tokenizer, vectors = load_tokenizer(source), token_vectors(source)
        except EncoderError as error:
            raise MethodError(f"vectors_from: {error}") from error
        shares = _shares(tokenizer, texts, len(vectors))  # (documents, vocabulary)
        frequency = np.asarray(shares.mean(axis=0)).ravel()
        reduced = _reduced(vectors, self.dimensions) * (self.smoothing / (self.smoothing + frequency))[:, None]
        documents = shares @ reduced  # (documents, dimensions)
        reduced /= (norm := float(np.sqrt((documents**2).sum(axis=1).mean())) or 1.0)
        head = LogisticRegression(C=self.penalty, max_iter=1000)
        head.fit(documents / norm, list(classes), sample_weight=weights)
        directions, offsets = head.coef_, head.intercept_
        if labels == 2:  # one plane: half of its distance for either label
            directions, offsets = (np.concatenate([-one, one]) / 2 for one in (directions, offsets))
        whole, scales = to_8_bits(directions @ reduced.T)  # (labels, vocabulary)
        return TokenTable(tokenizer, source.folder, np.ascontiguousarray(whole.T), scales, offsets.astype(np.float32))

    def scores(self, fitted: TokenTable, texts: Sequence[str]) -> np.ndarray:
        """Logits, (texts, labels)."""
        table = fitted.whole.astype(np.float32) * fitted.scales
        logits: np.ndarray = _shares(fitted.tokenizer, texts, len(table)) @ table + fitted.offsets
        return logits.astype(np.float32)

    def parameters(self, fitted: TokenTable) -> int:
        """Scores, scales and offsets."""
        return int(fitted.whole.size + fitted.scales.size + fitted.offsets.size)

    def save(self, fitted: TokenTable, folder: Path) -> None:
        """Write the table as safetensors, and the tokenizer's files and configuration as they are."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        source = EncoderSource(self.vectors_from, fitted.files, fingerprint="")
        for name in (CONFIG_FILE, *files_of(source).tokenizer):
            shutil.copyfile(fitted.files / name, folder / name)
        save_file(
            {"whole": fitted.whole, "scales": fitted.scales, "offsets": fitted.offsets}, folder / SAFETENSORS_FILE
        )

    def load(self, folder: Path) -> TokenTable:
        """Read the table and its tokenizer."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        from tanzaku.encoders.tokenizer import load_tokenizer

        try:
            arrays = load_file(folder / SAFETENSORS_FILE)
            tokenizer = load_tokenizer(EncoderSource(self.vectors_from, folder, fingerprint=""))
            return TokenTable(tokenizer, folder, arrays["whole"], arrays["scales"], arrays["offsets"])
        except (OSError, KeyError, SafetensorError, EncoderError) as error:
            raise MethodError(f"{folder} holds no saved table of tokens ({error})") from error


def _shares(tokenizer: Any, texts: Sequence[str], vocabulary: int) -> csr_array:
    """The share of each token in each text, (texts, vocabulary) float32; special tokens do not count."""
    from scipy.sparse import csr_array

    from tanzaku.encoders.tokens import tokenize

    tokens = tokenize(tokenizer, texts, max_tokens=None)
    special = np.array(sorted(set(tokenizer.all_special_ids)))
    counted = [row[~np.isin(row, special)] for row in tokens]
    lengths = np.array([len(row) for row in counted])
    values = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
    columns = np.concatenate([*counted, np.zeros(0, dtype=np.int32)])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return csr_array((values, columns, offsets), shape=(len(texts), vocabulary))


def _reduced(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """The tokens' first principal components, (vocabulary, at most `dimensions`) float64; zeros stay zeros."""
    known = vectors.any(axis=1)
    centred = vectors.astype(np.float64)
    centred[known] -= centred[known].mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    reduced: np.ndarray = centred @ directions[:, ::-1][:, :dimensions]
    return reduced
