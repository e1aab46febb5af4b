"""Continued pretraining inside a study: on training texts alone, once, and exactly where it was killed."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tanzaku.analysis.arms import sections_of
from tanzaku.analysis.evidence import evidence_of
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.encoders.load import load_tokenizer, resolve_encoder
from tanzaku.errors import SpecError, TanzakuError
from tanzaku.pretraining.options import ContinuedOptions, PretrainOptions
from tanzaku.pretraining.record import read_pretrain_record
from tanzaku.pretraining.run import pretrain
from tanzaku.report.document import markdown_document
from tanzaku.study import pretrained
from tanzaku.study.engine import RunEnds, make_runs
from tanzaku.study.expansion import expand
from tanzaku.study.naming import Namer, arms_of_runs
from tanzaku.study.plan import plan_study
from tanzaku.study.pretrained import pretrained_encoder, pretraining_facts, text_of
from tanzaku.study.record import FinishedEncoderRun, FinishedTextRun
from tanzaku.study.runs import read_records
from tanzaku.study.spec import StudySpec
from tanzaku.training.events import StepsDone
from tanzaku.words import words_of
from tests.forked import Forked
from tests.kinds import encoder_run, of_encoders
from tests.study.made import make_pretrained
from tests.tiny import make_dataset

_OPTIONS = {"epochs": 2, "max_tokens": 16, "batch_tokens": 64, "learning_rate": 1e-3, "evaluations": 2, "held_out": 0.2}


def _options(**changes: object) -> ContinuedOptions:
    return ContinuedOptions.model_validate(_OPTIONS | changes)


def _study(name: Path, **changes: object) -> StudySpec:
    content: dict[str, object] = {
        "name": "tiny",
        "data": {"source": "made by the test"},
        "encoder": {"name": str(name), "max_tokens": 24, "pretrain": _OPTIONS},
        "training": {"epochs": 1, "learning_rate": 5e-3},
        "arms": [{"method": "head"}, {"method": "head", "pretrain": False}, {"method": "tfidf-svm"}],
    }
    return StudySpec.model_validate(content | changes)


def test_an_arm_switches_it_off_sets_its_own_or_compares(tmp_path: Path) -> None:
    arms = [{"method": "head"}, {"method": "full", "pretrain": False}, {"method": "lora", "pretrain": {"steps": 7}}]
    head, full, lora = of_encoders(expand(_study(tmp_path, arms=arms)))
    assert head.encoder.pretrain == _options()
    assert full.encoder.pretrain is None
    assert lora.encoder.pretrain == ContinuedOptions(steps=7)
    arms = [{"method": "head", "pretrain": [False, {"epochs": 1}, {"epochs": 2.5}]}]
    grid = of_encoders(expand(_study(tmp_path, arms=arms)))
    names = arms_of_runs(grid)
    assert [Namer(names).folder(arm) for arm in names] == [
        "head",
        "head-pretrained-1-epochs",
        "head-pretrained-2.5-epochs",
    ]


def test_arms_that_compute_the_pretraining_otherwise_have_encoders_of_their_own(
    tmp_path: Path, tiny_masked_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def note(text: str, folder: Path, options: object, *, progress: bool) -> None:
        made.append(folder.name)
        raise TanzakuError("only the name counts here")

    monkeypatch.setattr("tanzaku.study.pretrained._make_in_process", note)
    base = resolve_encoder(str(tiny_masked_encoder))
    for options in (_options(), _options(fast=False), _options(workers=2)):
        with pytest.raises(TanzakuError, match="only the name"):
            pretrained_encoder(base, options, texts=["海"], out=tmp_path)
    one, slow, other_workers = made
    assert one != slow
    assert one == other_workers


def test_a_run_without_it_has_the_identity_of_the_same_encoder_given_by_name(tmp_path: Path) -> None:
    run = encoder_run(_study(tmp_path, arms=[{"method": "head", "pretrain": False}]))
    plain = encoder_run(_study(tmp_path, encoder={"name": "x", "max_tokens": 24}, arms=[{"method": "head"}]))
    fingerprints = {"data_fingerprint": "d", "encoder_fingerprint": "e"}
    assert run.identity(**fingerprints) == plain.identity(**fingerprints)


@pytest.mark.parametrize(
    ("pretrain", "message"),
    [
        ({}, r"encoder: pretrain = {}: give the budget either as steps, as tokens, as minutes or as epochs"),
        ({"epochs": 1, "shape": "4x256"}, r"encoder: unknown key 'pretrain\.shape'; it takes max_tokens, .*epochs"),
        ({"epochs": 0}, r"pretrain\.epochs = 0: .*greater than 0"),
        (True, "pretrain = True"),
    ],
)
def test_what_is_refused(tmp_path: Path, pretrain: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        expand(_study(tmp_path, arms=[{"method": "head", "pretrain": pretrain}]))
    with pytest.raises(SpecError, match="unknown option 'pretrain'"):
        expand(_study(tmp_path, arms=[{"method": "tfidf-svm", "pretrain": False}]))


def test_a_text_is_a_document_whatever_its_lines(tmp_path: Path, tiny_masked_encoder: Path) -> None:
    texts = ["空\n\n雲\r\n\r\n風", "", " \n", "海が見る。"]
    assert text_of(texts) == "空\n雲\n風\n\n海が見る。\n\n"
    encoder = pretrained_encoder(resolve_encoder(str(tiny_masked_encoder)), _options(), texts=texts * 60, out=tmp_path)
    assert pretraining_facts(encoder).documents == 120


def _with_a_word_of_its_own(split: Documents, word: str) -> Documents:
    return replace(split, texts=tuple(text.replace("。", word) + word for text in split.texts))


def test_only_training_texts_are_read(
    tmp_path: Path, tiny_masked_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = make_dataset()
    dataset = Dataset(
        name="marked",
        train=_with_a_word_of_its_own(plain.train, "。"),
        val=_with_a_word_of_its_own(plain.val, "魚"),
        test=_with_a_word_of_its_own(plain.test, "鳥"),
        label_names=plain.label_names,
    )
    train = replace(dataset.train, texts=tuple(t.replace("魚", "海").replace("鳥", "山") for t in dataset.train.texts))
    dataset = replace(dataset, train=train)
    # In this process, with its work kept, so that the stream can be looked at.
    monkeypatch.setattr(pretrained, "_make_in_process", _make_here)
    monkeypatch.setattr("tanzaku.study.pretrained.shutil.rmtree", lambda *_, **__: None)
    plan_study(_study(tiny_masked_encoder), dataset=dataset, out=tmp_path)
    (ids_file,) = tmp_path.glob("encoders/*.work/tokens/*/ids.bin")
    seen = set(np.fromfile(ids_file, dtype=np.uint16).tolist())
    tokenizer = load_tokenizer(resolve_encoder(str(tiny_masked_encoder)))
    of = {word: tokenizer.convert_tokens_to_ids(word) for word in "海山。魚鳥"}
    assert {of["海"], of["山"], of["。"]} <= seen
    assert not {of["魚"], of["鳥"]} & seen
    (record,) = (read_pretrain_record(folder.parent) for folder in tmp_path.glob("encoders/*/record.json"))
    assert record.stream.documents == len(dataset.train)
    assert record.stream.characters == sum(len(text) for text in dataset.train.texts)
    (text_file,) = tmp_path.glob("encoders/*.work/*.txt")
    assert not any(label in text_file.name for label in dataset.label_names)


def _make_here(text: str, folder: Path, options: PretrainOptions, *, progress: bool) -> None:
    assert pretrained._make_alone(text, folder, options, progress, lambda: False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_study_compares_with_and_without(tmp_path: Path, tiny_masked_encoder: Path) -> None:
    study, dataset = _study(tiny_masked_encoder), make_dataset()
    plan = plan_study(study, dataset=dataset, out=tmp_path)
    ended = [
        event.record for event in make_runs(plan.runs, dataset=dataset, study="tiny") if isinstance(event, RunEnds)
    ]
    with_it, without, tfidf = ended
    assert [record.status for record in ended] == ["finished"] * 3
    assert isinstance(tfidf, FinishedTextRun)
    assert isinstance(with_it, FinishedEncoderRun)
    assert isinstance(without, FinishedEncoderRun)
    assert without.encoder.pretraining is None
    facts = with_it.encoder.pretraining
    assert facts is not None
    assert with_it.encoder.name == without.encoder.name == str(tiny_masked_encoder)
    assert facts.base_fingerprint == without.encoder.fingerprint != with_it.encoder.fingerprint
    made = read_pretrain_record(tmp_path / facts.folder)
    assert (facts.identity, facts.steps, facts.seconds) == (made.identity, made.steps, made.seconds)
    assert facts.held_out_loss == made.history[-1].held_out_loss < made.history[0].held_out_loss
    assert made.steps == 2 * made.stream.steps_per_epoch
    assert resolve_encoder(str(tmp_path / facts.folder)).fingerprint == with_it.encoder.fingerprint
    assert not list(tmp_path.glob("encoders/*.work"))
    assert {record.run_id for record in read_records(tmp_path)} == {record.run_id for record in ended}

    (section,) = sections_of(ended)
    assert len(section.arms) == 3
    evidence = evidence_of(section, {}, margin=0.005)
    report = markdown_document([section], [evidence], records=ended, figures={}, packs={}, words=words_of("en"))
    table = [[cell.strip() for cell in line.split("|")] for line in report.splitlines() if line.startswith("|")]
    column = table[0].index("Pretrain")
    assert sorted(
        row[column].partition(",")[0] for row in table if "Head only" in row and len(row) == len(table[0])
    ) == [
        "2 epochs",
        "none",
    ]
    assert f"on {len(dataset.train)} training texts, {facts.steps} steps" in report

    modified = {path: path.stat().st_mtime_ns for path in (tmp_path / facts.folder).iterdir()}
    again = plan_study(study, dataset=dataset, out=tmp_path)
    assert [run.run_id for run in again.runs] == [run.run_id for run in plan.runs]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / facts.folder).iterdir()} == modified
    assert all(
        event.found for event in make_runs(again.runs, dataset=dataset, study="tiny") if isinstance(event, RunEnds)
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_it_goes_on_and_ends_as_an_undisturbed_one(tmp_path: Path, tiny_masked_encoder: Path) -> None:
    options = _options(epochs=8, checkpoint_minutes=0.002)
    texts = make_dataset(train=400).train.texts
    base = resolve_encoder(str(tiny_masked_encoder))
    whole = pretrained_encoder(base, options, texts=texts, out=tmp_path / "whole")
    out = tmp_path / "killed"
    arguments = (tiny_masked_encoder, options, texts, out)
    process = Forked(make_pretrained, *arguments, folder=tmp_path)
    while process.poll() is None and not list(out.glob("encoders/*.work/checkpoints/*/step-*")):
        time.sleep(0.02)
    # Only the study's own process: its child must see that it is gone.
    process.kill()
    # Two at once: the second waits for the first.
    last = [Forked(make_pretrained, *arguments, folder=tmp_path) for _ in range(2)]
    assert [process.finish().strip() for process in last] == [whole.fingerprint] * 2
    (record_file,) = out.glob("encoders/*/record.json")
    assert read_pretrain_record(record_file.parent).resumptions > 0
    weights, expected = (load_file(folder / "model.safetensors") for folder in (record_file.parent, whole.folder))
    assert all(np.array_equal(weights[name], expected[name]) for name in expected)


def test_a_failure_says_why(tmp_path: Path, tiny_masked_encoder: Path) -> None:
    with pytest.raises(TanzakuError, match=r"could not be pretrained on the training texts: of the text's .* too few"):
        pretrained_encoder(resolve_encoder(str(tiny_masked_encoder)), _options(), texts=["空"], out=tmp_path)


def test_epochs_are_passes_over_the_text(tmp_path: Path, tiny_masked_encoder: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(text_of(make_dataset(train=200).train.texts), encoding="utf-8")
    events: list[object] = []
    options = _options(epochs=1.5).going_on_from(str(tiny_masked_encoder))
    record = pretrain([text], tmp_path / "out", options=options, report=events.append)
    assert record is not None
    assert record.steps == round(1.5 * record.stream.steps_per_epoch)
    assert record.history[-1].epoch == pytest.approx(1.5, abs=1 / record.stream.steps_per_epoch)
    assert [event.progress for event in events if isinstance(event, StepsDone)][-1] == 1.0
