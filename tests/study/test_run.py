"""One run: the fast path learns what transformers' own forward learns, and the record says which was taken."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tanzaku.data.dataset import Documents
from tanzaku.encoders.load import load_tokenizer, resolve_encoder
from tanzaku.encoders.weights import read_weights
from tanzaku.study.engine import make_runs
from tanzaku.study.expansion import expand
from tanzaku.study.plan import plan_study
from tanzaku.study.planned import PlannedEncoderRun, PlannedTextRun
from tanzaku.study.record import CHECKPOINT_FOLDER, ComputeFacts, FinishedEncoderRun, FinishedTextRun, read_record
from tanzaku.study.run import LOGITS_FILE, data_facts, run, run_encoder
from tanzaku.study.spec import StudySpec, TextRunSpec
from tanzaku.training.events import Interrupted
from tests.checkpoints import make_roberta
from tests.kinds import adapted, encoder_run
from tests.tiny import VOCABULARY, make_dataset, make_encoder

DATASET = make_dataset(train=20, val=12, test=15)


def _run(
    encoder: Path,
    folder: Path,
    arm: dict[str, Any],
    should_stop: Callable[[], bool] = lambda: False,
    **training: Any,
) -> FinishedEncoderRun:
    content: dict[str, Any] = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 24},
        "arms": [arm],
        "training": {"epochs": 2, "learning_rate": 5e-3} | training,
    }
    planned = PlannedEncoderRun(encoder_run(StudySpec.model_validate(content)), folder, resolve_encoder(str(encoder)))
    return run_encoder(planned, dataset=DATASET, study="tiny", should_stop=should_stop)


def _losses(record: FinishedEncoderRun) -> list[float]:
    epochs = [value for epoch in record.history for value in (epoch.train_loss, epoch.val_loss)]
    return [*(loss for _, loss in record.training_curve), *epochs]


@pytest.mark.parametrize("reading", [{}, {"pooling": "mean", "long_text": "windows", "max_tokens": 10}])
@pytest.mark.parametrize("method", [{"method": "lora", "rank": 2, "dropout": 0.0}, {"method": "full"}])
def test_fast_and_transformers_have_equal_losses_in_float32(
    tiny_encoder: Path, tmp_path: Path, method: dict[str, Any], reading: dict[str, Any]
) -> None:
    records = {
        path: _run(
            tiny_encoder, tmp_path / path, method | reading, fast=path == "fast", precision="float32", log_steps=1
        )
        for path in ("fast", "transformers")
    }
    fast, own = records["fast"], records["transformers"]
    assert fast.compute == ComputeFacts(path="fast", precision="float32")
    assert own.compute == ComputeFacts(path="transformers", precision="float32")
    assert len(_losses(own)) == 6 + 4
    assert own.history[-1].val_loss != own.history[0].val_loss
    # The rounding of each step grows through AdamW, which divides small gradients by their own size.
    assert _losses(fast) == pytest.approx(_losses(own), rel=1e-4)
    logits = {path: np.load(tmp_path / path / LOGITS_FILE, allow_pickle=False) for path in records}
    np.testing.assert_allclose(logits["fast"], logits["transformers"], rtol=0, atol=1e-3)
    assert read_record(tmp_path / "fast") == fast


def test_the_record_counts_training_documents_that_are_not_read_in_full(tiny_encoder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(resolve_encoder(str(tiny_encoder)))
    lengths = [len(tokenizer(text)["input_ids"]) for text in DATASET.train.texts]
    longest = max(lengths)
    for most in (8, longest, longest + 1):
        folder = tmp_path / str(most)
        record = _run(tiny_encoder, folder, {"method": "head", "max_tokens": most}, epochs=1)
        assert record.partly_read == sum(length >= most for length in lengths)
        assert read_record(folder) == record


@pytest.mark.gpu
@pytest.mark.parametrize(
    "method", [{"method": "lora", "rank": 2, "dropout": 0.0}, {"method": "full"}, {"method": "qlora", "rank": 2}]
)
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "transformers"])
def test_a_gpu_learns_what_a_cpu_learns(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: dict[str, Any], fast: bool
) -> None:
    gpu = _run(tiny_encoder, tmp_path / "gpu", method, fast=fast, precision="float32", log_steps=1)
    low = _run(tiny_encoder, tmp_path / "low", method, fast=fast, precision="bfloat16", log_steps=1)
    monkeypatch.setattr("tanzaku.study.preparation._device", lambda: torch.device("cpu"))
    cpu = _run(tiny_encoder, tmp_path / "cpu", method, fast=fast, precision="float32", log_steps=1)
    assert gpu.compute == cpu.compute
    assert _losses(gpu) == pytest.approx(_losses(cpu), rel=2e-3)
    assert _losses(low) == pytest.approx(_losses(cpu), rel=0.1)
    assert gpu.costs.peak_gpu_memory_bytes
    ours, theirs = (np.load(tmp_path / name / LOGITS_FILE, allow_pickle=False) for name in ("gpu", "cpu"))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-2)


def test_what_the_fast_path_can_not_do_is_computed_by_transformers(tmp_path: Path) -> None:
    roberta = make_roberta(tmp_path / "roberta")
    record = _run(roberta, tmp_path / "run", {"method": "head"}, epochs=1, precision="float32")
    assert record.compute == ComputeFacts(path="transformers", precision="float32")


@pytest.mark.parametrize("fast", [False, True])
def test_bfloat16_is_recorded_and_learns_what_float32_learns(tiny_encoder: Path, tmp_path: Path, fast: bool) -> None:
    arm = {"method": "lora", "rank": 2}
    low = _run(tiny_encoder, tmp_path / "low", arm, fast=fast, precision="bfloat16")
    high = _run(tiny_encoder, tmp_path / "high", arm, fast=False, precision="float32")
    assert low.compute == ComputeFacts(path="fast" if fast else "transformers", precision="bfloat16")
    # Two epochs of rounding to 8 binary digits.
    assert _losses(low) == pytest.approx(_losses(high), rel=0.05)
    assert _losses(low) != _losses(high)


def test_a_record_shows_the_rate_of_every_group(tiny_encoder: Path, tmp_path: Path) -> None:
    arm = {"method": "lora", "rank": 2, "lora_plus_ratio": 4, "head_learning_rate": 2e-2, "schedule": "constant"}
    record = _run(tiny_encoder, tmp_path / "own", arm, log_steps=1)
    for epoch in adapted(read_record(tmp_path / "own")).history:
        assert epoch.learning_rate == 5e-3
        assert epoch.group_learning_rates == {"lora_b": 2e-2, "head": 2e-2}
    assert record.spec["method"]["lora_plus_ratio"] == 4
    one_rate = _run(tiny_encoder, tmp_path / "one", {"method": "lora", "rank": 2, "schedule": "constant"}, log_steps=1)
    assert [epoch.group_learning_rates for epoch in one_rate.history] == [{}, {}]
    assert _losses(one_rate)[0] == _losses(record)[0]
    assert _losses(one_rate)[1:] != _losses(record)[1:]


def test_what_a_killed_process_was_writing_is_removed(tiny_encoder: Path, tmp_path: Path) -> None:
    content = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(tiny_encoder), "max_tokens": 24},
        "arms": [{"method": "tfidf-svm"}],
    }
    plan = plan_study(StudySpec.model_validate(content), dataset=DATASET, out=tmp_path)
    (folder := plan.runs[0].folder / ".model.7-0a1b2c3d.tmp").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"half")
    (folder.parent / ".record.json.7-0a1b2c3d.tmp").write_bytes(b"half")
    list(make_runs(plan.runs, dataset=DATASET, study="tiny"))
    assert (folder.parent / "record.json").is_file()
    assert list(folder.parent.glob(".*.tmp")) == []


def test_whoever_may_read_the_folder_may_read_the_model(tiny_encoder: Path, tmp_path: Path) -> None:
    """Safetensors makes files that only their owner can read; others pack the runs of a shared folder."""
    _run(tiny_encoder, tmp_path, {"method": "lora", "rank": 2})
    files = [path for path in (tmp_path / "model").iterdir() if path.is_file()]
    assert files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o644}


def test_the_record_of_a_text_method_has_no_encoder(tmp_path: Path) -> None:
    content = {"name": "tiny", "data": {"source": "made by the test"}, "arms": [{"method": "tfidf-svm"}]}
    (spec,) = expand(StudySpec.model_validate(content))
    assert isinstance(spec, TextRunSpec)
    record = run(PlannedTextRun(spec, tmp_path), dataset=DATASET, study="tiny")
    assert isinstance(record, FinishedTextRun)
    assert read_record(tmp_path) == record
    assert not {"encoder", "compute", "best_epoch"} & set(record.model_dump())


def test_a_kill_before_the_record_is_written_loses_no_training(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm = {"method": "lora", "rank": 2}

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tanzaku.study.run.write_record", die)
        with pytest.raises(KeyboardInterrupt):
            _run(tiny_encoder, tmp_path / "killed", arm, precision="float32")
    again = _run(tiny_encoder, tmp_path / "killed", arm, precision="float32")
    undisturbed = _run(tiny_encoder, tmp_path / "undisturbed", arm, precision="float32")
    assert (again.resumptions, undisturbed.resumptions) == (1, 0)
    assert _losses(again) == _losses(undisturbed)
    assert [(tmp_path / name / CHECKPOINT_FOLDER).exists() for name in ("killed", "undisturbed")] == [False, False]


def test_it_stops_wherever_it_is_asked_to_and_goes_on(tiny_encoder: Path, tmp_path: Path) -> None:
    arm = {"method": "lora", "rank": 2}
    settings: dict[str, Any] = {"precision": "float32", "log_steps": 1}

    def ask(moment: int) -> Callable[[], bool]:
        questions = count(1)
        return lambda: next(questions) == moment

    undisturbed = _run(tiny_encoder, tmp_path / "undisturbed", arm, **settings)
    # Three steps and a validation in each of two epochs, and the two last classifications.
    for moment in (1, 4, 8, 9, 10):
        folder = tmp_path / str(moment)
        with pytest.raises(Interrupted):
            _run(tiny_encoder, folder, arm, ask(moment), **settings)
        record = _run(tiny_encoder, folder, arm, **settings)
        assert record.resumptions == 1
        assert _losses(record) == _losses(undisturbed)
        for name in (LOGITS_FILE, "model/adapter_model.safetensors"):
            assert (folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    _run(tiny_encoder, tmp_path / "late", arm, ask(11), **settings)


def test_documents_without_a_score_are_an_error_and_no_record(tmp_path: Path) -> None:
    """A weight may be finite and still too large to compute with; only a text that has its token shows it."""
    word = "谷"
    encoder = make_encoder(tmp_path / "encoder")
    source = resolve_encoder(str(encoder))
    weights = read_weights(source)
    weights["bert.embeddings.word_embeddings.weight"][VOCABULARY.index(word)] = 3e38
    save_file(weights, encoder / "model.safetensors", metadata={"format": "pt"})
    seen = Documents(tuple(text.replace(word, "木") for text in DATASET.train.texts), DATASET.train.labels)
    test = Documents((*seen.texts[:4], f"山に{word}がある。"), seen.labels[:5])
    dataset = replace(DATASET, train=seen, val=seen, test=test)
    spec = encoder_run(
        StudySpec.model_validate(
            {
                "name": "tiny",
                "data": {"source": "made by the test"},
                "encoder": {"name": str(encoder), "max_tokens": 24},
                "training": {"epochs": 1, "learning_rate": 5e-3, "precision": "float32"},
                "arms": [{"method": "head"}],
            }
        )
    )
    planned = PlannedEncoderRun(spec, tmp_path / "run", resolve_encoder(str(encoder)))
    with pytest.raises(FloatingPointError, match="1 of 5 documents have scores that are infinite or not numbers"):
        run_encoder(planned, dataset=dataset, study="tiny")
    assert not (tmp_path / "run" / "record.json").exists()


def test_the_record_counts_the_training_documents_of_each_class() -> None:
    facts = data_facts(DATASET)
    counted = dict(zip(facts.label_names, facts.train_documents_per_class, strict=True))
    assert counted == {name: list(DATASET.train.labels).count(name) for name in DATASET.label_names}
    assert sum(counted.values()) == facts.train_documents == 20
