"""`tanzaku pack`: write a finished run, or the recommended run of a study, as a bundle that classifies."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from tanzaku.cli.card import CardLanguage
from tanzaku.cli.choosing import Choosing
from tanzaku.cli.flips import max_flips_option, share_of
from tanzaku.cli.messages import command
from tanzaku.cli.threads import Threads
from tanzaku.display import plain_console
from tanzaku.errors import DataError

if TYPE_CHECKING:
    from tanzaku.data.dataset import Dataset
    from tanzaku.ship.bundle import Bundle, QuantizationFacts
    from tanzaku.study.summary import CalibrationFacts


@dataclass(frozen=True)
class Packing:
    """Options for what is packed."""

    with_encoder: Annotated[
        bool,
        typer.Option(
            "--with-encoder",
            help="Store all weights, so that classifying does not need the encoder. The adapter is merged into them.",
        ),
    ] = False
    no_merge: Annotated[
        bool,
        typer.Option(
            "--no-merge",
            help="With --with-encoder: store the encoder's own files and the adapter separately. That is smaller if "
            "the encoder is stored in 4 bits (as the included one is) or float16.",
        ),
    ] = False
    int8: Annotated[
        bool, typer.Option("--int8", help="Store all weights, including the encoder, in 8 bits: a quarter of the size.")
    ] = False
    int4: Annotated[
        bool,
        typer.Option(
            "--int4", help="Store all weights, including the encoder, in 4 bits (4.5 with scales), with less accuracy."
        ),
    ] = False
    encoder: Annotated[
        str | None,
        typer.Option(help="Where the run's encoder is now, if not under its name in the study.", metavar="NAME"),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="With --int8 or --int4: classify this data's validation set before and after.",
            show_default="the run's data",
        ),
    ] = None
    max_flips: Annotated[float | None, max_flips_option(condition="With --int8 or --int4: ")] = None

    def dataset(self) -> "Dataset | None":
        """The data on which fewer bits are compared with the original weights."""
        from tanzaku.data.loading import load_dataset

        if self.data is not None and not (self.int8 or self.int4):
            raise DataError(f"--data {self.data} only has an effect with --int8 or --int4; give both or neither")
        return load_dataset(self.data) if self.data is not None else None

    def merges(self) -> bool:
        """Whether an adapter is merged into the weights."""
        if self.no_merge and (self.int8 or self.int4 or not self.with_encoder):
            raise DataError("--no-merge only has an effect with --with-encoder, and without --int8 and --int4")
        return not self.no_merge

    def largest_share(self) -> float | None:
        """The share of texts that may get another label."""
        if self.max_flips is not None and not (self.int8 or self.int4):
            raise DataError(
                f"--max-flips {self.max_flips:g} only has an effect with --int8 or --int4; give both or neither"
            )
        return share_of(self.max_flips)


def pack(
    source: Annotated[
        Path,
        typer.Argument(metavar="RUN_OR_STUDY", help="Folder of a run, or of a study, whose recommended run is packed."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the bundle, new or empty.")],
    packing: Packing,
    choosing: Choosing,
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is already in the folder.")] = False,
    language: CardLanguage = "en",
    threads: Threads = None,
) -> None:
    """Pack a run into a bundle: a folder that `tanzaku classify` reads.

    From a study, the recommended arm is packed: the smallest whose validation accuracy (or macro-F1) is within the
    margin of the best. Of its runs, the one that is best on the validation set is chosen. The bundle's path is written
    to standard output, a summary of its contents to standard error.

    Examples:

    ```
    tanzaku pack runs/my-study --out my-bundle
    tanzaku pack runs/my-study/lora-r8-s42-0123456789 --out my-bundle --with-encoder
    tanzaku pack runs/my-study --out my-best-bundle --margin 0
    tanzaku pack runs/my-study --out my-small-bundle --int8
    ```
    """
    del threads  # settled already
    from tanzaku.ship.packing import pack as make

    bundle = make(
        source,
        out,
        with_encoder=packing.with_encoder,
        merge=packing.merges(),
        int8=packing.int8,
        int4=packing.int4,
        encoder=packing.encoder,
        dataset=packing.dataset(),
        max_flips=packing.largest_share(),
        force=force,
        language=language,
        margin=choosing.margin / 100,
        choose_by=choosing.choose_by,
    )
    _describe(bundle, plain_console(stderr=True, soft_wrap=True))
    typer.echo(out)


def _describe(bundle: "Bundle", console: Console) -> None:
    from tanzaku.ship.bundle import EncoderBundleFacts
    from tanzaku.ship.certificate import bundle_bytes, describe_certificate, read_certificate

    facts = bundle.facts
    console.print(
        f"{facts.run.run_id}: validation accuracy {100 * facts.run.val.accuracy:.2f} %, "
        f"test accuracy {100 * facts.run.test.accuracy:.2f} %, {len(facts.label_names)} labels, "
        f"{bundle_bytes(bundle.folder) / 1e6:.2f} MB"
    )
    console.print(_describe_contents(bundle.folder))
    console.print(_describe_calibration(facts.calibration))
    if isinstance(facts, EncoderBundleFacts) and facts.bits:
        console.print(_describe_quantization(facts.quantized, bits=facts.bits))
        for line in describe_certificate(read_certificate(bundle.folder)):
            console.print(line)
    if isinstance(facts, EncoderBundleFacts) and not facts.whole:
        options = "--with-encoder --no-merge" if facts.build_method().mergeable else "--with-encoder"
        console.print(f"Classifying needs the encoder {facts.encoder.name!r} on the machine; {options} packs it too.")
    console.print(f"Next: {command('classify', bundle.folder)} TEXT")


def _describe_contents(folder: Path) -> str:
    """What the megabytes are: a report's size of an arm only counts what was trained."""
    from tanzaku.report.formats import size
    from tanzaku.ship.bundle import ENCODER_FOLDER, MODEL_FOLDER
    from tanzaku.ship.certificate import bundle_bytes

    def bytes_of(*patterns: str) -> int:
        return sum(path.stat().st_size for pattern in patterns for path in folder.glob(pattern) if path.is_file())

    trained, encoder = bytes_of(f"{MODEL_FOLDER}/**/*"), bytes_of(f"{ENCODER_FOLDER}/**/*")
    weights = bytes_of(f"{ENCODER_FOLDER}/*.safetensors", f"{ENCODER_FOLDER}/*.bin")
    parts = {
        "what was trained": trained,
        "the encoder's weights" if trained else "all weights": weights,
        "the tokenizer and the encoder's settings": encoder - weights,
        "facts and checksums": bundle_bytes(folder) - trained - encoder,
    }
    return "In MB: " + ", ".join(f"{size(number)} {what}" for what, number in parts.items() if number) + "."


def _describe_calibration(facts: "CalibrationFacts") -> str:
    if not facts.documents:
        return f"Probabilities are those that are typical of the method (temperature {facts.temperature:.2f})."
    of = "1 validation document" if facts.documents == 1 else f"{facts.documents:,} validation documents"
    if facts.few_documents:
        return (
            f"Probabilities are calibrated on only {of}, so they are mostly those that are typical of the method "
            f"(temperature {facts.temperature:.2f})."
        )
    return f"Probabilities are calibrated on {of} (temperature {facts.temperature:.2f})."


def _describe_quantization(facts: "QuantizationFacts | None", *, bits: int) -> str:
    before = f"The weights are in {bits} bits; the accuracies above were measured before."
    if facts is None:
        return (
            f"{before} How many labels this changed was not measured, because the run's data is not where the "
            "study read it; give its folder with --data."
        )
    return (
        f"{before} {bits} bits changed the label of {facts.changed:,} of {facts.val.documents:,} validation documents: "
        f"accuracy {100 * facts.val_before.accuracy:.2f} % before, {100 * facts.val.accuracy:.2f} % after."
    )
