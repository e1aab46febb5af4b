"""Python that uses an export without Tanzaku. Run in the export's folder, each prints a text's logits."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from tanzaku.ship.bundle import EncoderBundleFacts
from tanzaku.ship.certificate import Form

_TEXT = "海に船がある。"

_TRANSFORMERS = f"""\
from transformers import pipeline

classify = pipeline("text-classification", model=".", truncation=True)
print(classify("{_TEXT}"))
""".splitlines()

_SENTENCE_TRANSFORMERS = f"""\
import json

from sentence_transformers import SentenceTransformer

labels = json.load(open("config.json", encoding="utf-8"))["id2label"]
(logits,) = SentenceTransformer(".").encode(["{_TEXT}"])
print(labels[str(logits.argmax())], logits)
""".splitlines()

_PEFT_PLAIN = """\
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

base = AutoModelForSequenceClassification.from_pretrained({encoder!r}, {base}dtype=torch.float32)
model = PeftModel.from_pretrained(base, ".").eval()
tokenizer = AutoTokenizer.from_pretrained(".")
with torch.inference_mode():
    print(model(**tokenizer("{text}", truncation=True, max_length={length}, return_tensors="pt")).logits)
"""

_PEFT_BARE = """\
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

base = AutoModel.from_pretrained({encoder!r}, {base}dtype=torch.float32)
model = PeftModel.from_pretrained(base, ".").eval()
tokenizer = AutoTokenizer.from_pretrained(".")
head = load_file("head.safetensors")
with torch.inference_mode():
    tokens = tokenizer("{text}", truncation=True, max_length={length}, return_tensors="pt")
    hidden = model(**tokens).last_hidden_state
    features = {features}
    print(features @ head["weight"].T + head["bias"])
"""


def snippet_of(
    facts: EncoderBundleFacts, form: Form, *, compact: bool = False, base: Mapping[str, object] | None = None
) -> list[str]:
    """The lines for an export.

    Args:
        facts: Of the bundle.
        form: Of the export.
        compact: For PEFT: the encoder has to be written for transformers first.
        base: For PEFT: with what a classifier of the encoder is loaded, besides its number of labels.
    """
    if form == "transformers":
        return _TRANSFORMERS
    if form == "sentence-transformers":
        return _SENTENCE_TRANSFORMERS
    named = facts.encoder.name
    encoder = "THE ENCODER'S FOLDER" if Path(named).is_absolute() else named  # no path of this machine
    first = [f"# Write the encoder for transformers first: tanzaku encoder export {shlex.quote(encoder)} encoder", ""]
    plain = facts.encoder.pooling == "cls"
    options = {"num_labels": len(facts.label_names), **(base or {})} if plain else {}
    if facts.encoder.revision is not None and not Path(named).is_absolute():
        options = {"revision": facts.encoder.revision, **options}
    mean = "hidden.mean(dim=1)"
    both = f"torch.cat([{mean}, hidden.amax(dim=1)], dim=-1)"
    lines = (
        (_PEFT_PLAIN if plain else _PEFT_BARE)
        .format(
            encoder="./encoder" if compact else encoder,
            base="".join(f"{name}={value!r}, " for name, value in options.items()),
            length=facts.encoder.max_tokens,
            features=mean if facts.encoder.pooling == "mean" else both,
            text=_TEXT,
        )
        .splitlines()
    )
    return [*first, *lines] if compact else lines
