"""Classifying: documents a second of `transformers.pipeline` and of Tanzaku, from texts to classes."""

import time

from transformers import pipeline

from benchmarks.documents import texts_to_classify
from benchmarks.models import device, random_classifier, synchronize, word_tokenizer
from benchmarks.ours import build_classifier, classify
from benchmarks.scale import Scale


def pipeline_rate(scale: Scale) -> float:
    """Documents a second of the pipeline as it comes (one document a batch, float32), with truncation."""
    model = random_classifier(scale.base, dropout=0.0, max_tokens=scale.max_tokens)
    tokenizer = word_tokenizer(scale.base.vocabulary, max_tokens=scale.max_tokens)
    classifier = pipeline("text-classification", model=model, tokenizer=tokenizer, device=device())
    texts = _texts(scale)
    classifier(texts[:1], truncation=True)
    began = time.perf_counter()
    classifier(texts, truncation=True)
    synchronize()
    return len(texts) / (time.perf_counter() - began)


def our_rate(scale: Scale) -> float:
    """Documents a second of Tanzaku as it comes."""
    ours = build_classifier(scale.base, max_tokens=scale.max_tokens)
    tokenizer = word_tokenizer(scale.base.vocabulary, max_tokens=scale.max_tokens)
    texts = _texts(scale)
    classify(ours, tokenizer, texts[:1], max_tokens=scale.max_tokens)
    began = time.perf_counter()
    classify(ours, tokenizer, texts, max_tokens=scale.max_tokens)
    return len(texts) / (time.perf_counter() - began)


def _texts(scale: Scale) -> list[str]:
    return texts_to_classify(scale.classified, max_tokens=scale.max_tokens, vocabulary=scale.base.vocabulary)
