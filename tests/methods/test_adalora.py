"""AdaLoRA in our loop: PEFT's arithmetic, its budget, and a training that can be killed."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from tanzaku.encoders.load import load_classifier, resolve_encoder
from tanzaku.errors import MethodError
from tanzaku.methods.adalora import AdaLora
from tanzaku.methods.peft_adapter import quiet_peft
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.run import run_encoder
from tanzaku.study.spec import StudySpec
from tanzaku.training.batches import LabelledTokens, epoch_batches
from tanzaku.training.checkpoint import Checkpoints
from tanzaku.training.events import Event, Interrupted, Resumed, StepDone, TrainingDone
from tanzaku.training.optimizer import build_adamw
from tanzaku.training.schedule import Schedule
from tanzaku.training.stopping import EarlyStopping
from tests.kinds import encoder_run
from tests.tiny import make_dataset
from tests.training.test_loop import BATCH, EPOCHS, NAMES, SEED, _split, _training

DOCUMENTS, STEPS, RATE = 44, 18, 1e-2  # 44 documents are six steps an epoch
METHOD = AdaLora(rank=1, initial_rank=4, initial_share=0.2, final_share=0.35, interval=2, orthogonality=0.3)
MATRICES = 4  # query and value of two layers


def _attached(encoder: Path, method: AdaLora = METHOD) -> nn.Module:
    loaded = load_classifier(resolve_encoder(str(encoder)), label_names=NAMES, seed=SEED)
    torch.manual_seed(SEED)
    return method.attach(loaded.model, head=loaded.head)


def _splits(encoder: Path) -> tuple[LabelledTokens, LabelledTokens]:
    return _split(encoder, DOCUMENTS, 1, pad=False), _split(encoder, 18, 2, pad=False)


def _train(model: nn.Module, encoder: Path, *, stop_after: int | None = None, **changes: Any) -> list[Event]:
    """The events of a training, which may be stopped after some steps."""
    train, val = _splits(encoder)
    events: list[Event] = []

    def should_stop() -> bool:
        return sum(isinstance(event, StepDone) for event in events) == stop_after

    settings = {"hooks": METHOD, "learning_rate": RATE, "stopping": EarlyStopping(None)} | changes
    with contextlib.suppress(Interrupted):
        for event in _training(model, train, val, should_stop=should_stop, **settings).run():
            events.append(event)
    return events


def _ranks(model: nn.Module) -> int:
    return sum(int((p != 0).sum()) for name, p in model.named_parameters() if ".lora_E." in name)


def test_our_loop_takes_the_steps_of_plain_peft(tiny_encoder: Path) -> None:
    ours = _attached(tiny_encoder)
    theirs: Any = _attached(tiny_encoder)
    losses = [event.loss for event in _train(ours, tiny_encoder) if isinstance(event, StepDone)]
    config = theirs.peft_config["default"]
    config.total_step, config.tinit, config.tfinal = STEPS, 3, 6
    optimizer = build_adamw(theirs, learning_rate=RATE)
    train, _ = _splits(tiny_encoder)
    theirs.train()
    step, expected = 0, []
    for epoch in range(1, EPOCHS + 1):
        for documents in epoch_batches(DOCUMENTS, batch_size=BATCH, seed=SEED, epoch=epoch):
            batch = train.batch(documents)
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[-1]["lr"] = RATE * Schedule().factor(
                step, total_steps=STEPS
            )
            output = theirs(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels)
            output.loss.backward()  # with PEFT's own penalty in it
            nn.utils.clip_grad_norm_([p for p in theirs.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            step += 1
            theirs.base_model.update_and_allocate(step)
            optimizer.zero_grad()
            expected.append(nn.functional.cross_entropy(output.logits, batch.labels).item())
    assert losses == pytest.approx(expected, rel=1e-5)
    assert _ranks(theirs) == MATRICES * METHOD.rank


@pytest.mark.parametrize("stop_after", [2, 9, 11, 15])
def test_resumes_bit_identical_in_every_phase(tiny_encoder: Path, tmp_path: Path, stop_after: int) -> None:
    def trained(folder: Path, stop_after: int | None = None) -> tuple[nn.Module, list[Event]]:
        model = _attached(tiny_encoder)
        checkpoints = Checkpoints(folder, identity="run")
        return model, _train(model, tiny_encoder, checkpoints=checkpoints, stop_after=stop_after)

    undisturbed, events = trained(tmp_path / "one")
    trained(tmp_path / "two", stop_after)
    torch.manual_seed(999)
    resumed, after = trained(tmp_path / "two")
    assert Resumed(stop_after) in after
    for (key, parameter), (_, other) in zip(undisturbed.named_parameters(), resumed.named_parameters(), strict=True):
        assert torch.equal(parameter, other), key
    one, two = events[-1], after[-1]
    assert isinstance(one, TrainingDone)
    assert isinstance(two, TrainingDone)
    assert one.curve == two.curve
    states = (METHOD.step_state(undisturbed), METHOD.step_state(resumed))
    assert {key: tensor.tolist() for key, tensor in states[0].items()} == {k: t.tolist() for k, t in states[1].items()}


def test_a_run_meets_its_budget_and_saves_only_the_ranks_that_are_left(tmp_path: Path, tiny_encoder: Path) -> None:
    arm = {"method": "adalora", **METHOD.model_dump()}
    spec = StudySpec.model_validate(
        {
            "name": "tiny",
            "data": {"source": "made by the test"},
            "encoder": {"name": str(tiny_encoder), "max_tokens": 16},
            "training": {"epochs": 4, "learning_rate": 5e-3, "precision": "float32"},
            "arms": [arm | {"targets": [["query", "value"]]}],
        }
    )
    planned = PlannedEncoderRun(encoder_run(spec), tmp_path / "run", resolve_encoder(str(tiny_encoder)))
    record = run_encoder(planned, dataset=make_dataset(), study="tiny")
    assert record.best_epoch == 4, "the best epoch is to be one after the last allocation"
    saved = load_file(tmp_path / "run" / "model" / "adapter_model.safetensors")
    ranks = {name: len(tensor) for name, tensor in saved.items() if name.endswith("lora_E")}
    # A layer that lost all its ranks keeps one whose E is 0.
    left = sum(int((saved[name] != 0).sum()) for name in ranks)
    assert left == MATRICES * METHOD.rank
    assert sum(ranks.values()) < MATRICES * METHOD.initial_rank
    content = json.loads((tmp_path / "run" / "model" / "adapter_config.json").read_text(encoding="utf-8"))
    assert content["target_r"] == METHOD.rank
    loaded = load_classifier(resolve_encoder(str(tiny_encoder)), label_names=NAMES, seed=7)
    ids = torch.randint(5, 20, (3, 8), generator=torch.Generator().manual_seed(1))
    ours = METHOD.load(loaded.model, tmp_path / "run" / "model", head=loaded.head).eval()
    expected = ours(input_ids=ids).logits
    plain = load_classifier(resolve_encoder(str(tiny_encoder)), label_names=NAMES, seed=8).model
    with quiet_peft(), pytest.warns(RuntimeWarning, match="rank_pattern"):  # a false alarm of PEFT's
        theirs = PeftModel.from_pretrained(plain, tmp_path / "run" / "model").eval()
    torch.testing.assert_close(theirs(input_ids=ids).logits, expected, rtol=0, atol=0)
    torch.testing.assert_close(METHOD.merge(ours)(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-5)


def test_the_penalty_is_pefts(tiny_encoder: Path) -> None:
    model = _attached(tiny_encoder)
    ids, labels = torch.randint(5, 20, (3, 8)), torch.tensor([0, 1, 2])
    output = model.eval()(input_ids=ids, labels=labels)
    penalty = METHOD.penalty(model)
    assert penalty is not None
    plain = nn.functional.cross_entropy(output.logits, labels)
    torch.testing.assert_close(plain + penalty, output.loss)
    assert AdaLora(orthogonality=0).penalty(model) is None


def test_a_training_that_is_too_short_is_refused(tiny_encoder: Path) -> None:
    with pytest.raises(MethodError, match=r"a training of 2 steps leaves none .* train for more epochs"):
        METHOD.model_copy(update={"final_share": 0.5}).on_step(_attached(tiny_encoder), step=1, total_steps=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_rank": 4}, "initial_rank = 4 must be more than rank, which is 8"),
        ({"initial_share": 0.6}, "initial_share = 0.6 and final_share = 0.5 leave no steps"),
        ({"final_share": 0.95}, "initial_share = 0.1 and final_share = 0.95 leave no steps"),
        ({"targets": ["query", "embeddings"]}, "linear layers alone; leave 'embeddings' out"),
        ({"rank": 8, "initial_rank": 8}, "must be more than rank, which is 8"),
        ({"initial_share": 0.4, "final_share": 0.6}, "leave no steps in which ranks are allocated"),
    ],
)
def test_options_that_leave_nothing_to_allocate_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AdaLora(**options)


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 8, 16, 33, 64])
def test_every_rank_alone_is_a_search_that_can_run(tiny_encoder: Path, rank: int) -> None:
    method = AdaLora.model_validate({"rank": rank})
    assert method.initial_rank == math.ceil(1.5 * rank)
    assert method.details() == {"scale": 1.0}
    assert AdaLora.model_validate(method.model_dump()) == method
    model = _attached(tiny_encoder, method)
    assert _ranks(model) == 0  # E begins at 0
    for step in range(1, 21):
        ids = torch.randint(5, 20, (3, 8), generator=torch.Generator().manual_seed(step))
        model.zero_grad()
        model(input_ids=ids).logits.square().sum().backward()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".lora_E." in name:
                    parameter.add_(0.1)
        method.on_step(model, step=step, total_steps=20)
    assert _ranks(model) == MATRICES * rank


def test_the_default_is_what_it_was_before_it_followed_the_rank() -> None:
    assert (AdaLora().rank, AdaLora().initial_rank) == (8, 12)


def test_presets_are_targets_too(tiny_encoder: Path) -> None:
    method = AdaLora.model_validate({"rank": 1, "targets": "all-linear"})
    assert method.targets == ("all-linear",)
    bare = load_classifier(resolve_encoder(str(tiny_encoder)), label_names=NAMES, seed=SEED)
    declared = method.trainable_parameters(bare.model, head=bare.head)
    model = _attached(tiny_encoder, method)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == declared
    adapted = {name for name, _ in model.named_parameters() if ".lora_E." in name}
    assert len(adapted) == 2 * 6
    assert not any("pooler" in name for name in adapted)
