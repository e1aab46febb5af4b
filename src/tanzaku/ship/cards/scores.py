"""The parts of a model card about its scores: accuracy, labels, and how an export compares."""

from __future__ import annotations

from collections.abc import Iterator

from tanzaku.markdown import escape_markdown
from tanzaku.measure.metrics import accuracy_interval
from tanzaku.ship.bundle import EncoderBundleFacts
from tanzaku.ship.cards.cells import NONE, ends, percent, table
from tanzaku.ship.cards.facts import CardFacts, Split, measured_splits
from tanzaku.study.summary import ClassScores, SplitScores
from tanzaku.words import Words, message

_HEADINGS = (
    message("Split"),
    message("Documents"),
    message("Accuracy (95 % interval)"),
    message("Macro-F1 (95 % interval)"),
    message("Label"),
    message("Precision (95 % interval)"),
    message("Recall (95 % interval)"),
    message("Precision"),
    message("Recall"),
    message("F1"),
    message("Test documents"),
    message("Training documents"),
)


def accuracy(card: CardFacts, words: Words) -> Iterator[str]:
    """The section about whole splits."""
    yield "## " + words.text("Accuracy")
    yield ""
    splits = measured_splits(card.facts)
    if not splits:
        yield words.text("It was trained on all documents, so that nothing is known of its accuracy on others.")
        return
    yield from _caveat(card, words)
    heads = ("Split", "Documents", "Accuracy (95 % interval)", "Macro-F1 (95 % interval)")
    yield from table([words.text(head) for head in heads], [_scores_row(one, words) for one in splits])
    yield ""
    named = {split.name for split in splits}
    notes = [
        ("test", words.text("The test documents were used for nothing else.")),
        (
            "validation",
            words.text(
                "The validation documents had a part in choosing this model, such as its epoch and temperature, so "
                "their scores are slightly too good."
            ),
        ),
    ]
    intervals = (
        words.text(
            "The intervals are about other groups of documents of the same kind, because those of a group do not count "
            "as independent: Wilson's for the accuracy, the bootstrap's with Student's t for macro-F1."
        )
        if card.facts.run.over_groups
        else words.text(
            "The intervals are about other documents of the same kind: Wilson's for the accuracy, 1.96 standard errors "
            "of the bootstrap for macro-F1."
        )
    )
    yield words.joined([*(note for name, note in notes if name in named), intervals])
    for sentence in _changes(card, words):
        yield from ("", sentence)


def _caveat(card: CardFacts, words: Words) -> Iterator[str]:
    if card.weights_changed:
        yield words.text("These scores were measured before the weights were changed.")
        yield ""


def _scores_row(split: Split, words: Words) -> list[str]:
    scores, interval = split.scores, split.macro_f1_interval
    return [
        words.text("test") if split.name == "test" else words.text("validation"),
        f"{scores.documents:,}",
        f"{percent(scores.accuracy)} ({ends(scores.accuracy_interval)})",
        f"{percent(scores.macro_f1)} ({ends(interval)})" if interval else percent(scores.macro_f1),
    ]


def _changes(card: CardFacts, words: Words) -> Iterator[str]:
    """What was done to the weights after the test, in this order: only what a run trained is lowered to fewer bits."""
    facts = card.facts
    if not isinstance(facts, EncoderBundleFacts):
        return
    if facts.bits:
        quantized = facts.quantized
        yield _with_scores(
            words.text("The weights were stored in {bits} bits after that.", bits=facts.bits),
            quantized.val_before if quantized else None,
            quantized.val if quantized else None,
            words,
            data=quantized.val_data if quantized else facts.run.data.name,
        )
    if facts.compressed:
        energy, steps = percent(facts.compressed.kept_energy), facts.compressed.steps
        sentence = words.text("The adapter was compressed after that, to {energy} of its squared norm.", energy=energy)
        if steps > 1:
            told = words.text("This was done in {steps} steps; accuracies are those of the last.", steps=steps)
            sentence = words.joined([sentence, told])
        yield _with_scores(
            sentence,
            facts.compressed.val_before,
            facts.compressed.val,
            words,
            data=facts.compressed.val_data or facts.run.data.name,
        )


def _with_scores(
    sentence: str, before: SplitScores | None, after: SplitScores | None, words: Words, *, data: str
) -> str:
    if before is None or after is None:
        return words.joined([sentence, words.text("What this changed was not measured.")])
    changed = words.text(
        "On {documents:,} validation documents of {data}, the accuracy was {before} before and {after} after.",
        documents=after.documents,
        data=escape_markdown(data),
        before=percent(before.accuracy),
        after=percent(after.accuracy),
    )
    return words.joined([sentence, changed])


def labels(card: CardFacts, words: Words) -> Iterator[str]:
    """The section about each class."""
    run, names = card.facts.run, card.facts.label_names
    trained = dict(zip(run.data.label_names, run.data.train_documents_per_class, strict=True))
    yield "## " + words.text("Labels")
    yield ""
    yield words.text("In the order of the scores:")
    yield ""
    if run.test_classes is None or run.test_is_validation:
        yield from table(
            [words.text("Label"), words.text("Training documents")],
            [[escape_markdown(name), f"{trained.get(name, 0):,}"] for name in names],
        )
        return
    yield from _caveat(card, words)
    shares = ("Precision (95 % interval)", "Recall (95 % interval)")
    heads = ("Label", *(("Precision", "Recall") if run.over_groups else shares), "F1")
    more = ("Test documents", "Training documents")
    rows = [
        _class_row(name, run.test_classes[name], trained.get(name, 0), intervals=not run.over_groups) for name in names
    ]
    yield from table([words.text(head) for head in (*heads, *more)], rows)


def _class_row(name: str, scores: ClassScores, trained: int, *, intervals: bool) -> list[str]:
    hits = round(scores.recall * scores.support)
    return [
        escape_markdown(name),
        _share(hits, scores.predicted or 0, interval=intervals),
        _share(hits, scores.support, interval=intervals),
        percent(scores.f1),
        f"{scores.support:,}",
        f"{trained:,}",
    ]


def _share(hits: int, documents: int, *, interval: bool) -> str:
    """A share, with its interval over documents if they are independent. Nobody knows that of no documents."""
    if not documents:
        return NONE
    if not interval:
        return percent(hits / documents)
    return f"{percent(hits / documents)} ({ends(accuracy_interval(hits, documents))})"


def comparison(card: CardFacts, words: Words) -> Iterator[str]:
    """The section with the certificate, of a model that has one."""
    certificate = card.certificate
    if certificate is None:
        return
    before, after = certificate.before, certificate.after
    yield "## " + words.text("Compared with the bundle in float32")
    yield ""
    yield words.joined(
        [
            words.text(
                "This model computes in {dtype}. It and the bundle classified the same texts: {origin} ({texts:,}).",
                dtype=certificate.dtype,
                texts=certificate.texts,
                origin=escape_markdown(certificate.texts_from),
            ),
            words.plural(
                "{n:,} text got another label (between {interval} with 95 % confidence).",
                "{n:,} texts got another label (between {interval} with 95 % confidence).",
                certificate.flips,
                interval=ends(certificate.flips_interval),
            ),
            words.text(
                "The largest difference of a logit is {difference}.",
                difference=f"{certificate.largest_logit_difference:.2g}",
            ),
        ]
    )
    yield ""
    size = f"{after.size_bytes / 1e6:.2f}"
    rows = [
        (words.text("Accuracy"), *(NONE if one.accuracy is None else percent(one.accuracy) for one in (before, after))),
        (
            words.text("MB with the encoder"),
            f"{before.size_bytes / 1e6:.2f}",
            words.text("{size} without it", size=size) if certificate.form == "peft" else size,
        ),
        (words.text("Milliseconds per document (median)"), f"{before.median_ms:.1f}", f"{after.median_ms:.1f}"),
        (
            words.text("Documents per second"),
            f"{before.documents_per_second:,.1f}",
            f"{after.documents_per_second:,.1f}",
        ),
    ]
    yield from table(["", words.text("Bundle"), words.text("This model")], [list(row) for row in rows])
    yield ""
    yield words.text("Measured with one thread on {processor}.", processor=escape_markdown(certificate.processor.name))
