from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    ElectraConfig,
    LukeConfig,
    PretrainedConfig,
)

from tanzaku.compute import Compute
from tanzaku.encoders.load import load_encoder, resolve_encoder
from tanzaku.errors import EncoderError
from tanzaku.pretraining.distillation.options import StudentShape
from tanzaku.pretraining.distillation.states import LayerStates
from tanzaku.pretraining.distillation.student import (
    evenly_spaced,
    existing_student,
    freeze_embeddings,
    new_student,
    restore_embeddings,
)
from tests.checkpoints import KINDS
from tests.tiny import make_encoder

_SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
}
_PLAIN = Compute(device="cpu", precision="float32", attention="eager")
_FAST = Compute(device="cpu", precision="float32", attention="eager", path="fast")


def _teacher(folder: Path) -> Any:
    return load_encoder(resolve_encoder(str(folder)), pooler=False)


def _student(teacher: Any, *, chosen: tuple[int, ...] | None = None, seed: int = 0, **shape: int) -> Any:
    return new_student(teacher, StudentShape(**shape), chosen=chosen, dropout=0.0, seed=seed)


@pytest.mark.parametrize(
    ("layers", "of", "expected"),
    [(4, 12, (2, 5, 8, 11)), (6, 12, (1, 3, 5, 7, 9, 11)), (1, 12, (11,)), (3, 4, (0, 2, 3)), (4, 4, (0, 1, 2, 3))],
)
def test_layers_are_evenly_spaced_up_to_the_last(layers: int, of: int, expected: tuple[int, ...]) -> None:
    assert evenly_spaced(layers, of=of) == expected


def test_a_student_has_copies_of_the_chosen_layers_and_of_all_else(teacher: Path) -> None:
    theirs = _teacher(teacher)
    student = _student(theirs, layers=2, chosen=(0, 3))
    assert student.started_from == (0, 3)
    assert student.has_embeddings
    assert student.model.config.num_hidden_layers == len(student.model.encoder.layer) == 2
    for number, of_teacher in enumerate((0, 3)):
        ours, other = student.model.encoder.layer[number], theirs.encoder.layer[of_teacher]
        assert all(torch.equal(one, two) for one, two in zip(ours.parameters(), other.parameters(), strict=True))
    words = student.model.embeddings.word_embeddings.weight
    assert torch.equal(words, theirs.embeddings.word_embeddings.weight)
    assert words.data_ptr() != theirs.embeddings.word_embeddings.weight.data_ptr()
    assert student.model.pooler is None
    assert _student(theirs, layers=2).started_from == (1, 3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bert-ipadic-bin"])
def test_every_kind_of_encoder_can_be_cut(kind: str, tmp_path: Path) -> None:
    make, _ = KINDS[kind]
    theirs = _teacher(make(tmp_path))
    whole, cut = _student(theirs, layers=2).model.eval(), _student(theirs, layers=1, chosen=(0,)).model.eval()
    ids = torch.randint(5, 20, (2, 12), generator=torch.Generator().manual_seed(0))
    states = LayerStates(theirs, after=[0, 1], compute=_PLAIN)
    with torch.no_grad():
        first, last = states(ids)
        assert torch.equal(LayerStates(whole, after=[1], compute=_PLAIN)(ids)[0], last)
        (only,) = LayerStates(cut, after=[0], compute=_PLAIN)(ids)
    assert only.shape == first.shape == (24, 32)
    if kind != "modernbert":  # which normalises the last layer's states once more
        assert torch.equal(only, first)


def test_dropout_of_a_student_is_what_was_asked_for_and_not_the_teachers(tmp_path: Path) -> None:
    make, _ = KINDS["modernbert"]
    source = resolve_encoder(str(make(tmp_path)))
    theirs = load_encoder(source)
    theirs.config.attention_dropout = 0.3
    for made in (
        new_student(theirs, StudentShape(layers=1), chosen=None, dropout=0.2, seed=0),
        existing_student(source, theirs, dropout=0.2),
    ):
        attentions = [module for module in made.model.modules() if hasattr(module, "attention_dropout")]
        assert attentions
        assert {module.attention_dropout for module in attentions} == {0.2}
    student = new_student(theirs, StudentShape(layers=1), chosen=None, dropout=0.0, seed=0).model
    assert student.config.attention_dropout == 0.3  # for fine-tuning


def test_a_student_of_modernbert_begins_with_its_first_layer(tmp_path: Path) -> None:
    """Which does not normalise what its attention reads, as the others do."""
    make, _ = KINDS["modernbert"]
    theirs = _teacher(make(tmp_path))
    assert _student(theirs, layers=1).started_from == (0,)
    with pytest.raises(
        EncoderError, match=r"no place for the teacher's layers\.0\.attn_norm\.weight.*begin with layer 0"
    ):
        _student(theirs, layers=1, chosen=(1,))


@pytest.mark.parametrize(
    "config",
    [
        DebertaV2Config(**_SIZES, pooler_hidden_size=32),
        ElectraConfig(**_SIZES, embedding_size=32),
        ElectraConfig(**_SIZES, embedding_size=16),
        LukeConfig(**_SIZES, entity_vocab_size=9, entity_emb_size=8),
    ],
    ids=["deberta", "electra", "small electra", "luke"],
)
def test_a_narrower_student_of_another_architecture_can_be_saved_and_loaded(
    config: PretrainedConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = _student(AutoModel.from_config(config).eval(), layers=2, hidden=16).model.eval()
    ids = torch.randint(5, 20, (2, 12))
    with torch.no_grad():
        expected = model(input_ids=ids).last_hidden_state
        assert expected.shape == (2, 12, 16)
        model.save_pretrained(tmp_path)
        again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
        assert torch.equal(again.base_model(input_ids=ids).last_hidden_state, expected)
        assert again(input_ids=ids).logits.isfinite().all()


def test_a_narrower_student_keeps_most_inner_products_of_the_embeddings(teacher: Path) -> None:
    theirs = _teacher(teacher)
    student = _student(theirs, layers=2, hidden=16)
    assert student.started_from is None
    assert not student.has_embeddings
    config = student.model.config
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (16, 2, 32)
    ours, words = (one.embeddings.word_embeddings.weight.detach() for one in (student.model, theirs))
    # The best of all projections to this width (Eckart and Young 1936).
    left, values, _ = torch.linalg.svd(words, full_matrices=False)
    torch.testing.assert_close(ours @ ours.T, left[:, :16] @ values[:16].square().diag() @ left[:, :16].T)
    assert ours.shape == (len(words), 16)
    same, other = (_student(theirs, layers=2, hidden=16, seed=seed).model for seed in (0, 1))
    query = "encoder.layer.1.attention.self.query.weight"
    assert torch.equal(student.model.get_parameter(query), same.get_parameter(query))
    assert not torch.equal(student.model.get_parameter(query), other.get_parameter(query))


def test_another_feed_forward_layer_leaves_the_embeddings(teacher: Path) -> None:
    theirs = _teacher(teacher)
    student = _student(theirs, layers=2, intermediate=40)
    assert student.started_from is None
    assert student.has_embeddings
    assert student.model.encoder.layer[0].intermediate.dense.weight.shape == (40, 32)
    assert torch.equal(student.model.embeddings.word_embeddings.weight, theirs.embeddings.word_embeddings.weight)


@pytest.mark.parametrize(
    ("shape", "chosen", "message"),
    [
        ({"layers": 5}, None, "the student has 5 layers and the teacher 4"),
        ({"layers": 2}, (1, 4), "the teacher has no layer 4; its layers are numbered 0 to 3"),
        ({"layers": 2, "hidden": 64}, None, "hidden = 64 is wider than the teacher's 32"),
        ({"layers": 2, "hidden": 16, "heads": 3}, None, "can't be divided among 3 heads"),
        ({"layers": 2, "hidden": 16}, (0, 1), "a student of another width has no copies"),
    ],
)
def test_shapes_that_do_not_fit(
    teacher: Path, shape: dict[str, int], chosen: tuple[int, ...] | None, message: str
) -> None:
    with pytest.raises(EncoderError, match=message):
        _student(_teacher(teacher), chosen=chosen, **shape)


def test_an_existing_student_has_the_teachers_vocabulary_and_fewer_layers(teacher: Path, tmp_path: Path) -> None:
    theirs = _teacher(teacher)
    small = make_encoder(tmp_path / "small", layers=1, pooler=False)
    assert not existing_student(resolve_encoder(str(small)), theirs, dropout=0.0).has_embeddings
    deep = make_encoder(tmp_path / "deep", layers=5, pooler=False)
    with pytest.raises(EncoderError, match="and 5 layers, and the teacher 29 and 4"):
        existing_student(resolve_encoder(str(deep)), theirs, dropout=0.0)


@pytest.mark.parametrize("compute", [_PLAIN, _FAST], ids=["transformers", "fast"])
def test_states_are_those_of_transformers(teacher: Path, compute: Compute) -> None:
    model = _teacher(teacher)
    ids = torch.randint(5, 28, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(input_ids=ids, output_hidden_states=True).hidden_states
        found = LayerStates(model, after=[0, 2, 3], compute=compute)(ids)
    for states, number in zip(found, (0, 2, 3), strict=True):
        torch.testing.assert_close(states, expected[number + 1].flatten(0, 1), rtol=1e-4, atol=1e-5)


def test_frozen_embeddings_come_back_unrounded(teacher: Path) -> None:
    model = _teacher(teacher)
    before = model.embeddings.word_embeddings.weight.detach().clone()
    kept = freeze_embeddings(model)
    assert {name.split(".")[1] for name in kept} == {
        "word_embeddings",
        "position_embeddings",
        "token_type_embeddings",
    }
    LayerStates(model, after=[3], compute=Compute("cpu", "bfloat16", "eager", "fast"))
    assert model.embeddings.word_embeddings.weight.dtype == torch.bfloat16
    restore_embeddings(model, kept)
    assert torch.equal(model.embeddings.word_embeddings.weight, before)
