"""Classifying: documents a second of `transformers.pipeline` and of Tanzaku, from texts to classes."""

from transformers import pipeline

from benchmarks.clock import Clock
from benchmarks.documents import texts_to_classify
from benchmarks.models import device, random_classifier, word_tokenizer
from benchmarks.ours import build_classifier, classify
from benchmarks.scale import Scale


def pipeline_rate(scale: Scale, *, clock: Clock | None = None) -> float:
    """Documents a second of the pipeline as it comes (one document a batch, float32), with truncation."""
    model = random_classifier(scale.base, dropout=0.0, max_tokens=scale.max_tokens)
    tokenizer = word_tokenizer(scale.base.vocabulary, max_tokens=scale.max_tokens)
    classifier = pipeline("text-classification", model=model, tokenizer=tokenizer, device=device())
    texts = _texts(scale)
    classifier(texts[:1], truncation=True)
    clock = clock or Clock()
    clock.begin()
    classifier(texts, truncation=True)
    clock.end()
    return len(texts) / clock.seconds


def our_rate(scale: Scale, *, clock: Clock | None = None) -> float:
    """Documents a second of Tanzaku as it comes."""
    ours = build_classifier(scale.base, max_tokens=scale.max_tokens)
    tokenizer = word_tokenizer(scale.base.vocabulary, max_tokens=scale.max_tokens)
    texts = _texts(scale)
    classify(ours, tokenizer, texts[:1], max_tokens=scale.max_tokens)
    clock = clock or Clock()
    clock.begin()
    classify(ours, tokenizer, texts, max_tokens=scale.max_tokens)
    clock.end()
    return len(texts) / clock.seconds


def _texts(scale: Scale) -> list[str]:
    return texts_to_classify(scale.classified, max_tokens=scale.max_tokens, vocabulary=scale.base.vocabulary)
