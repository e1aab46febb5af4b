"""How large a benchmark is: the encoders' shapes and the numbers of documents."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.lengths import TRAIN

BATCH_SIZE = 8  # the thesis's
LABELS = 9  # Livedoor's categories

ShapeName = Literal["base", "mini"]


class Shape(BaseModel):
    """An encoder's shape. Its weights are random: seconds do not depend on their values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: Annotated[int, Field(ge=1, description="Transformer layers.")]
    hidden: Annotated[int, Field(ge=1, description="Width of a token's vector.")]
    heads: Annotated[int, Field(ge=1, description="Attention heads.")]
    intermediate: Annotated[int, Field(ge=1, description="Width inside the feed-forward part.")]
    vocabulary: Annotated[int, Field(ge=6, description="Rows of the embedding.")]


class Scale(BaseModel):
    """The sizes of one benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(description="Stands in the record.")]
    base: Annotated[Shape, Field(description="The shape that rows call base.")]
    mini: Annotated[Shape, Field(description="The shape that rows call mini.")]
    max_tokens: Annotated[int, Field(ge=8, description="Documents are cut at so many tokens.")]
    steps: Annotated[int, Field(ge=1, description="Counted steps of each side in a round, after one to warm up.")]
    memory_steps: Annotated[int, Field(ge=2, description="Steps of Tanzaku whose peak of memory counts: an epoch's.")]
    rounds: Annotated[int, Field(ge=1, description="Times that every measurement is made.")]
    classified: Annotated[int, Field(ge=1, description="Documents classified in a round.")]
    tokenized: Annotated[int | None, Field(description="Texts tokenized in a round; None takes all.")]
    product_rows: Annotated[int, Field(ge=1, description="Rows of the matrix products: tokens of a padded batch.")]
    streamed: Annotated[tuple[int, int], Field(description="Few and many short texts, classified from a stream.")]

    def shape(self, name: ShapeName) -> Shape:
        """The shape of this name."""
        return self.base if name == "base" else self.mini


_BASE = Shape(layers=12, hidden=768, heads=12, intermediate=3072, vocabulary=32_000)
_SMALL = Shape(layers=3, hidden=256, heads=4, intermediate=1024, vocabulary=24_000)
_TINY = Shape(layers=1, hidden=32, heads=2, intermediate=64, vocabulary=100)

_FULL = Scale(
    name="full",
    base=_BASE,
    mini=_SMALL,
    max_tokens=512,
    steps=4,
    memory_steps=-(-sum(TRAIN) // BATCH_SIZE),
    rounds=3,
    classified=64,
    tokenized=None,
    product_rows=4096,
    streamed=(10_000, 1_000_000),
)
_QUICK = _FULL.model_copy(
    update={"name": "quick", "steps": 2, "memory_steps": 20, "rounds": 1, "classified": 8, "streamed": (1_000, 20_000)}
)
_TINY_SCALE = Scale(
    name="tiny",
    base=_TINY,
    mini=_TINY,
    max_tokens=32,
    steps=2,
    memory_steps=3,
    rounds=1,
    classified=4,
    tokenized=20,
    product_rows=64,
    streamed=(50, 200),
)
SCALES = {scale.name: scale for scale in (_FULL, _QUICK, _TINY_SCALE)}


def scale_named(name: str) -> Scale:
    """A scale of `SCALES`."""
    return SCALES[name]
