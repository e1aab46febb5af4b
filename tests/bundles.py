"""Bundles made without a study: a tiny adapted encoder with random changes, so that all that is trained matters."""

import shutil
from pathlib import Path
from typing import Any

import torch

from tanzaku import __version__
from tanzaku.encoders.load import load_classifier, resolve_encoder
from tanzaku.encoders.source import files_of
from tanzaku.methods import METHODS, EncoderMethod, TextMethod
from tanzaku.ship.building import write_facts
from tanzaku.ship.bundle import (
    ENCODER_FOLDER,
    MODEL_FOLDER,
    BaseFacts,
    EncoderBundleFacts,
    RunFacts,
    TextBundleFacts,
)
from tanzaku.study.encoder_spec import EncoderSpec
from tanzaku.study.summary import CalibrationFacts, DataFacts, SplitScores
from tanzaku.training.batches import LabelledTokens
from tests.tiny import make_dataset

DATASET = make_dataset(train=24, val=12, test=12)


def make_bundle(folder: Path, encoder: Path, method: str, options: dict[str, Any], **reading: Any) -> Path:
    """The bundle of a method with these options on an encoder's folder; `reading` is of the [encoder] section.

    An option "TINY" stands for the encoder's folder.
    """
    options = {name: str(encoder) if value == "TINY" else value for name, value in options.items()}
    built = METHODS[method].model_validate(options)
    common: dict[str, Any] = {
        "tanzaku": __version__,
        "label_names": DATASET.label_names,
        "method": {"name": method, **built.model_dump(mode="json")},
        "run": _run_facts(),
        "calibration": CalibrationFacts(temperature=1.5, documents=12, evidence=0.5),
    }
    folder.mkdir(parents=True)
    if isinstance(built, TextMethod):
        classes = [DATASET.label_names.index(label) for label in DATASET.train.labels]
        fitted = built.fit(DATASET.train.texts, classes, labels=len(DATASET.label_names), seed=0)
        built.save(fitted, folder / MODEL_FOLDER)
        write_facts(folder, TextBundleFacts(**common))
        return folder
    spec = EncoderSpec(name=str(encoder), **{"max_tokens": 16, **reading})
    base = _adapt(folder, encoder, built, spec)
    write_facts(
        folder,
        EncoderBundleFacts(**common, encoder=spec, base=base, whole=built.saves_whole_model, precision="float32"),
    )
    return folder


def _adapt(folder: Path, encoder: Path, method: EncoderMethod, spec: EncoderSpec) -> BaseFacts:
    source = resolve_encoder(str(encoder))
    (folder / ENCODER_FOLDER).mkdir()
    for name in ("config.json", *files_of(source).tokenizer):
        shutil.copyfile(encoder / name, folder / ENCODER_FOLDER / name)
    loaded = load_classifier(
        source, label_names=DATASET.label_names, seed=0, pooling=spec.pooling, long_text=spec.long_text
    )
    base = BaseFacts(
        fingerprint=source.fingerprint,
        model_type=loaded.model.config.model_type,
        parameters=loaded.model.num_parameters(),
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = method.attach(loaded.model, head=loaded.head)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
    method.learn_documents(model, [_train_batch(encoder, spec)], None)
    method.save(model, folder / (ENCODER_FOLDER if method.saves_whole_model else MODEL_FOLDER))
    (folder / MODEL_FOLDER / "README.md").unlink(missing_ok=True)  # PEFT's
    return base


def _train_batch(encoder: Path, spec: EncoderSpec) -> Any:
    from tanzaku.encoders.load import load_tokenizer
    from tanzaku.encoders.reading import tokenized_length
    from tanzaku.encoders.tokens import tokenize

    tokenizer = load_tokenizer(resolve_encoder(str(encoder)))
    length = tokenized_length(spec.long_text, max_tokens=spec.max_tokens)
    classes = [DATASET.label_names.index(label) for label in DATASET.train.labels]
    tokens = LabelledTokens(
        tokenize(tokenizer, DATASET.train.texts, max_tokens=length),
        torch.tensor(classes).numpy(),
        pad_id=tokenizer.pad_token_id,
        long_text=spec.long_text,
        max_tokens=spec.max_tokens,
    )
    return tokens.batch(range(len(classes)))


def _run_facts() -> RunFacts:
    scores = SplitScores(documents=12, accuracy=0.5, accuracy_interval=(0.25, 0.75), macro_f1=0.5)
    return RunFacts(
        run_id="made-by-the-test",
        study="t",
        seed=42,
        ended="2026-11-28T00:00:00+00:00",
        versions={"tanzaku": __version__},
        data=DataFacts(
            name="tiny",
            fingerprint=DATASET.fingerprint,
            label_names=DATASET.label_names,
            train_documents=24,
            val_documents=12,
            test_documents=12,
            train_documents_per_class=(8, 8, 8),
        ),
        val=scores,
        test=scores,
    )
