"""How an exported bundle makes tokens of texts: what its `bundle.json` says, besides the files next to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tanzaku.encoders.reading import LongText

TOKENIZER_FOLDER = "tokenizer"
VOCABULARY_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"

Dictionary = Literal["ipadic", "unidic_lite", "unidic"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MecabSettings(_Settings):
    """Words by MeCab, cut into the pieces of `vocab.txt`: transformers' `BertJapaneseTokenizer`."""

    kind: Literal["mecab"] = "mecab"
    dictionary: Annotated[Dictionary, Field(description="The package with MeCab's dictionary.")]
    normalize: Annotated[bool, Field(description="Whether texts are put into Unicode's form NFKC.")]
    lowercase: bool
    pieces: Literal["wordpiece", "character"]
    longest_word: Annotated[int, Field(description="A longer word is unknown as a whole; only for WordPiece.")]
    unknown: Annotated[str, Field(description="Takes the place of pieces that the vocabulary does not have.")]
    first: Annotated[str, Field(description="Stands before every text, such as [CLS].")]
    last: Annotated[str, Field(description="Stands after every text, such as [SEP].")]
    special: Annotated[dict[str, int], Field(description="The ids of tokens that stand for themselves in a text.")]


class JsonSettings(_Settings):
    """What `tokenizer.json` says; Unigram models are read by us, all others by the package tokenizers."""

    kind: Literal["tokenizers"] = "tokenizers"


class TermSettings(_Settings):
    """The words or characters of which the terms of `tfidf-svm` consist; the graph counts the terms."""

    kind: Literal["terms"] = "terms"
    analyzer: Literal["mecab", "character"]
    longest_ngram: Annotated[int, Field(ge=1, le=5, description="As `tfidf-svm` has it.")]


TokenizerSettings = Annotated[MecabSettings | JsonSettings | TermSettings, Field(discriminator="kind")]


class ReadingSettings(_Settings):
    """How many tokens of a document are read, and in which rows; see `tanzaku.encoders.reading`."""

    max_tokens: Annotated[int | None, Field(ge=3, description="Of a row; None for whole documents.")]
    long_text: LongText
    max_windows: int | None
    pad_id: int
