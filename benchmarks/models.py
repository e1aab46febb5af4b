"""The models that all sides start from, and the tokenizer of made-up words."""

from typing import TYPE_CHECKING

import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.documents import FIRST, LAST, PAD, SPECIAL_TOKENS
from benchmarks.scale import LABELS, Shape

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# The checkpoint that the thesis adapts has a pooler: the classifier alone is new.
HEAD = ("classifier",)


def device() -> torch.device:
    """Where everything is computed."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize() -> None:
    """Wait until the GPU, if there is one, has done what was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def random_classifier(shape: Shape, *, dropout: float, max_tokens: int) -> BertForSequenceClassification:
    """A BERT with a classification head, float32, on the CPU; equal arguments give equal weights."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=max(512, max_tokens),
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=PAD,
        num_labels=LABELS,
    )
    return BertForSequenceClassification(config)


def word_tokenizer(vocabulary: int, *, max_tokens: int) -> "PreTrainedTokenizerFast":
    """Splits at spaces and looks words up, in Rust: the token 7 is the word "w7". It costs next to nothing, so that a
    comparison of classifiers compares the encoders."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = dict(zip(SPECIAL_TOKENS, range(len(SPECIAL_TOKENS)), strict=True))
    words |= {f"w{number}": number for number in range(len(SPECIAL_TOKENS), vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", FIRST), ("[SEP]", LAST)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_tokens,
        **dict(zip(names, SPECIAL_TOKENS, strict=True)),
    )
