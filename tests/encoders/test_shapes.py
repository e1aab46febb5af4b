"""However long the documents are, few shapes occur; and what is added to round them up changes nothing."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

from tanzaku.encoders.fast import fast_forward
from tanzaku.encoders.pooled import pooled_class, write_reading
from tanzaku.encoders.prefix import add_prefix
from tanzaku.encoders.reading import Pooling
from tanzaku.encoders.shapes import attention_rows, batch_rows
from tanzaku.training.batches import Batch
from tanzaku.training.forward import model_logits

LABELS, VOCABULARY, LONGEST = 3, 50, 160
# What oneDNN compiles a kernel for on a CPU.
COMPILED = {"mm", "addmm", "bmm", "baddbmm", "gelu", "gelu_backward"}


class _Shapes(TorchDispatchMode):
    """Collects the operations that a kernel is compiled for, with the shapes of what they take."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[tuple[Any, ...]] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in COMPILED:
            self.seen.add((name, *(tuple(one.shape) for one in args if isinstance(one, Tensor))))
        return function(*args, **(kwargs or {}))


def _model(pooling: Pooling = "mean", *, layers: int = 1, prefix: int = 0) -> PreTrainedModel:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=8,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=LONGEST,
        num_labels=LABELS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
    )
    if pooling == "cls":
        model = BertForSequenceClassification(config)
    else:
        write_reading(config, pooling=pooling, long_text="head")
        model = pooled_class(config)(config)
    if prefix:
        add_prefix(model.base_model, length=prefix)
    return model


def _batch(lengths: Sequence[int], *, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCABULARY, (len(lengths), max(1, *lengths)), generator=random)
    mask = (torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]).long()
    return Batch(ids * mask, mask, torch.arange(len(lengths)) % LABELS)


def _random_lengths(batches: int, documents: int, *, seed: int) -> list[list[int]]:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(65, LONGEST + 1, (batches, documents), generator=random).tolist()


@pytest.mark.parametrize(("pooling", "prefix"), [("cls", 0), ("mean", 5)])
def test_training_soon_has_seen_all_shapes(pooling: Pooling, prefix: int) -> None:
    model = _model(pooling, prefix=prefix)
    forward = fast_forward(model, precision="float32")
    assert forward is not None
    halves = []
    for seed in (1, 2):
        with _Shapes() as shapes:
            for number, lengths in enumerate(_random_lengths(40, 4, seed=seed)):
                batch = _batch(lengths, seed=number)
                nn.functional.cross_entropy(forward(model, batch), batch.labels).backward()
        halves.append(shapes.seen)
    first, second = halves
    assert len(second - first) <= len(first) / 5


def test_classifying_soon_has_seen_all_shapes_however_many_documents_a_batch_has() -> None:
    model = _model("cls", layers=2)
    forward = fast_forward(model, precision="float32")
    assert forward is not None
    encoder_shapes: set[tuple[Any, ...]] = set()
    for documents in (9, 12, 15, 16):
        with torch.no_grad(), _Shapes() as shapes:
            for lengths in _random_lengths(4, documents, seed=documents):
                forward(model, _batch(lengths))
        # The head's products take the documents themselves, in float32: no kernel is compiled for these.
        encoder_shapes |= {one for one in shapes.seen if one[0] == "gelu"}
    rows = {shape[0] for _, shape in encoder_shapes}
    assert len({count for count in rows if count < 65}) == 1  # those of [CLS] in the last layer
    assert len(rows) <= 1 + 2 * 16  # and at most 16 from 585 to 1,024 tokens, and from there to 2,560


# Around the edges of the steps, and with the longest document last, first and in between.
@pytest.mark.parametrize("lengths", [(31, 32, 33), (1, 64, 65), (2, 7, 1), (128,), (96, 3, 97, 1), (40, 8)])
@pytest.mark.parametrize("prefix", [0, 5])
@pytest.mark.parametrize("pooling", ["cls", "mean+max"])
def test_what_is_added_changes_nothing(lengths: tuple[int, ...], pooling: Pooling, prefix: int) -> None:
    model = _model(pooling, layers=2, prefix=prefix).eval()
    reference = copy.deepcopy(model)
    batch = _batch(lengths)
    forward = fast_forward(model, precision="float32")
    assert forward is not None
    found, expected = forward(model, batch), model_logits(reference, batch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    for logits in (found, expected):
        nn.functional.cross_entropy(logits, batch.labels).backward()
    for (name, mine), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert (mine.grad is None) == (theirs.grad is None), name
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("pooling", ["cls", "mean", "mean+max"])
def test_an_empty_document_has_logits_and_leaves_the_others_alone(pooling: Pooling) -> None:
    model = _model(pooling, layers=2).eval()
    forward = fast_forward(model, precision="float32")
    assert forward is not None
    with torch.no_grad():
        alone = [forward(model, _batch([length])) for length in (5, 0, 40, 0)]
        together = forward(model, _with_rows_of([5, 0, 40, 0]))
    assert together.isfinite().all()
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)


def _with_rows_of(lengths: Sequence[int]) -> Batch:
    """The batch whose rows are those of `_batch` of one length alone."""
    rows = [_batch([length]) for length in lengths]
    width = max(lengths)
    ids, masks = (
        torch.cat([nn.functional.pad(one, (0, width - one.shape[1])) for one in parts])
        for parts in ([row.input_ids for row in rows], [row.attention_mask for row in rows])
    )
    return Batch(ids, masks, torch.zeros(len(rows), dtype=torch.int64))


@given(st.integers(1, 20_000))
def test_rounding_up_adds_little(count: int) -> None:
    assert count <= batch_rows(count) <= max(count + 7, count * 17 / 16)
    assert batch_rows(batch_rows(count)) == batch_rows(count)
    assert count <= attention_rows(count) < count + 32
    assert batch_rows(count) <= batch_rows(count + 1)


def test_few_numbers_of_rows_occur() -> None:
    assert len({batch_rows(count) for count in range(2049, 4097)}) == 16
    assert len({batch_rows(count) for count in range(1, 16_385)}) == 128
    assert len({attention_rows(count) for count in range(1, 513)}) == 1 + 16
