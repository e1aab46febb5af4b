"""Pretraining as a whole: it learns, its result opens elsewhere, and killing it changes nothing."""

import itertools
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tanzaku.errors import DataError, SpecError, TanzakuError
from tanzaku.pretraining.options import read_options
from tanzaku.pretraining.record import PretrainRecord, read_pretrain_record
from tanzaku.pretraining.run import pretrain
from tanzaku.pretraining.session import Begins
from tanzaku.training.events import HeldOutDone, Resumed, StepsDone, Stopped
from tests.checkpoints import make_roberta
from tests.forked import Forked, call

_SMALL: dict[str, Any] = {
    "shape": "2x32",
    "heads": 2,
    "vocabulary_size": 2000,
    "max_tokens": 32,
    "batch_tokens": 512,
    # What these tests ask for is the loop's own; new encoders' better beginnings have tests of their own.
    "optimizer": "adamw",
    "initial_embeddings": "random",
    "initial_positions": "random",
    "learning_rate": 5e-3,
    "evaluations": 4,
    "precision": "float32",
    "device": "cpu",
}
_KILLS = 3


def _pretrain(text: Path, out: Path, **changes: Any) -> tuple[PretrainRecord, list[Any]]:
    events: list[Any] = []
    record = pretrain([text], out, options=read_options(_SMALL | changes), report=events.append)
    assert record is not None
    return record, events


def _plain_transformers(folder: Path) -> dict[str, Any]:
    """What a fresh process sees that does not know Tanzaku."""
    script = (
        "import json, sys, torch\n"
        "from transformers import AutoModelForMaskedLM, AutoTokenizer\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "model, info = AutoModelForMaskedLM.from_pretrained(sys.argv[1], output_loading_info=True)\n"
        "encoded = tokenizer('新しい店の料理はとても[MASK]。', return_tensors='pt')\n"
        "logits = model(**encoded).logits\n"
        "print(json.dumps({'class': type(tokenizer).__name__, 'dtype': str(model.dtype),\n"
        "  'missing': sorted(info['missing_keys']), 'unexpected': sorted(info['unexpected_keys']),\n"
        "  'limit': tokenizer.model_max_length, 'finite': bool(torch.isfinite(logits).all()),\n"
        "  'masks': int((encoded['input_ids'] == tokenizer.mask_token_id).sum())}))\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], check=True, capture_output=True, text=True, env=environment
    )
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PretrainRecord, list[Any]]:
    out = tmp_path_factory.mktemp("trained") / "encoder"
    return out, *_pretrain(corpus, out, steps=240)


def test_a_new_encoder_trains_all_of_its_positions_on_short_sequences(corpus: Path, tmp_path: Path) -> None:
    record, _ = _pretrain(corpus, tmp_path / "encoder", steps=20, positions=48)
    assert record.encoder.positions == 48
    _pretrain(corpus, tmp_path / "start", steps=1, positions=48, learning_rate=1e-9)
    table = "bert.embeddings.position_embeddings.weight"
    after, before = (load_file(tmp_path / name / "model.safetensors")[table] for name in ("encoder", "start"))
    assert ((after - before).abs().amax(dim=1) > 1e-4).all()


def test_it_learns(trained: tuple[Path, PretrainRecord, list[Any]]) -> None:
    _, record, events = trained
    losses = [line.held_out_loss for line in record.history]
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 6.3 < 7.0 < next(event.loss for event in events if isinstance(event, StepsDone))
    assert record.history[-1].held_out_accuracy > 0.02


def test_the_record_tells_all(trained: tuple[Path, PretrainRecord, list[Any]], corpus: Path) -> None:
    out, record, _ = trained
    assert read_pretrain_record(out) == record
    assert record.steps == 240
    assert record.tokens_seen == 240 * 512
    assert record.options["steps"] == 240
    assert record.compute == {"device": "cpu", "precision": "float32", "attention": "eager", "path": "fast"}
    (source,) = record.sources
    assert source.name == corpus.name
    assert source.size == corpus.stat().st_size
    text = corpus.read_text(encoding="utf-8")
    assert source.characters == sum(len(line.strip()) for line in text.splitlines())
    assert record.stream.documents == 378
    assert record.machine["cpu"]
    assert record.versions["torch"] == torch.__version__


@pytest.mark.parametrize("changes", [{"fast": False}, {"attention": "sdpa"}], ids=["not fast", "attention named"])
def test_transformers_computes_the_same_where_it_is_asked_to(
    corpus: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    fast, _ = _pretrain(corpus, tmp_path / "fast", steps=8)
    record, _ = _pretrain(corpus, tmp_path / "transformers", steps=8, **changes)
    assert (fast.compute["path"], record.compute["path"]) == ("fast", "transformers")
    for line, other in zip(record.history, fast.history, strict=True):
        assert line.held_out_loss == pytest.approx(other.held_out_loss, abs=1e-4)
        assert line.train_loss == pytest.approx(other.train_loss, abs=1e-4)


@pytest.mark.gpu
def test_a_gpu_learns_what_a_cpu_learns_and_resumes(corpus: Path, tmp_path: Path) -> None:
    cpu, _ = _pretrain(corpus, tmp_path / "cpu", steps=40, fast=False)
    gpu, _ = _pretrain(corpus, tmp_path / "gpu", steps=40, device="cuda")
    low, _ = _pretrain(corpus, tmp_path / "low", steps=40, device="cuda", precision="bfloat16")
    assert gpu.compute == {"device": "cuda", "precision": "float32", "attention": "sdpa", "path": "transformers"}
    for one, two, three in zip(cpu.history, gpu.history, low.history, strict=True):
        assert two.held_out_loss == pytest.approx(one.held_out_loss, rel=2e-3)
        assert three.held_out_loss == pytest.approx(one.held_out_loss, rel=2e-2)
    events: list[Any] = []

    def stop() -> bool:
        return any(isinstance(event, HeldOutDone) for event in events)

    options, out = read_options(_SMALL | {"steps": 40, "device": "cuda", "optimizer": "muon"}), tmp_path / "stopped"
    assert pretrain([corpus], out, options=options, report=events.append, stop=stop) is None
    resumed = pretrain([corpus], out, options=options)
    whole = pretrain([corpus], tmp_path / "whole", options=options)
    assert resumed is not None
    assert whole is not None
    assert resumed.resumptions == 1
    assert resumed.history[-1].held_out_loss == pytest.approx(whole.history[-1].held_out_loss, rel=2e-3)


def test_an_encoder_of_another_kind_is_left_to_transformers(corpus: Path, tmp_path: Path) -> None:
    encoder = make_roberta(tmp_path / "roberta")
    only = {key: _SMALL[key] for key in ("batch_tokens", "max_tokens", "evaluations", "precision", "device")}
    options = read_options({**only, "from_encoder": str(encoder), "steps": 1})
    record = pretrain([corpus], tmp_path / "out", options=options)
    assert record is not None
    assert record.compute["path"] == "transformers"


def test_plain_transformers_opens_it(trained: tuple[Path, PretrainRecord, list[Any]]) -> None:
    out, _, _ = trained
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "model.safetensors",
        "record.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    assert _plain_transformers(out) == {
        "class": "BertJapaneseTokenizer",
        "dtype": "torch.float32",
        "missing": [],
        "unexpected": [],
        "limit": 32,
        "finite": True,
        "masks": 1,
    }


def test_a_second_phase_at_longer_sequences(
    trained: tuple[Path, PretrainRecord, list[Any]], corpus: Path, tmp_path: Path
) -> None:
    first, before, _ = trained
    only = {key: _SMALL[key] for key in ("batch_tokens", "evaluations", "precision", "device")}
    options = read_options(
        {**only, "from_encoder": str(first), "max_tokens": 128, "steps": 30, "save_dtype": "float16"}
    )
    events: list[Any] = []
    record = pretrain([corpus], tmp_path / "long", options=options, work=tmp_path, report=events.append)
    assert record is not None
    (begins,) = (event for event in events if isinstance(event, Begins))
    assert (begins.positions, begins.grown_from) == (128, 32)
    assert (record.encoder.from_positions, record.encoder.positions) == (32, 128)
    # Copied positions keep what was learned: the longer sequences are no worse to begin with.
    assert record.history[0].held_out_loss < before.history[-1].held_out_loss + 0.1
    seen = _plain_transformers(tmp_path / "long")
    assert (seen["dtype"], seen["limit"], seen["finite"], seen["missing"]) == ("torch.float16", 128, True, [])
    # What is not true of the result is not said.
    assert "vocabulary_size" not in record.options
    assert record.encoder.from_name == "encoder"
    assert "is_local" not in json.loads((tmp_path / "long" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert "Made from encoder with `tanzaku pretrain`" in (tmp_path / "long" / "README.md").read_text(encoding="utf-8")


def test_the_same_call_finds_the_result(
    trained: tuple[Path, PretrainRecord, list[Any]], corpus: Path, tmp_path: Path
) -> None:
    out, record, _ = trained
    assert _pretrain(corpus, out, steps=240) == (record, [])
    with pytest.raises(SpecError, match="holds another pretraining"):
        _pretrain(corpus, out, steps=241)
    (tmp_path / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(SpecError, match="holds something else"):
        _pretrain(corpus, tmp_path, steps=1)


def test_folders_that_could_not_be_written_in_the_end_are_refused_at_once(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, out = read_options(_SMALL | {"steps": 1}), tmp_path / "encoder"
    for work in (out, out / "work"):
        with pytest.raises(SpecError, match="is, or is in, the result's folder"):
            pretrain([corpus], out, options=options, work=work)
    with pytest.raises(SpecError, match=r"the text .* is, or is in, the result's folder"):
        pretrain([corpus], corpus.parent, options=options)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="is the current folder or has no name"):
        pretrain([corpus], Path(), options=options)
    assert not list(tmp_path.iterdir())


def test_text_of_which_the_vocabulary_knows_nothing_is_refused(
    trained: tuple[Path, PretrainRecord, list[Any]], tmp_path: Path
) -> None:
    (tmp_path / "thai.txt").write_text("ไก่\n\n" * 4000, encoding="utf-8")
    options = read_options({"from_encoder": str(trained[0]), "max_tokens": 32, "batch_tokens": 256, "steps": 1})
    with pytest.raises(DataError, match="has no piece of the held-out text"):
        pretrain([tmp_path / "thai.txt"], tmp_path / "out", options=options)


@pytest.mark.parametrize("changes", [{}, {"optimizer": "muon"}], ids=["adamw", "muon"])
def test_it_stops_between_steps_and_goes_on(corpus: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    options = read_options(_SMALL | {"steps": 40} | changes)
    events: list[Any] = []

    def stop() -> bool:
        return any(isinstance(event, HeldOutDone) for event in events)

    assert pretrain([corpus], tmp_path / "a", options=options, work=tmp_path, report=events.append, stop=stop) is None
    assert events[-1] == Stopped(10)
    assert not (tmp_path / "a").exists()
    record, events = _pretrain(corpus, tmp_path / "a.other", steps=40, **changes)
    again: list[Any] = []
    resumed = pretrain([corpus], tmp_path / "a", options=options, work=tmp_path, report=again.append)
    assert resumed is not None
    assert Resumed(10) in again
    assert resumed.resumptions == 1
    assert [line.held_out_loss for line in resumed.history] == [line.held_out_loss for line in record.history]
    assert [line.train_loss for line in resumed.history] == [line.train_loss for line in record.history]
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "a.other"))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_muon_learns_and_both_rates_follow_the_schedule(corpus: Path, tmp_path: Path) -> None:
    record, _ = _pretrain(corpus, tmp_path / "muon", steps=80, optimizer="muon")
    losses = [line.held_out_loss for line in record.history]
    assert losses == sorted(losses, reverse=True)
    assert record.options["muon_learning_rate"] == 0.02
    for line in record.history:
        assert line.muon_learning_rate is not None
        assert line.muon_learning_rate / 0.02 == pytest.approx(line.learning_rate / _SMALL["learning_rate"])
    adamw, _ = _pretrain(corpus, tmp_path / "adamw", steps=2)
    assert adamw.history[-1].muon_learning_rate is None


def _pretrain_and_print(text: Path, out: Path, changes: dict[str, Any]) -> None:
    def report(event: object) -> None:
        if isinstance(event, StepsDone):
            print("step", event.step, flush=True)

    pretrain([text], out, options=read_options(_SMALL | changes), report=report)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killing_it_changes_no_bit(corpus: Path, tmp_path: Path) -> None:
    # Dropout, so that PyTorch's own random state matters too.
    changes = {"steps": 100, "checkpoint_minutes": 0.0005, "dropout": 0.1}
    out = tmp_path / "killed"
    reference, _ = _pretrain(corpus, tmp_path / "whole", **changes)
    chance = random.Random(0)
    for _ in range(_KILLS):
        process = Forked(_pretrain_and_print, corpus, out, changes, folder=tmp_path)
        # Steps are done, a checkpoint is saved, and more steps are done.
        while process.poll() is None and process.output.count("step") < 2:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.1))
        process.kill()
    call(_pretrain_and_print, corpus, out, changes, folder=tmp_path)
    record = read_pretrain_record(out)
    assert record.resumptions == _KILLS
    one, other = (load_file(folder / "model.safetensors") for folder in (out, tmp_path / "whole"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    timeless = {"seconds"}
    assert [line.model_dump(exclude=timeless) for line in record.history] == [
        line.model_dump(exclude=timeless) for line in reference.history
    ]


def test_a_time_budget_is_kept_and_goes_on(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(step=0.1)  # each look at the clock
    monkeypatch.setattr("tanzaku.pretraining.loop.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    options = read_options(_SMALL | {"minutes": 0.2, "evaluations": 4})
    events: list[Any] = []

    def stop() -> bool:
        return sum(isinstance(event, HeldOutDone) for event in events) == 2

    out = tmp_path / "timed"
    assert pretrain([corpus], out, options=options, report=events.append, stop=stop) is None
    next(itertools.islice(seconds, 5000, None))  # between two sessions
    events.append(None)
    record = pretrain([corpus], out, options=options, report=events.append)
    assert record is not None
    assert record.resumptions == 1
    assert 12 <= record.seconds < 14
    assert [round(line.seconds) for line in record.history] == pytest.approx([3, 6, 9, 12], abs=1)
    shares = [event.progress for event in events if isinstance(event, StepsDone)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    rates = [line.learning_rate / _SMALL["learning_rate"] for line in record.history]
    assert rates == pytest.approx([0.79, 0.53, 0.26, 0.0], abs=0.05)


def test_bfloat16_learns_as_float32_does(corpus: Path, tmp_path: Path) -> None:
    ends = [
        _pretrain(corpus, tmp_path / precision, steps=80, precision=precision)[0].history[-1].held_out_loss
        for precision in ("float32", "bfloat16")
    ]
    assert ends[0] == pytest.approx(ends[1], abs=0.05)


def test_whole_words_untied_and_cosine(corpus: Path, tmp_path: Path) -> None:
    record, _ = _pretrain(
        corpus, tmp_path / "other", steps=10, whole_words=True, tie=False, schedule="cosine", max_tokens=64
    )
    assert "cls.predictions.decoder.weight" in load_file(tmp_path / "other" / "model.safetensors")
    assert record.steps == 10


def test_a_loss_that_is_no_number_is_an_error(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(TanzakuError, match=r"no longer a number .* lower --learning-rate"):
        _pretrain(corpus, tmp_path / "hot", steps=60, learning_rate=1e30, warmup=0.0)


def test_a_held_out_loss_that_is_no_number_is_an_error(corpus: Path, tmp_path: Path) -> None:
    """The only step has a loss, and its update ruins the weights."""
    with pytest.raises(TanzakuError, match=r"no longer a number by step 1; .* lower --learning-rate"):
        _pretrain(corpus, tmp_path / "hot", steps=1, learning_rate=1e38, warmup=0.0)
    assert not (tmp_path / "hot").exists()


def test_batches_without_a_piece_are_passed_over(
    trained: tuple[Path, PretrainRecord, list[Any]], corpus: Path, tmp_path: Path
) -> None:
    (text := tmp_path / "a.txt").write_text("[SEP]\n" * 8000 + corpus.read_text("utf-8")[:6000], encoding="utf-8")
    only = {"max_tokens": 32, "batch_tokens": 64, "steps": 8, "precision": "float32", "device": "cpu"}
    options = read_options({**only, "from_encoder": str(trained[0]), "held_out": 0.1, "evaluations": 8})
    record = pretrain([text], tmp_path / "out", options=options)
    assert record is not None
    assert 0.0 in [line.train_loss for line in record.history]
    assert record.history[-1].held_out_loss < 8


def test_one_process_at_a_time(corpus: Path, tmp_path: Path) -> None:
    def disturb(event: Any) -> None:
        if isinstance(event, Begins):
            with pytest.raises(TanzakuError, match="another process is already making this very encoder"):
                _pretrain(corpus, tmp_path / "twice", steps=2)

    pretrain([corpus], tmp_path / "twice", options=read_options(_SMALL | {"steps": 2}), report=disturb)
