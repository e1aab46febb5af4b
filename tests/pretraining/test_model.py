import math
from pathlib import Path

import pytest
import torch
from transformers import (
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from tanzaku.compute import Compute
from tanzaku.encoders.load import resolve_encoder
from tanzaku.errors import EncoderError
from tanzaku.pretraining.model import (
    MaskedPredictor,
    grown_positions,
    load_encoder,
    new_encoder,
    start_from_sinusoids,
)

VOCABULARY = 50


def _bert(*, tie: bool = True, seed: int = 0) -> PreTrainedModel:
    return new_encoder(
        layers=2,
        hidden=32,
        heads=2,
        intermediate=64,
        vocabulary_size=VOCABULARY,
        positions=16,
        initial_std=0.1,
        tie=tie,
        dropout=0.0,
        pad_id=0,
        seed=seed,
    )


def _model(kind: str) -> PreTrainedModel:
    small = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    if kind == "roberta":
        return RobertaForMaskedLM(RobertaConfig(**small, intermediate_size=64, max_position_embeddings=18))
    if kind == "distilbert":
        return DistilBertForMaskedLM(
            DistilBertConfig(vocab_size=VOCABULARY, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
        )
    if kind == "modernbert":
        special = {f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")}
        return ModernBertForMaskedLM(ModernBertConfig(**small, **special, intermediate_size=64))
    return _bert(tie=kind == "bert")


_PLAIN = Compute(device="cpu", precision="float32", attention="eager")
_FAST = Compute(device="cpu", precision="float32", attention="eager", path="fast")


@pytest.mark.parametrize(
    ("kind", "compute"),
    [(kind, _PLAIN) for kind in ("bert", "bert untied", "roberta", "distilbert", "modernbert")]
    + [("bert", _FAST), ("bert untied", _FAST)],
)
def test_the_gathered_loss_equals_transformers_own(kind: str, compute: Compute) -> None:
    model = _model(kind).eval()
    random = torch.Generator().manual_seed(1)
    ids = torch.randint(5, VOCABULARY, (3, 12), generator=random)
    positions = torch.tensor([1, 5, 6, 14, 30, 35])
    labels = torch.full((36,), -100)
    labels[positions] = torch.randint(5, VOCABULARY, (6,), generator=random)

    expected = model(input_ids=ids, labels=labels.view(3, 12)).loss
    expected.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    loss = MaskedPredictor(model, compute).loss(ids, positions, labels[positions])
    loss.backward()

    # The same sums in another order: float32's rounding alone.
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)
    # Without positions asked for, the model is as it was.
    assert model(input_ids=ids).logits.shape == (3, 12, VOCABULARY)


@pytest.mark.parametrize("compute", [_PLAIN, _FAST], ids=["transformers", "fast"])
def test_the_head_takes_few_numbers_of_rows(compute: Compute) -> None:
    model = _bert(tie=True)
    predictor = MaskedPredictor(model, compute)
    ids = torch.randint(5, VOCABULARY, (16, 16), generator=torch.Generator().manual_seed(1))
    taken = set()
    model.cls.register_forward_hook(lambda module, inputs, output: taken.add(output.flatten(0, -2).shape[0]))
    for masked in range(33, 65):
        positions = torch.arange(masked)
        assert len(predictor.logits(ids, positions)) == masked
        predictor.loss(ids, positions, ids.flatten()[positions]).backward()
    assert len(taken) == 4  # a multiple of 8


@pytest.mark.parametrize("compute", [_PLAIN, _FAST], ids=["transformers", "fast"])
def test_a_shift_moves_all_tokens_but_the_first_along_the_position_table(compute: Compute) -> None:
    model = _bert(tie=True).eval()
    ids = torch.randint(5, VOCABULARY, (2, 10), generator=torch.Generator().manual_seed(1))
    everywhere = torch.arange(20)
    places = torch.tensor([[0, *range(4, 13)], [0, *range(7, 16)]])
    expected = model(input_ids=ids, position_ids=places).logits.flatten(0, 1)
    with torch.no_grad():
        moved = MaskedPredictor(model, compute).logits(ids, everywhere, torch.tensor([3, 6]))
        unmoved = MaskedPredictor(model, compute).logits(ids, everywhere, torch.tensor([0, 0]))
        plain = MaskedPredictor(model, compute).logits(ids, everywhere)
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-5)
    assert torch.equal(unmoved, plain)
    assert not torch.allclose(moved, plain)


def test_a_new_encoder_follows_its_seed_and_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    first, same, other = _bert(seed=3), _bert(seed=3), _bert(seed=4)
    assert torch.equal(before, torch.get_rng_state())
    weight = "bert.encoder.layer.1.attention.self.query.weight"
    assert torch.equal(first.get_parameter(weight), same.get_parameter(weight))
    assert not torch.equal(first.get_parameter(weight), other.get_parameter(weight))
    assert float(first.get_parameter(weight).detach().std()) == pytest.approx(0.1, rel=0.1)


def test_tied_matrices_are_one() -> None:
    for tie in (True, False):
        model = _bert(tie=tie)
        assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tie


def _sinusoids(model: PreTrainedModel, *, root_mean_square: float) -> torch.Tensor:
    """The position vectors (positions, hidden) afterwards; a wave's own root mean square is 1 / √2."""
    start_from_sinusoids(model, root_mean_square=root_mean_square)
    vectors: torch.Tensor = model.base_model.embeddings.position_embeddings.weight.detach()
    return vectors


def test_positions_start_as_the_papers_waves_and_nothing_else_changes() -> None:
    model = _bert()
    others = {name: value.clone() for name, value in model.state_dict().items() if "position_embeddings" not in name}
    table = _sinusoids(model, root_mean_square=0.02) / (0.02 * math.sqrt(2))
    for position in range(16):
        for pair in range(16):  # Vaswani et al. 2017, section 3.5
            angle = position / 10_000 ** (2 * pair / 32)
            assert float(table[position, 2 * pair]) == pytest.approx(math.sin(angle), abs=1e-5)
            assert float(table[position, 2 * pair + 1]) == pytest.approx(math.cos(angle), abs=1e-5)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in others.items())
    torch.testing.assert_close((0.02 * math.sqrt(2) * table).square().mean(dim=1).sqrt(), torch.full((16,), 0.02))


@pytest.mark.parametrize("shift", [1, 5])
def test_a_shift_of_the_first_positions_is_a_rotation_of_each_wave(shift: int) -> None:
    table = _sinusoids(_bert(), root_mean_square=1.0)
    # sin(a + b) = sin a cos b + cos a sin b, and cos(a + b) = cos a cos b - sin a sin b: one 2 x 2 matrix a wave.
    angles = [shift / 10_000 ** (2 * pair / 32) for pair in range(16)]
    rotations = [[[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]] for a in angles]
    rotation = torch.block_diag(*(torch.tensor(matrix) for matrix in rotations))  # (hidden, hidden)
    torch.testing.assert_close(table[:-shift] @ rotation, table[shift:], rtol=0, atol=1e-5)


def test_grown_positions_are_copies_in_order() -> None:
    table = torch.arange(5.0)[:, None]
    assert grown_positions(table, reserved=0, positions=12)[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert grown_positions(table, reserved=2, positions=7)[:, 0].tolist() == [0, 1, 2, 3, 4, 2, 3, 4, 2]


def test_a_loaded_encoder_grows_to_the_length_asked_for(tiny_masked_encoder: Path) -> None:
    source = resolve_encoder(str(tiny_masked_encoder))
    short = load_encoder(source, max_tokens=64, dropout=0.0, seed=0)
    long = load_encoder(source, max_tokens=150, dropout=0.0, seed=0)
    learned = short.base_model.embeddings.position_embeddings.weight
    grown = long.base_model.embeddings.position_embeddings.weight
    assert long.config.max_position_embeddings == len(grown) == 150
    for start in (0, 64):
        assert torch.equal(grown[start : start + 64], learned)
    assert torch.equal(grown[128:], learned[:22])
    # What was learned stays: short texts give the same, long ones are possible.
    ids = torch.randint(5, 20, (2, 40))
    with torch.no_grad():
        torch.testing.assert_close(long.eval()(input_ids=ids).logits, short.eval()(input_ids=ids).logits)
        assert long(input_ids=torch.randint(5, 20, (1, 150))).logits.shape[1] == 150


def test_dropout_is_off_while_training_and_kept_in_the_configuration(tiny_masked_encoder: Path) -> None:
    model = load_encoder(resolve_encoder(str(tiny_masked_encoder)), max_tokens=64, dropout=0.0, seed=0)
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    assert model.config.hidden_dropout_prob == 0.1


def test_dropout_reaches_attention_that_has_no_module_for_it(tmp_path: Path) -> None:
    model = _model("modernbert")
    model.config.attention_dropout = 0.3
    model.save_pretrained(tmp_path)
    ids = torch.randint(5, 20, (2, 12))
    outputs = {}
    for probability in (0.0, 0.5):
        loaded = load_encoder(resolve_encoder(str(tmp_path)), max_tokens=16, dropout=probability, seed=0).train()
        assert loaded.config.attention_dropout == 0.3
        outputs[probability] = [loaded(input_ids=ids).logits for _ in range(2)]
    assert torch.equal(*outputs[0.0])
    assert not torch.equal(*outputs[0.5])


def test_roberta_keeps_its_reserved_positions(tmp_path: Path) -> None:
    _model("roberta").save_pretrained(tmp_path)
    grown = load_encoder(resolve_encoder(str(tmp_path)), max_tokens=30, dropout=0.0, seed=0)
    table = grown.base_model.embeddings.position_embeddings.weight
    assert table.shape[0] == 32
    assert torch.equal(table[18:32], table[2:16])


def test_an_encoder_without_a_position_table_can_not_grow(tmp_path: Path) -> None:
    model = _model("modernbert")
    model.config.max_position_embeddings = 32
    model.save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=r"max_tokens = 64 is more than the 32 positions .* set max_tokens to 32"):
        load_encoder(resolve_encoder(str(tmp_path)), max_tokens=64, dropout=0.0, seed=0)


def test_incomplete_weights_are_refused(tiny_masked_encoder: Path, tmp_path: Path) -> None:
    model = BertForMaskedLM.from_pretrained(tiny_masked_encoder)
    state = {name: tensor for name, tensor in model.state_dict().items() if "layer.1" not in name}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(EncoderError, match=r"the weights lack bert\.encoder\.layer\.1"):
        load_encoder(resolve_encoder(str(tmp_path)), max_tokens=64, dropout=0.0, seed=0)
