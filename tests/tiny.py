"""A tiny study: a random BERT with a Japanese tokenizer, and documents that it can learn to tell apart."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, BertJapaneseTokenizer

from tanzaku.data.dataset import Dataset, Documents

WORDS = {
    "空": ["空", "雲", "風", "雨", "星"],
    "海": ["海", "魚", "波", "船", "島"],
    "山": ["山", "木", "石", "谷", "鳥"],
}
COMMON = ["が", "は", "を", "に", "見る", "ある", "行く", "来る", "。"]
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *COMMON,
    *(word for words in WORDS.values() for word in words),
]


def make_encoder(folder: Path, *, layers: int = 2, hidden: int = 32, dropout: float = 0.0, pooler: bool = True) -> Path:
    """Save a random BERT with its tokenizer; without a pooler, as masked-language-model pretraining leaves it."""
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = (BertForPreTraining if pooler else BertForMaskedLM)(config)
    model.save_pretrained(folder)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    BertJapaneseTokenizer(
        str(vocabulary), word_tokenizer_type="mecab", mecab_kwargs={"mecab_dic": "ipadic"}
    ).save_pretrained(folder)
    return folder


def make_documents(count: int, *, seed: int, names: Sequence[str] = tuple(WORDS)) -> Documents:
    """`count` documents in turn of each class, of 3 to 20 words, a third of them the class's own."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for number in range(count):
        label = names[number % len(names)]
        length = int(random.integers(3, 20))
        words = [str(random.choice(WORDS[label] if random.random() < 0.33 else COMMON)) for _ in range(length)]
        texts.append("".join([str(random.choice(WORDS[label])), *words]))
        labels.append(label)
    return Documents(tuple(texts), tuple(labels))


def make_dataset(*, train: int = 48, val: int = 18, test: int = 30) -> Dataset:
    """A dataset of three classes."""
    return Dataset(
        name="tiny",
        train=make_documents(train, seed=1),
        val=make_documents(val, seed=2),
        test=make_documents(test, seed=3),
        label_names=tuple(sorted(WORDS)),
    )
