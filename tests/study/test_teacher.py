"""Learning from a fine-tuned classifier inside a study: a bundle's soft labels on training texts and on others."""

import errno
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tanzaku.data.dataset import Dataset
from tanzaku.encoders.load import load_tokenizer, resolve_encoder
from tanzaku.errors import BundleError, DataError, SpecError, TanzakuError
from tanzaku.files import sha256_of_file
from tanzaku.measure.calibration import softmax
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.packing import pack
from tanzaku.study.naming import Namer, arms_of_runs
from tanzaku.study.plan import Plan, plan_study
from tanzaku.study.planned import PlannedEncoderRun
from tanzaku.study.record import FinishedEncoderRun
from tanzaku.study.run import run
from tanzaku.study.spec import DistillSpec, EncoderRunSpec, StudySpec
from tanzaku.study.teacher import soft_labels
from tanzaku.training.batches import UNLABELLED
from tests.kinds import encoder_run
from tests.study.compared import remount
from tests.tiny import make_dataset, make_documents, make_encoder

DATASET = make_dataset(train=24, val=12, test=12)


def _study(encoder: Path, *arms: dict[str, Any], name: str = "tiny", **training: Any) -> StudySpec:
    content: dict[str, Any] = {
        "name": name,
        "data": {"source": "made by the test"},
        "encoder": {"name": str(encoder), "max_tokens": 24},
        "training": {"epochs": 1, "learning_rate": 5e-3, "precision": "float32"} | training,
        "arms": list(arms),
    }
    return StudySpec.model_validate(content)


def _pack(encoder: Path, folder: Path, method: str, dataset: Dataset = DATASET) -> Path:
    plan = plan_study(_study(encoder, {"method": method}, epochs=3), dataset=dataset, out=folder / "runs")
    run(plan.runs[0], dataset=dataset, study="tiny")
    pack(plan.runs[0].folder, folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of another encoder than the student's."""
    folder = tmp_path_factory.mktemp("teacher")
    return _pack(make_encoder(folder / "encoder", layers=3), folder, "full")


@pytest.fixture(scope="module")
def further(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "unlabelled.txt"
    path.write_text("\n".join(make_documents(10, seed=9).texts) + "\n\n", encoding="utf-8")
    return path


def _plan(study: StudySpec, out: Path, dataset: Dataset = DATASET) -> Plan:
    return plan_study(study, dataset=dataset, out=out)


def _first(plan: Plan) -> PlannedEncoderRun:
    planned = plan.runs[0]
    assert isinstance(planned, PlannedEncoderRun)
    return planned


def test_soft_labels_are_the_bundles_logits_scored_once(
    tiny_encoder: Path, teacher: Path, further: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill: dict[str, Any] = {"teacher": str(teacher), "texts": str(further)}
    planned = _first(_plan(_study(tiny_encoder, {"method": "full", "distill": distill}), tmp_path))
    assert planned.teacher is not None
    assert len(planned.teacher.texts) == 10  # an empty line is no text
    texts = [*DATASET.train.texts, *planned.teacher.texts]
    predictions = Classifier.load(teacher)(texts, all_labels=True)
    rows = [[(prediction.probabilities or {})[name] for name in DATASET.label_names] for prediction in predictions]
    np.testing.assert_allclose(softmax(planned.teacher.scores), np.array(rows), rtol=1e-5, atol=1e-5)
    # Another seed and another temperature have the same soft labels, which are there already.
    monkeypatch.setattr("tanzaku.ship.teaching.BundleTeacher.scores", None)
    warmer = {"method": "full", "distill": {**distill, "temperature": 4}}
    again = _first(_plan(_study(tiny_encoder, warmer), tmp_path))
    assert again.teacher is not None
    assert np.array_equal(again.teacher.scores, planned.teacher.scores)
    assert again.run_id != planned.run_id


class _Counting:
    """A teacher whose scores count up, and that counts the texts of each call."""

    fingerprint, method, label_names = "f", "full", DATASET.label_names

    def __init__(self) -> None:
        self.calls: list[int] = []

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(len(texts))
        time.sleep(0.2)  # long enough for others to ask
        return np.arange(3 * len(texts), dtype=np.float32).reshape(len(texts), 3)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> _Counting:
    """The teacher of every bundle."""
    teacher = _Counting()
    monkeypatch.setattr("tanzaku.study.teacher._OPENER", SimpleNamespace(load=lambda: lambda folder: teacher))
    return teacher


def test_of_several_that_ask_at_once_one_scores_and_the_others_wait(tmp_path: Path, counting: _Counting) -> None:
    with ThreadPoolExecutor(4) as threads:
        asked = [
            threads.submit(soft_labels, DistillSpec(teacher="bundle"), dataset=DATASET, out=tmp_path) for _ in range(4)
        ]
        found = [one.result().scores for one in asked]
    assert counting.calls == [len(DATASET.train)]
    assert all(np.array_equal(one, found[0]) for one in found)


def test_a_full_disk_is_an_error_that_names_the_file_of_the_soft_labels(small_disk: Path, counting: _Counting) -> None:
    spec, dataset = DistillSpec(teacher="bundle"), make_dataset(train=8000)
    with pytest.raises(OSError, match="No space left on device") as caught:
        soft_labels(spec, dataset=dataset, out=small_disk)
    assert caught.value.errno == errno.ENOSPC
    named = Path(caught.value.filename)
    assert (named.parent.parent, named.name) == (small_disk / "teachers", "scores.npy")
    remount(small_disk, "size=1m")
    found = soft_labels(spec, dataset=dataset, out=small_disk)
    assert np.array_equal(found.scores, np.arange(24_000, dtype=np.float32).reshape(8000, 3))
    assert np.array_equal(np.load(named), found.scores)


def test_the_fingerprint_of_soft_labels_is_computed_once(tmp_path: Path, further: Path, counting: _Counting) -> None:
    plain, more = (
        soft_labels(DistillSpec(teacher="bundle", texts=texts), dataset=DATASET, out=tmp_path)
        for texts in (None, str(further))
    )
    assert more.fingerprint is more.fingerprint
    assert more.fingerprint != plain.fingerprint


def test_mistakes_are_found_before_the_teacher_is_asked(
    tiny_encoder: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tanzaku.ship.teaching.BundleTeacher.scores", None)
    distill = {"teacher": str(teacher)}
    with pytest.raises(SpecError, match="qurey"):
        _plan(_study(tiny_encoder, {"method": "lora", "targets": ["qurey"], "distill": distill}), tmp_path)
    missing = {"method": "static", "vectors_from": str(tmp_path / "none")}
    with pytest.raises(TanzakuError, match="none"):
        _plan(_study(tiny_encoder, {"method": "full", "distill": distill}, missing), tmp_path)


def test_texts_without_their_column_are_an_error_that_a_study_can_mend(
    tiny_encoder: Path, teacher: Path, tmp_path: Path
) -> None:
    (tmp_path / "more.csv").write_text("本文,分類\n空は青い。,空\n", encoding="utf-8")
    distill = {"teacher": str(teacher), "texts": str(tmp_path / "more.csv")}
    with pytest.raises(DataError, match="Name the one with the texts text") as caught:
        _plan(_study(tiny_encoder, {"method": "full", "distill": distill}), tmp_path)
    assert "--" not in str(caught.value)


def test_a_run_learns_from_it_and_its_record_says_from_which(
    tiny_encoder: Path, teacher: Path, further: Path, tmp_path: Path
) -> None:
    distill = {"teacher": str(teacher), "texts": str(further), "weight": 1.0, "temperature": 1.0}
    study = _study(tiny_encoder, {"method": "full", "distill": [False, distill]}, batch_size=4, epochs=4)
    plan = _plan(study, tmp_path)
    plain, soft = (run(planned, dataset=DATASET, study="tiny") for planned in plan.runs)
    assert isinstance(plain, FinishedEncoderRun)
    assert isinstance(soft, FinishedEncoderRun)
    assert plain.distillation is None
    assert soft.distillation is not None
    assert soft.distillation.teacher == "bundle"
    assert soft.distillation.teacher_fingerprint == sha256_of_file(teacher / "manifest.json")
    assert soft.distillation.teacher_method == "full"
    assert (soft.distillation.documents, soft.distillation.texts_sha256) == (10, sha256_of_file(further))
    # 24 documents are 6 steps, and with 10 more 9.
    assert [record.history[0].steps for record in (plain, soft)] == [6, 9]
    # With a weight of 1, the loss is only the divergence from the teacher, and falls towards 0.
    assert soft.history[-1].train_loss < 0.7 * soft.history[0].train_loss
    assert soft.data.train_documents == 24
    names = arms_of_runs([planned.spec for planned in plan.runs])
    assert [str(Namer(names).full(name)) for name in names] == [
        "Full fine-tuning",
        "Full fine-tuning, distilled from bundle and unlabelled.txt, temperature 1, weight 1",
    ]
    assert Namer(names).folder(names[1]).startswith("full-distilled-bundle-and-unlabelled.txt")


def test_windows_terms_and_weights_go_with_it(tiny_encoder: Path, teacher: Path, further: Path, tmp_path: Path) -> None:
    weighted = Dataset(
        name="tiny",
        train=DATASET.train.__class__(DATASET.train.texts, DATASET.train.labels, (1.0,) * 23 + (2.0,)),
        val=DATASET.val,
        test=DATASET.test,
        label_names=DATASET.label_names,
    )
    arm: dict[str, Any] = {"method": "lora+tfidf", "pooling": "mean", "long_text": "windows", "max_tokens": 10}
    arm["distill"] = {"teacher": str(teacher), "texts": str(further)}
    plan = _plan(_study(tiny_encoder, arm), tmp_path, weighted)
    record = run(plan.runs[0], dataset=weighted, study="tiny")
    assert isinstance(record, FinishedEncoderRun)
    assert record.distillation is not None


def test_the_training_documents_come_first_and_the_others_have_no_label(
    tiny_encoder: Path, teacher: Path, further: Path, tmp_path: Path
) -> None:
    from tanzaku.study.preparation import prepare_training, tokenized_splits
    from tanzaku.training.checkpoint import Checkpoints

    arm = {"method": "head", "distill": {"teacher": str(teacher), "texts": str(further)}}
    planned = _first(_plan(_study(tiny_encoder, arm), tmp_path))
    train, val, _ = tokenized_splits(planned.spec, DATASET, planned.encoder)
    prepared = prepare_training(
        planned.spec,
        train,
        val,
        planned.encoder,
        DATASET.label_names,
        Checkpoints(tmp_path / "checkpoints", identity="run"),
        lambda: False,
        teacher=planned.teacher,
    )
    both = prepared.training.train
    assert len(both) == 34
    assert both.classes.tolist() == [*train.classes.tolist(), *[UNLABELLED] * 10]
    assert planned.teacher is not None
    tokenizer = load_tokenizer(resolve_encoder(str(tiny_encoder)))
    for place, text in enumerate([*DATASET.train.texts, *planned.teacher.texts]):
        ids = tokenizer(text, truncation=True, max_length=24)["input_ids"]
        assert both.tokens[place].tolist() == ids
    batch = both.batch([33, 2])
    assert batch.soft is not None
    assert np.array_equal(batch.soft.numpy(), planned.teacher.scores[[33, 2]])


def test_word_counts_can_teach(tiny_encoder: Path, tmp_path: Path) -> None:
    bundle = _pack(tiny_encoder, tmp_path / "terms", "tfidf-svm")
    arm = {"method": "head", "distill": {"teacher": str(bundle)}}
    planned = _first(_plan(_study(tiny_encoder, arm), tmp_path / "runs"))
    assert planned.teacher is not None
    assert planned.teacher.facts.teacher_method == "tfidf-svm"
    assert planned.teacher.scores.shape == (24, 3)


def test_the_identity_follows_the_contents_and_not_the_names(tiny_encoder: Path, teacher: Path, tmp_path: Path) -> None:
    def identity(fingerprint: str | None, **distill: Any) -> str:
        spec: EncoderRunSpec = encoder_run(
            _study(tiny_encoder, {"method": "full", "distill": {"teacher": "a", **distill} if fingerprint else False})
        )
        return spec.identity(data_fingerprint="d", encoder_fingerprint="e", teacher_fingerprint=fingerprint)

    assert identity("one") == identity("one", teacher="elsewhere")
    identities = {identity(None), identity("one"), identity("two"), identity("one", weight=0.9)}
    assert len(identities) == 4


def test_teachers_that_can_not_be_used(tiny_encoder: Path, teacher: Path, further: Path, tmp_path: Path) -> None:
    def plan(teacher: Path, dataset: Dataset = DATASET, **distill: Any) -> Plan:
        arm = {"method": "head", "distill": {"teacher": str(teacher), **distill}}
        return _plan(_study(tiny_encoder, arm), tmp_path / "out", dataset)

    names = {"空": "sky", "海": "海", "山": "山"}
    renamed = Dataset(
        name="renamed",
        train=make_documents(12, seed=1).__class__(
            DATASET.train.texts, tuple(names[label] for label in DATASET.train.labels)
        ),
        val=DATASET.val,
        test=DATASET.test,
        label_names=("sky", "山", "海"),
    )
    with pytest.raises(SpecError, match="other labels than the data renamed: it lacks sky and also has 空"):
        plan(teacher, renamed)
    with pytest.raises(BundleError):
        plan(tmp_path / "nothing")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n", encoding="utf-8")
    with pytest.raises(SpecError, match="has no text"):
        plan(teacher, texts=str(empty))
