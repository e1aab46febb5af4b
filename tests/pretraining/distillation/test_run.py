"""Distillation as a whole: it learns, its result opens elsewhere, and stopping it changes nothing."""

import filecmp
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from tanzaku.encoders.compact import round_weights
from tanzaku.encoders.export import export_encoder
from tanzaku.encoders.load import load_classifier, load_encoder, load_tokenizer, resolve_encoder
from tanzaku.errors import DataError, EncoderError, SpecError
from tanzaku.pretraining.distillation.objective import cut_shorter
from tanzaku.pretraining.distillation.options import StudentShape, read_distill_options
from tanzaku.pretraining.distillation.run import distill
from tanzaku.pretraining.record import DistillRecord, read_distill_record
from tanzaku.training.events import HeldOutDone, Resumed, Stopped
from tests.checkpoints import write_json
from tests.tiny import make_encoder

_SMALL: dict[str, Any] = {
    "student": "layers=2",
    "max_tokens": 64,
    "batch_tokens": 256,
    "documents": "line",
    "evaluations": 2,
    "precision": "float32",
    "device": "cpu",
    "held_out": 0.1,
}


def _distill(
    teacher: Path, text: Path, out: Path, *, work: Path | None = None, stop: Any = lambda: False, **changes: Any
) -> tuple[DistillRecord | None, list[Any]]:
    events: list[Any] = []
    options = read_distill_options(_SMALL | changes)
    record = distill(str(teacher), [text], out, options=options, work=work, report=events.append, stop=stop)
    return record, events


def _record(teacher: Path, text: Path, out: Path, **changes: Any) -> DistillRecord:
    record, _ = _distill(teacher, text, out, **changes)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def distilled(teacher: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DistillRecord]:
    out = tmp_path_factory.mktemp("distilled") / "student"
    return out, _record(teacher, text, out, steps=60, evaluations=3)


def test_it_learns_and_the_record_has_each_layer(distilled: tuple[Path, DistillRecord], teacher: Path) -> None:
    out, record = distilled
    assert read_distill_record(out) == record
    losses = [line.held_out_loss for line in record.history]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * record.history[0].train_loss
    assert record.matched == ((0, 1), (1, 3))
    assert record.started_from == (1, 3)
    for line in record.history:
        assert line.held_out_pooled is not None
        total = np.mean(line.held_out_layers) + line.held_out_pooled
        assert line.held_out_loss == pytest.approx(total, rel=1e-5)
    first, last = (record.history[place].held_out_cosine for place in (0, -1))
    assert first is not None
    assert last is not None
    assert first < last <= 1
    assert record.teacher.layers == 4
    assert record.teacher.fingerprint == resolve_encoder(str(teacher)).fingerprint
    assert record.encoder.parameters < record.teacher.parameters
    assert record.compute["path"] == "fast"


def test_plain_transformers_opens_it_with_the_teachers_tokenizer(
    distilled: tuple[Path, DistillRecord], teacher: Path
) -> None:
    out, _ = distilled
    model, info = AutoModel.from_pretrained(out, output_loading_info=True, add_pooling_layer=False)
    assert (info["missing_keys"], info["unexpected_keys"]) == (set(), set())
    assert model.config.num_hidden_layers == 2
    assert filecmp.cmp(out / "vocab.txt", teacher / "vocab.txt", shallow=False)
    ours, theirs = (
        json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")) for folder in (out, teacher)
    )
    assert theirs["model_max_length"] > 64  # none was set
    assert ours == theirs | {"model_max_length": 64}
    assert AutoTokenizer.from_pretrained(out)("空と海。")["input_ids"]
    loaded = load_classifier(resolve_encoder(str(out)), label_names=["a", "b"], seed=0)
    assert loaded.head == ("bert.pooler", "classifier")


def test_frozen_embeddings_are_the_teachers_to_the_last_bit(teacher: Path, text: Path, tmp_path: Path) -> None:
    _record(teacher, text, tmp_path / "frozen", steps=3, precision="bfloat16")
    theirs = load_encoder(resolve_encoder(str(teacher)), pooler=False).state_dict()
    weights = load_file(tmp_path / "frozen" / "model.safetensors")
    words = "embeddings.word_embeddings.weight"
    assert torch.equal(weights[words], theirs[words])
    query = "encoder.layer.1.attention.self.query.weight"
    assert not torch.equal(weights[query], theirs["encoder.layer.3.attention.self.query.weight"])
    _record(teacher, text, tmp_path / "trained", steps=3, embeddings="trained")
    assert not torch.equal(load_file(tmp_path / "trained" / "model.safetensors")[words], theirs[words])


def test_a_student_that_is_the_teacher_has_nothing_to_learn(teacher: Path, text: Path, tmp_path: Path) -> None:
    record = _record(teacher, text, tmp_path / "same", student="layers=4", steps=1, learning_rate=1e-12)
    (line,) = record.history
    assert line.train_loss == pytest.approx(0, abs=1e-6)
    assert line.held_out_layers == pytest.approx((0, 0, 0, 0), abs=1e-6)
    assert line.held_out_cosine == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": "adamw", "dropout": 0.1, "student": "layers=2,hidden=16"}],
    ids=["copied", "narrower, dropout"],
)
def test_it_stops_between_steps_and_goes_on(teacher: Path, text: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    events: list[Any] = []
    options = read_distill_options(_SMALL | {"steps": 20} | changes)

    def stop() -> bool:
        return any(isinstance(event, HeldOutDone) for event in events)

    def run(out: Path, events: list[Any], stop: Any = lambda: False) -> DistillRecord | None:
        return distill(str(teacher), [text], out, options=options, work=tmp_path, report=events.append, stop=stop)

    assert run(tmp_path / "a", events, stop) is None
    assert events[-1] == Stopped(10)
    assert not (tmp_path / "a").exists()
    again: list[Any] = []
    resumed = run(tmp_path / "a", again)
    assert resumed is not None
    assert Resumed(10) in again
    whole = _record(teacher, text, tmp_path / "b", work=tmp_path / "other", steps=20, **changes)
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "b"))
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert [line.model_dump(exclude={"seconds"}) for line in resumed.history] == [
        line.model_dump(exclude={"seconds"}) for line in whole.history
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("student", ["layers=2", "layers=2,hidden=16"])
def test_a_gpu_learns_what_a_cpu_learns_and_resumes(teacher: Path, text: Path, tmp_path: Path, student: str) -> None:
    changes: dict[str, Any] = {"steps": 20, "student": student}
    cpu = _record(teacher, text, tmp_path / "cpu", fast=False, **changes)
    gpu = _record(teacher, text, tmp_path / "gpu", device="cuda", **changes)
    low = _record(teacher, text, tmp_path / "low", **changes, device="cuda", precision="bfloat16")
    assert gpu.compute == {"device": "cuda", "precision": "float32", "attention": "sdpa", "path": "transformers"}
    for one, two, three in zip(cpu.history, gpu.history, low.history, strict=True):
        assert two.held_out_loss == pytest.approx(one.held_out_loss, rel=5e-3)
        assert two.held_out_cosine == pytest.approx(one.held_out_cosine, rel=5e-3)
        assert three.held_out_loss == pytest.approx(one.held_out_loss, rel=5e-2)
    stops = iter([False, True])
    stopped, _ = _distill(teacher, text, tmp_path / "a", device="cuda", stop=lambda: next(stops, True), **changes)
    assert stopped is None
    resumed = _record(teacher, text, tmp_path / "a", device="cuda", **changes)
    assert resumed.resumptions == 1
    assert resumed.history[-1].held_out_loss == pytest.approx(gpu.history[-1].held_out_loss, rel=5e-3)


def test_a_checkpoint_holds_only_what_is_trained(teacher: Path, text: Path, tmp_path: Path) -> None:
    events: list[Any] = []
    options = read_distill_options(_SMALL | {"steps": 20})
    distill(
        str(teacher), [text], tmp_path / "a", options=options, work=tmp_path, report=events.append, stop=lambda: True
    )
    (tensors,) = (tmp_path / "checkpoints").rglob("tensors.safetensors")
    assert not [name for name in load_file(tensors) if "word_embeddings" in name]


@pytest.mark.parametrize(
    ("changes", "layers", "has_pooled", "has_cosine"),
    [
        ({"hidden_loss": "last"}, 1, True, True),
        ({"hidden_loss": "none"}, 0, True, True),
        ({"pooled_loss": "none"}, 2, False, True),
        ({"pooled_loss": "similarities"}, 2, True, True),
        ({"student": "layers=2,hidden=16"}, 2, True, True),
        ({"student": "layers=2,hidden=16", "hidden_loss": "none", "pooled_loss": "similarities"}, 0, True, False),
        ({"lengths": "full", "fast": False}, 2, True, True),
    ],
    ids=["last", "vectors only", "layers only", "similarities", "narrower", "narrower, similarities", "transformers"],
)
def test_every_loss_learns(
    teacher: Path,
    text: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    layers: int,
    has_pooled: bool,
    has_cosine: bool,
) -> None:
    record = _record(teacher, text, tmp_path / "student", steps=30, learning_rate=3e-3, **changes)
    first, last = record.history
    assert last.held_out_loss < first.train_loss
    assert len(last.held_out_layers) == layers
    assert (last.held_out_pooled is not None) == has_pooled
    assert (last.held_out_cosine is not None) == has_cosine


def test_a_quantised_encoder_can_teach(teacher: Path, text: Path, tmp_path: Path) -> None:
    rounded, packed = tmp_path / "float16", tmp_path / "q4"
    export_encoder(resolve_encoder(str(teacher)), rounded, dtype="float16")
    weights = round_weights(load_file(rounded / "model.safetensors"), head=())
    save_file(weights, rounded / "model.safetensors", metadata={"format": "pt"})
    export_encoder(resolve_encoder(str(rounded)), packed, dtype="q4")
    record, same = (
        _record(folder, text, tmp_path / f"of-{folder.name}", steps=2, max_tokens=32, save_dtype="float16")
        for folder in (packed, rounded)
    )
    assert [line.held_out_loss for line in record.history] == [line.held_out_loss for line in same.history]
    assert load_file(tmp_path / "of-q4" / "model.safetensors")["encoder.layer.0.output.dense.weight"].dtype == (
        torch.float16
    )


def test_a_student_may_be_continued(
    distilled: tuple[Path, DistillRecord], teacher: Path, text: Path, tmp_path: Path
) -> None:
    folder, before = distilled
    record = _record(teacher, text, tmp_path / "more", student=str(folder), steps=5)
    assert record.encoder.from_fingerprint == resolve_encoder(str(folder)).fingerprint
    assert record.started_from is None
    assert record.history[0].train_loss < 1.1 * before.history[-1].held_out_loss


def test_a_student_with_fewer_positions_says_so(teacher: Path, text: Path, tmp_path: Path) -> None:
    copied = tmp_path / "teacher"
    shutil.copytree(teacher, copied)
    settings = json.loads((copied / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(copied / "tokenizer_config.json", settings | {"model_max_length": 64})
    short = make_encoder(tmp_path / "short", layers=1, pooler=False)
    config = json.loads((short / "config.json").read_text(encoding="utf-8"))
    write_json(short / "config.json", config | {"max_position_embeddings": 32})
    weights = load_file(short / "model.safetensors")
    name = "bert.embeddings.position_embeddings.weight"
    save_file(weights | {name: weights[name][:32].clone()}, short / "model.safetensors", metadata={"format": "pt"})
    _record(copied, text, tmp_path / "out", student=str(short), steps=1, max_tokens=32)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").model_max_length == 32


def test_the_same_call_finds_the_result(
    distilled: tuple[Path, DistillRecord], teacher: Path, text: Path, tmp_path: Path
) -> None:
    out, record = distilled
    assert _distill(teacher, text, out, steps=60, evaluations=3) == (record, [])
    with pytest.raises(SpecError, match="holds another distillation"):
        _distill(teacher, text, out, steps=61, evaluations=3)


def test_tokens_are_a_budget(teacher: Path, text: Path, tmp_path: Path) -> None:
    record = _record(teacher, text, tmp_path / "student", tokens=1000)
    assert (record.steps, record.tokens_seen) == (4, 1024)


def test_inputs_that_can_not_be_used(teacher: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="max_tokens = 128 is more than the encoder's 64 positions"):
        _distill(teacher, text, tmp_path / "out", steps=1, max_tokens=128)
    other = make_encoder(tmp_path / "other", layers=1, pooler=False)
    vocabulary = (other / "vocab.txt").read_text(encoding="utf-8").replace("鳥", "鴨")
    (other / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    with pytest.raises(EncoderError, match="has another vocabulary than the teacher"):
        _distill(teacher, text, tmp_path / "out", steps=1, student=str(other))
    (broken := tmp_path / "broken.txt").write_bytes(b"\xff")
    with pytest.raises(EncoderError, match="layers"):  # and not that the text, which is read later, is not UTF-8
        _distill(teacher, broken, tmp_path / "out", steps=1, student="layers=9")
    assert not (tmp_path / "out").exists()


def test_similarities_need_three_sequences_in_a_batch_and_in_the_held_out_text(
    teacher: Path, text: Path, tmp_path: Path
) -> None:
    alike: dict[str, Any] = {"steps": 1, "pooled_loss": "similarities", "max_tokens": 64}
    with pytest.raises(SpecError, match=r"takes 3, but batch_tokens holds 2 of 64 tokens; give 192 or more"):
        _distill(teacher, text, tmp_path / "out", **alike, batch_tokens=128)
    tokenizer, short, tokens = load_tokenizer(resolve_encoder(str(teacher))), tmp_path / "short.txt", 0
    lines = text.read_text(encoding="utf-8").splitlines()
    while tokens < 1500:  # of which a tenth is held out: two sequences
        tokens += len(tokenizer(lines[-1], add_special_tokens=False)["input_ids"])
        with short.open("a", encoding="utf-8") as handle:
            handle.write(lines.pop() + "\n")
    with pytest.raises(DataError, match=r"takes 3 held-out sequences of 64 tokens, and the text has [12]; give more"):
        _distill(teacher, short, tmp_path / "out", **alike, batch_tokens=192)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": None}, "student is missing"),
        ({"student": "layers=0"}, "the shape 'layers=0' is not understood"),
        ({"student": "hidden=16"}, "it takes layers, and also hidden, heads, intermediate"),
        ({"student": "layers=1,layers=2"}, r"'layers=1,layers=2' is not understood \(layers is there twice\)"),
        ({"student": "layers=1,hidden=32.5"}, "'hidden=32.5' gives no whole number.*as in layers=6,hidden=256"),
        ({"student": "layers=1,hidden"}, "'hidden' gives no whole number"),
        ({"student": "layers=1,=2"}, "is not understood"),
        ({"layers": "3,1"}, "give different numbers in ascending order"),
        ({"layers": "1;3"}, "give different numbers in ascending order"),
        ({"layers": "1,2,3"}, "names 3 layers, and the student has 2"),
        ({"student": "somewhere", "layers": "1,3"}, "layers is for a student that starts from the teacher"),
        ({"hidden_loss": "none", "pooled_loss": "none"}, "there is nothing to learn"),
        ({"steps": None}, "give the budget either as steps"),
        ({"pooled_weight": 0}, "pooled_weight: Input should be greater than 0"),
    ],
)
def test_options_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_distill_options(_SMALL | {"steps": 1} | changes)


def test_a_shape_may_have_spaces_and_a_folder_an_equals_sign(tmp_path: Path) -> None:
    options = read_distill_options(_SMALL | {"steps": 1, "student": " layers = 1, hidden=32 "})
    assert options.shape() == StudentShape(layers=1, hidden=32)
    (folder := tmp_path / "layers=1").mkdir()
    assert read_distill_options(_SMALL | {"steps": 1, "student": str(folder)}).shape() is None


def test_resolved_options_resolve_to_themselves() -> None:
    options = read_distill_options(_SMALL | {"steps": 1, "layers": "1,3"})
    assert read_distill_options(options.model_dump(exclude_unset=True)) == options


def test_shorter_sequences_have_the_same_tokens_between_the_same_ends() -> None:
    ids = np.array([[2, *range(10, 24), 3], [2, *range(30, 44), 3]])
    assert cut_shorter(ids, 1) is ids
    assert cut_shorter(ids, 4).tolist() == [
        [2, 10, 11, 3],
        [2, 12, 13, 3],
        [2, 14, 15, 3],
        [2, 16, 17, 3],
        [2, 30, 31, 3],
        [2, 32, 33, 3],
        [2, 34, 35, 3],
        [2, 36, 37, 3],
    ]
    assert cut_shorter(ids, 2).shape == (4, 8)
