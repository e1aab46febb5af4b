"""Pfeiffer's adapters: one in each layer."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tanzaku.methods.bottleneck import BottleneckAdapters
from tanzaku.methods.labels import Title


class Pfeiffer(BottleneckAdapters):
    """An adapter after the feed-forward network alone, the place that Pfeiffer et al. found best.

    The paper's own adapter reads the output of the layer's normalisation and adds a second one; here it is the
    equation of Houlsby's, before the normalisation.
    """

    name: ClassVar[str] = "pfeiffer"
    title: ClassVar[Title] = Title("Pfeiffer adapters", ja="Pfeiffer アダプター", short="Pfeiffer")
    paper: ClassVar[str] = "Pfeiffer et al. 2020, arXiv 2005.00247"
    parts = ("feed-forward output",)

    width: Annotated[int, Field(ge=1, description="Of the bottleneck B h.")] = 48
    activation: Annotated[
        Literal["relu", "gelu", "tanh", "silu"], Field(description="The function f of the adapter h + A f(B h).")
    ] = "relu"
    norms: Annotated[bool, Field(description="Whether the encoder's layer normalisations are trained too.")] = False
