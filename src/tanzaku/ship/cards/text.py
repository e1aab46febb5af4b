"""The text of a model card, below its front matter: sections of Markdown, in English or Japanese."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tanzaku import __version__
from tanzaku.encoders.card import is_hub_id
from tanzaku.encoders.source import EMBEDDED_NAME
from tanzaku.markdown import escape_markdown
from tanzaku.methods import METHODS
from tanzaku.ship.bundle import BundleFacts, EncoderBundleFacts, TextBundleFacts
from tanzaku.ship.cards.cells import settings, table
from tanzaku.ship.cards.facts import CardFacts
from tanzaku.ship.cards.install import REPOSITORY
from tanzaku.ship.cards.scores import accuracy, comparison, labels
from tanzaku.words import Words

# The interval of a share of fewer documents is over 40 points wide where it is widest.
_FEW_DOCUMENTS = 20
_EXAMPLE = "海に船がある。"
_WITH_TERMS = ("tfidf-svm", "lora+tfidf")


def card_text(card: CardFacts, words: Words) -> str:
    """All sections."""
    sections = (_about, _use, accuracy, labels, comparison, _data, _model, _probabilities, _limits, _versions)
    return "\n".join(line for section in sections for line in (*section(card, words), ""))


def _about(card: CardFacts, words: Words) -> Iterator[str]:
    run = card.facts.run
    method = METHODS.get(str(card.facts.method["name"]))
    title = method.title.text(words.language) if method else str(card.facts.method["name"])
    yield f"# {escape_markdown(card.name)}"
    yield ""
    yield words.joined(
        [
            words.text("This model assigns one of {n} labels to a Japanese text.", n=len(card.facts.label_names)),
            words.text(
                "It was trained on {documents:,} documents of {data} with the method {method}.",
                documents=run.data.train_documents,
                data=escape_markdown(run.data.name),
                method=escape_markdown(title),
            ),
            words.text(
                "{tanzaku} measured it and wrote this card.",
                tanzaku=f"[Tanzaku]({REPOSITORY})",
            ),
        ]
    )


def _use(card: CardFacts, words: Words) -> Iterator[str]:
    yield "## " + words.text("How to use it")
    yield ""
    if not card.is_bundle:
        yield words.text("In this folder:")
        yield from ("", "```bash", *card.install, "```", "", "```python", *card.snippet, "```", "")
        yield words.text(
            "Calibrated probabilities are the softmax of the logits divided by {temperature}.",
            temperature=f"{card.facts.calibration.temperature:.4g}",
        )
        return
    yield words.text("Name this folder, or hf://OWNER/NAME if it is on the Hugging Face Hub:")
    yield from ("", "```bash", f"git clone {REPOSITORY}.git", *card.install)
    yield from (f"tanzaku classify my-bundle {_EXAMPLE}", "```", "")
    yield from ("```python", "from tanzaku import Classifier", "", 'classifier = Classifier.load("my-bundle")')
    yield from (f'print(classifier(["{_EXAMPLE}"])[0])', "```")
    facts = card.facts
    if card.form == "bundle" and isinstance(facts, EncoderBundleFacts) and not facts.whole:
        yield ""
        yield words.text("The encoder is not included: {encoder} is also needed.", encoder=_encoder_name(facts, words))


def _data(card: CardFacts, words: Words) -> Iterator[str]:
    data = card.facts.run.data
    yield "## " + words.text("Training data")
    yield ""
    yield words.text(
        "{name}: {train:,} training, {val:,} validation and {test:,} test documents in Japanese (fingerprint "
        "{fingerprint}). The documents are not part of this model.",
        name=escape_markdown(data.name),
        train=data.train_documents,
        val=data.val_documents,
        test=data.test_documents,
        fingerprint=f"`{data.fingerprint[:12]}…`",
    )
    if card.facts.method["name"] in _WITH_TERMS:
        yield ""
        yield words.text("The model contains words or character sequences of the training documents, with weights.")


def _model(card: CardFacts, words: Words) -> Iterator[str]:
    facts, run = card.facts, card.facts.run
    rows = [
        (words.text("Method"), _method(facts, words)),
        *_encoder_rows(card, words),
        (words.text("Size"), f"{size:.2f} MB" if (size := card.size_bytes / 1e6) >= 0.1 else f"{size:.2g} MB"),
    ]
    if run.training:
        rows.append((words.text("Training"), settings(run.training)))
    rows.append((words.text("Study and run"), f"{escape_markdown(run.study)}, {escape_markdown(run.run_id)}"))
    yield "## " + words.text("Model and training")
    yield ""
    yield from table(["", ""], [list(row) for row in rows])
    if card.license is None:
        yield ""
        yield words.text("No licence is known: choose one before you publish this model, and name it at the top.")


def _method(facts: BundleFacts, words: Words) -> str:
    options = settings(facts.method)
    if isinstance(facts, TextBundleFacts) or facts.compressed is None:
        return options
    low, high = facts.compressed.ranks
    if low == high:
        return words.text("{options}; compressed to rank {rank} after training", options=options, rank=low)
    return words.text(
        "{options}; compressed to ranks from {low} to {high} after training", options=options, low=low, high=high
    )


def _encoder_rows(card: CardFacts, words: Words) -> Iterator[tuple[str, str]]:
    facts = card.facts
    if (vectors := card.vectors) is not None:
        name = _named_as_others_find_it(vectors.name, vectors.made_from, words)
        yield words.text("Token vectors and tokenizer"), name
        yield words.text("Licence of the encoder"), _license(vectors.license, words)
        return
    if not isinstance(facts, EncoderBundleFacts):
        yield words.text("Encoder"), words.text("none")
        return
    base, encoder = facts.base, facts.encoder
    yield (
        words.text("Encoder"),
        words.text(
            "{name} ({type}, {parameters:,} parameters with the head)",
            name=_encoder_name(facts, words),
            type=escape_markdown(base.model_type),
            parameters=base.parameters,
        ),
    )
    yield words.text("Licence of the encoder"), _license(base.license, words)
    reading = encoder.model_dump(mode="json", include={"pooling", "long_text", "max_tokens", "max_windows"})
    yield words.text("How documents are read"), settings(reading)
    yield words.text("Computed in"), facts.precision


def _encoder_name(facts: EncoderBundleFacts, words: Words) -> str:
    return _named_as_others_find_it(facts.encoder.name, facts.base.made_from, words)


def _license(found: str | None, words: Words) -> str:
    return escape_markdown(found) if found else words.text("unknown")


def _named_as_others_find_it(name: str, made_from: str | None, words: Words) -> str:
    """An encoder's name without a path of this machine."""
    if is_hub_id(name):
        return f"[{name}](https://huggingface.co/{name})"
    shown = escape_markdown(name if name == EMBEDDED_NAME else Path(name).name)
    return words.text("{name}, made from {original}", name=shown, original=made_from) if made_from else shown


def _probabilities(card: CardFacts, words: Words) -> Iterator[str]:
    calibration = card.facts.calibration
    yield "## " + words.text("Probabilities")
    yield ""
    temperature = f"{calibration.temperature:.3g}"
    if not calibration.documents:
        yield words.text(
            "They are the softmax of the scores divided by {temperature}, which is typical of the method: there were "
            "no documents to calibrate them.",
            temperature=temperature,
        )
        return
    yield words.text(
        "They are calibrated: the softmax of the scores divided by {temperature}, the temperature that was fitted on "
        "{documents:,} validation documents.",
        temperature=temperature,
        documents=calibration.documents,
    )
    if calibration.few_documents:
        yield words.text("These are few, so that the value that is typical of the method decided more than they did.")


def _limits(card: CardFacts, words: Words) -> Iterator[str]:
    facts, run = card.facts, card.facts.run
    yield "## " + words.text("Intended use and limits")
    yield ""
    items = [
        words.text("It is meant to sort Japanese texts like the training documents into the labels above."),
        words.text(
            "It gives every text one of these labels, also texts of other kinds or in other languages, and empty ones."
        ),
        words.text(
            "The scores hold for documents like those of the test. Measure it on labelled documents of your own, for "
            "instance with `tanzaku evaluate`."
        ),
    ]
    tested = {} if run.test_is_validation else run.test_classes or {}
    rare = [name for name, one in tested.items() if one.support < _FEW_DOCUMENTS]
    if rare:
        items.append(
            words.text(
                "These labels have fewer than {few} test documents, so their scores say little: {labels}.",
                few=_FEW_DOCUMENTS,
                labels=words.listed(map(escape_markdown, rare)),
            )
        )
    if isinstance(facts, EncoderBundleFacts) and facts.encoder.long_text == "head":
        items.append(
            words.text("It reads the first {tokens:,} tokens of a text and no more.", tokens=facts.encoder.max_tokens)
        )
    items.append(
        words.text(
            "It repeats the biases of its training documents and of its encoder. Let a person decide where a label has "
            "consequences for somebody."
        )
    )
    yield from (f"- {item}" for item in items)


def _versions(card: CardFacts, words: Words) -> Iterator[str]:
    run = card.facts.run
    yield "## " + words.text("Versions")
    yield ""
    packages = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    yield words.text(
        "Trained with {packages} (ended {ended}); packed with Tanzaku {tanzaku}.",
        packages=escape_markdown(packages),
        ended=run.ended,
        tanzaku=__version__,
    )
