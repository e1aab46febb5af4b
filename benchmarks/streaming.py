"""Classifying a stream of short texts with a bundle: its memory must not grow with the stream.

    python -m benchmarks.streaming FOLDER

makes the bundle: in a process of its own, so that training adds nothing to the memory that classifying takes.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import BertConfig, BertForPreTraining

from benchmarks.apart import said_by
from benchmarks.tokenizing import japanese_tokenizer
from tanzaku.data.embedded import prepare_sample
from tanzaku.encoders.quiet import quiet_transformers
from tanzaku.encoders.source import resolve_encoder
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.run import run_encoder
from tanzaku.study.spec import EncoderRunSpec

# Looked up when they are needed: a version without them can make all other measurements.
_CLASSIFIER, _PACKING = "tanzaku.ship.classifier", "tanzaku.ship.packing"
_MAX_TOKENS = 16
_NOUNS = ("空", "海", "山", "川", "森", "町", "駅", "橋", "犬", "猫")  # one for each digit of a text's number


def why_not() -> str | None:
    """Why a stream can't be classified with this version; None where it can."""
    try:
        if importlib.util.find_spec(_CLASSIFIER) is not None:
            return None
    except ModuleNotFoundError:
        pass
    return f"this version of Tanzaku has no {_CLASSIFIER}"


def stream_texts(count: int) -> None:
    """Classify `count` different short texts that exist only one after the other.

    The encoder is tiny: what is measured is what stays behind of each text, and that does not depend on the encoder.
    """
    with TemporaryDirectory() as folder:
        said_by("benchmarks.streaming", folder)
        classifier = importlib.import_module(_CLASSIFIER).Classifier.load(Path(folder) / "bundle")
        classified = sum(1 for _ in classifier.stream(_short_texts(count)))
    if classified != count:
        raise RuntimeError(f"{count} texts went in, and {classified} predictions came out")


def _short_texts(count: int) -> Iterator[str]:
    """Texts that differ from each other, of words that do not: new words without end would fill the tokenizer's memory
    of words, which real texts do not."""
    for number in range(count):
        yield "と".join(_NOUNS[int(digit)] for digit in f"{number:06}") + "を見た。"


def _trained_run(folder: Path) -> Path:
    """The folder of a finished run: the head of a random encoder of one layer, trained on the sample corpus."""
    tokenizer = japanese_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=_MAX_TOKENS,
    )
    with quiet_transformers():
        BertForPreTraining(config).save_pretrained(folder / "encoder")
        tokenizer.save_pretrained(folder / "encoder")
    spec = EncoderRunSpec.model_validate(
        {
            "data": {"source": "sample"},
            "encoder": {"name": str(folder / "encoder"), "max_tokens": _MAX_TOKENS},
            "method": {"name": "head"},
            "training": {"learning_rate": 1e-3, "epochs": 1},
            "seed": 0,
        }
    )
    planned = PlannedEncoderRun(spec, folder / "run", resolve_encoder(str(folder / "encoder")))
    run_encoder(planned, dataset=prepare_sample().dataset, study="benchmark")
    return planned.folder


def _make_bundle(folder: Path) -> None:
    importlib.import_module(_PACKING).pack(_trained_run(folder), folder / "bundle")


if __name__ == "__main__":
    _make_bundle(Path(sys.argv[1]))
