"""What is kept of a trimming, as one JSON file next to the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tanzaku.facts import Facts

RECORD_FILE = "trimming.json"


class TextFacts(Facts):
    """One text file that was counted."""

    name: str
    sha256: Annotated[str, Field(description="Of the file as it lies on disk.")]


class Size(Facts):
    """An encoder's size."""

    pieces: Annotated[int, Field(description="Rows of the word embedding.")]
    parameters: int
    bytes: Annotated[int, Field(description="Of all files.")]


class HeldOut(Facts):
    """How the lines that were not counted are tokenized before and after."""

    lines: int
    characters: int
    tokens_before: Annotated[int, Field(description="Without those that stand for a line's beginning and end.")]
    tokens: Annotated[int, Field(description="The same with the kept pieces.")]
    coverage: Annotated[float, Field(description="The share of `tokens_before` whose pieces are kept.")]
    unknown_before: Annotated[float, Field(description="The share of unknown tokens.")]
    unknown: Annotated[float, Field(description="The same with the kept pieces.")]


class Parity(Facts):
    """The trimmed encoder compared with the original on held-out lines that have only kept pieces."""

    lines: Annotated[int, Field(description="Their token sequences are the same.")]
    states_lines: Annotated[int, Field(description="Of these, the lines whose hidden states were compared.")]
    largest_difference: Annotated[float, Field(description="Between two hidden states, in float32.")]


class TrimmingRecord(Facts):
    """One trimming."""

    version: Literal[1] = 1
    made: Annotated[str, Field(description="ISO 8601, UTC.")]
    encoder: Annotated[str, Field(description="The original's name; a local folder's last part.")]
    fingerprint: Annotated[str, Field(description="SHA-256 over the original's files.")]
    texts: tuple[TextFacts, ...]
    lines: Annotated[int, Field(description="That were counted.")]
    min_count: int
    max_pieces: int | None
    characters: Literal["japanese", "seen"]
    before: Size
    after: Size
    held_out: Annotated[HeldOut | None, Field(description="None where no line was held out.")]
    parity: Annotated[Parity | None, Field(description="None where no held-out line has only kept pieces.")]
    versions: dict[str, str]
