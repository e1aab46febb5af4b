"""Houlsby's adapters: two in each layer."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tanzaku.methods.bottleneck import BottleneckAdapters
from tanzaku.methods.labels import Title


class Houlsby(BottleneckAdapters):
    """An adapter after attention's output projection and one after the feed-forward network (figure 2 of the paper)."""

    name: ClassVar[str] = "houlsby"
    title: ClassVar[Title] = Title("Houlsby adapters", ja="Houlsby アダプター", short="Houlsby")
    paper: ClassVar[str] = "Houlsby et al. 2019, arXiv 1902.00751"
    parts = ("attention output", "feed-forward output")

    width: Annotated[int, Field(ge=1, description="Of the bottleneck B h.")] = 64
    activation: Annotated[
        Literal["relu", "gelu", "tanh", "silu"], Field(description="The function f of the adapter h + A f(B h).")
    ] = "gelu"
    norms: Annotated[
        bool, Field(description="Whether the encoder's layer normalisations are trained too, as the paper does.")
    ] = True
