"""A bundle: a folder that classifies. What is in it, and how it is read.

    bundle.json     labels, method, encoder, the run it comes from and how good that was
    model/          what the method saved; not there where that is merged into `encoder/`
    encoder/        the encoder's configuration and tokenizer; in a whole bundle all weights too: the adapted model's
                    with the head, or the base encoder's where the method can't be merged or these are smaller
    held-out.safetensors  the probability of each validation document's label, and whether that was right; not there
                    where these are not known of the weights as they are
    manifest.json   the SHA-256 of each of these files
    README.md       the model card for people, which they may edit; see `tanzaku.ship.cards`

A bundle that was exported as a graph holds, in place of `model/` and `encoder/`:

    model.onnx      the graph; for OpenVINO model.xml and model.bin
    tokenizer/      the tokenizer's files, if it has any
    certificate.json    how it compares with the bundle that it was made from; see `tanzaku.ship.certificate`

Nothing in a bundle is code or a pickle, and nothing of it is ever run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from tanzaku.errors import BundleError, SpecError, describe_validation_error
from tanzaku.facts import Facts
from tanzaku.runtime.graphs import Engine
from tanzaku.runtime.settings import ReadingSettings, TokenizerSettings
from tanzaku.ship.manifest import check_manifest
from tanzaku.study.encoder_spec import EncoderSpec
from tanzaku.study.summary import CalibrationFacts, ClassScores, DataFacts, SplitScores

if TYPE_CHECKING:
    from tanzaku.methods import EncoderMethod, TextMethod

BUNDLE_VERSION: Literal[4] = 4
BUNDLE_FILE = "bundle.json"
MODEL_FOLDER = "model"
ENCODER_FOLDER = "encoder"


class RunFacts(Facts):
    """The run that the bundle comes from."""

    run_id: str
    study: str
    seed: int
    ended: Annotated[str, Field(description="ISO 8601, UTC.")]
    versions: Annotated[dict[str, str], Field(description="Of the packages that it was trained with.")]
    data: DataFacts
    val: SplitScores
    test: SplitScores
    val_macro_f1_interval: Annotated[tuple[float, float] | None, Field(description="95 %, by the bootstrap.")] = None
    test_macro_f1_interval: Annotated[tuple[float, float] | None, Field(description="The same.")] = None
    test_classes: Annotated[dict[str, ClassScores] | None, Field(description="By label, on the test set.")] = None
    test_is_validation: Annotated[
        bool, Field(description="Whether both sets have the same documents, which chose the model.")
    ] = False
    over_groups: Annotated[
        bool, Field(description="Whether intervals are over groups of documents, which are not independent.")
    ] = False
    training: Annotated[dict[str, Any] | None, Field(description="The run's resolved [training] section.")] = None


class BaseFacts(Facts):
    """The encoder that was adapted."""

    fingerprint: Annotated[str, Field(description="SHA-256 over the checkpoint's files.")]
    model_type: str
    parameters: Annotated[int, Field(description="With the head, before a method is attached.")]
    license: Annotated[str | None, Field(description="That its model card names, as on the Hub.")] = None
    made_from: Annotated[str | None, Field(description="The Hub id of `base_model` in its model card.")] = None


class VectorsFacts(Facts):
    """The encoder whose token vectors and tokenizer a method of texts took over."""

    name: Annotated[str, Field(description="As the study names it, without the folders around it.")]
    license: Annotated[str | None, Field(description="That its model card names, as on the Hub.")] = None
    made_from: Annotated[str | None, Field(description="The Hub id of `base_model` in its model card.")] = None


class CompressionFacts(Facts):
    """How the adapter was made smaller after the run."""

    rank: Annotated[int | None, Field(description="To which every layer was cut, if that was asked for.")]
    energy: Annotated[float | None, Field(description="The share of each layer's squared norm that was to be kept.")]
    ranks: Annotated[tuple[int, int], Field(description="The layers' smallest and largest rank.")]
    ranks_before: Annotated[tuple[int, int], Field(description="The same before.")]
    kept_energy: Annotated[float, Field(description="The share that was kept of all layers' squared norms together.")]
    steps: Annotated[
        int, Field(ge=1, description="How often it was cut; ranks and norms are about all cuts, scores about the last.")
    ] = 1
    val_data: Annotated[str | None, Field(description="Whose validation set was classified, if one was.")] = None
    val: Annotated[SplitScores | None, Field(description="On that validation set.")] = None
    val_before: Annotated[SplitScores | None, Field(description="The same before.")] = None


class QuantizationFacts(Facts):
    """What fewer bits changed on a validation set, classified with the weights as trained and as stored."""

    val_data: Annotated[str, Field(description="Whose validation set was classified.")]
    changed: Annotated[int, Field(description="Validation documents that got another label.")]
    val: Annotated[SplitScores, Field(description="With the weights as they are stored.")]
    val_before: Annotated[SplitScores, Field(description="The same before.")]


class _BundleFacts(Facts):
    """What every bundle says of itself."""

    version: Literal[4] = BUNDLE_VERSION
    kind: Literal["encoder", "text", "graph"]
    tanzaku: Annotated[str, Field(description="The version of Tanzaku that packed it.")]
    label_names: Annotated[tuple[str, ...], Field(min_length=2, description="In the order of the classes' indices.")]
    method: Annotated[dict[str, Any], Field(description="The method's name and options.")]
    run: RunFacts
    calibration: CalibrationFacts

    @field_validator("label_names")
    @classmethod
    def _are_different(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError("two labels have the same name")
        return names

    @field_validator("method")
    @classmethod
    def _is_named(cls, method: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(method.get("name"), str):
            raise ValueError("it has no name of a method")
        return method

    def _build(self) -> EncoderMethod | TextMethod:
        from tanzaku.methods import EncoderMethod, TextMethod
        from tanzaku.study.spec import method_named

        options = dict(self.method)
        name = str(options.pop("name", ""))
        try:
            method = method_named(name, where="method").model_validate(options)
        except (SpecError, ValidationError) as error:
            raise BundleError(
                f"the bundle's method can't be used ({error}); it was packed by Tanzaku {self.tanzaku}: install that"
            ) from error
        wrong = {"encoder": TextMethod, "text": EncoderMethod}.get(self.kind)
        if wrong is not None and isinstance(method, wrong):
            raise BundleError(f"{name} is not a method of bundles of the kind {self.kind}; pack the run again")
        return method


class EncoderBundleFacts(_BundleFacts):
    """The bundle of a method that adapts an encoder: the content of its `bundle.json`."""

    kind: Literal["encoder"] = "encoder"
    encoder: Annotated[EncoderSpec, Field(description="The run's resolved [encoder] section.")]
    base: BaseFacts
    whole: Annotated[
        bool, Field(description="Whether `encoder/` holds an encoder's weights; else the base must be found.")
    ]
    weights: Annotated[
        Literal["float32", "int8", "int4", "encoder"],
        Field(
            description="How `encoder/` stores them; the run's scores were measured in the precision of its training. "
            "encoder: they are the base encoder's own files, and `model/` has what the method saved."
        ),
    ] = "float32"
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="In which the run computed, and the bundle classifies.")
    ]
    quantized: Annotated[
        QuantizationFacts | None, Field(description="None where nothing is in fewer bits, or it was not measured.")
    ] = None
    compressed: Annotated[
        CompressionFacts | None, Field(description="None where the adapter is as the run trained it.")
    ] = None

    @property
    def bits(self) -> Literal[4, 8] | None:
        """Of each weight, where they were lowered after the run; None where they are as trained."""
        return 8 if self.weights == "int8" else 4 if self.weights == "int4" else None

    @property
    def merged(self) -> bool:
        """Whether what was trained is part of the weights in `encoder/`, and not in `model/`."""
        method = self.build_method()
        return self.whole and (method.saves_whole_model or (method.mergeable and self.weights != "encoder"))

    def build_method(self) -> EncoderMethod:
        """The method with its options.

        Raises:
            BundleError: This Tanzaku has no such method or option, or the method adapts no encoder.
        """
        return cast("EncoderMethod", self._build())


class TextBundleFacts(_BundleFacts):
    """The bundle of a method that learns only from the texts: the content of its `bundle.json`."""

    kind: Literal["text"] = "text"
    vectors: Annotated[VectorsFacts | None, Field(description="Where token vectors come from, if it has any.")] = None

    def build_method(self) -> TextMethod:
        """The method with its options.

        Raises:
            BundleError: This Tanzaku has no such method or option, or the method adapts an encoder.
        """
        return cast("TextMethod", self._build())


class GraphBundleFacts(_BundleFacts):
    """A bundle that was exported as a graph, and classifies without PyTorch: the content of its `bundle.json`."""

    kind: Literal["graph"] = "graph"
    engine: Annotated[Engine, Field(description="What computes the graph.")]
    weights: Annotated[
        Literal["float32", "int8"],
        Field(description="How matrices are stored; those in 8 bits are multiplied so, too."),
    ]
    precision: Annotated[
        Literal["float32", "bfloat16"], Field(description="In which matrices that are not in 8 bits are multiplied.")
    ] = "float32"
    tokenizer: TokenizerSettings
    reading: Annotated[
        ReadingSettings | None, Field(description="How documents become rows; None where the graph counts terms.")
    ]
    exported_from: Annotated[str, Field(description="SHA-256 of the manifest of the bundle that was exported.")]
    compressed: Annotated[CompressionFacts | None, Field(description="Of that bundle.")] = None
    bits: Annotated[Literal[4, 8] | None, Field(description="Of that bundle, where its weights were lowered.")] = None
    quantized: Annotated[QuantizationFacts | None, Field(description="Of that bundle.")] = None

    @property
    def dtype(self) -> Literal["float32", "bfloat16", "int8"]:
        """In which most matrices are multiplied, as chosen when it was exported."""
        return "int8" if self.weights == "int8" else self.precision

    def build_method(self) -> EncoderMethod | TextMethod:
        """The method with its options.

        Raises:
            BundleError: This Tanzaku has no such method or option.
        """
        return self._build()


BundleFacts = EncoderBundleFacts | TextBundleFacts | GraphBundleFacts
_BUNDLE_FACTS: TypeAdapter[BundleFacts] = TypeAdapter(Annotated[BundleFacts, Field(discriminator="kind")])


@dataclass(frozen=True)
class Bundle:
    """A bundle on this machine, its files checked."""

    folder: Path
    facts: BundleFacts


def open_bundle(folder: str | Path) -> Bundle:
    """Check a bundle's files against its manifest, and read what it says of itself.

    Raises:
        BundleError: There is no bundle, a file is missing, damaged or not its own, or it is of another version.
    """
    folder = Path(folder)
    check_manifest(folder)
    return Bundle(folder, read_facts(folder))


def read_facts(folder: Path) -> BundleFacts:
    """What a bundle says of itself, without looking at its other files.

    Raises:
        BundleError: It can't be read, or is of another version.
    """
    path = folder / BUNDLE_FILE
    try:
        written = path.read_text(encoding="utf-8")
        content = json.loads(written)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} can't be read ({error}); pack the bundle again") from error
    version = content.get("version") if isinstance(content, dict) else None
    if version != BUNDLE_VERSION:
        raise BundleError(
            f"{path} has version {version!r}; this Tanzaku reads version {BUNDLE_VERSION}; pack the run again with "
            "`tanzaku pack`"
        )
    try:
        # Unlike `json`, this refuses half a surrogate pair, which nothing can print.
        return _BUNDLE_FACTS.validate_json(written)
    except ValidationError as error:
        raise BundleError(
            f"{path} does not describe a bundle of this Tanzaku (it was packed by {content.get('tanzaku')!r}): "
            f"{describe_validation_error(error, tagged=True)}"
        ) from error
