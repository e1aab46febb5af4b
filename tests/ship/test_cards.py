"""The model card: what the Hub's own reader finds in it is what the bundle says of itself."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard

from tanzaku.analysis.evaluation import evaluate
from tanzaku.encoders.card import EncoderCard, read_card
from tanzaku.errors import TanzakuWarning
from tanzaku.exports.exporting import export
from tanzaku.measure.metrics import accuracy_interval
from tanzaku.ship.bundle import BundleFacts, TextBundleFacts, VectorsFacts, open_bundle, read_facts
from tanzaku.ship.cards.facts import present_splits
from tanzaku.ship.cards.write import write_card
from tanzaku.ship.classifier import Classifier
from tanzaku.ship.compress import compress
from tanzaku.ship.inspection import _changes
from tanzaku.ship.packing import pack
from tanzaku.study.plan import plan_study
from tanzaku.study.predictions import read_predictions
from tanzaku.study.run import run
from tanzaku.study.spec import StudySpec
from tanzaku.study.summary import ClassScores, SplitScores
from tests.kinds import encoder_facts
from tests.ship.conftest import METHODS, Study

_ENCODER_CARD = """---
license: [cc-by-sa-4.0]
base_model: owner/original
tags: [japanese]
---
# An encoder
"""


def _card(folder: Path) -> Any:
    return ModelCard.load(folder / "README.md", ignore_metadata_errors=False)


def _written(folder: Path, facts: BundleFacts, language: str = "en") -> Any:
    write_card(folder, facts, language="ja" if language == "ja" else "en")
    return _card(folder)


@pytest.mark.parametrize("method", METHODS)
def test_the_hubs_reader_finds_the_bundles_facts(study: Study, method: str) -> None:
    bundle = study.bundles[method]
    card, run = _card(bundle), read_facts(bundle).run
    found = card.data.to_dict()
    assert (found["language"], found["pipeline_tag"], found["library_name"]) == ("ja", "text-classification", "tanzaku")
    assert found["license"] == "unknown"
    assert "base_model" not in found
    assert {"tanzaku", "japanese", method} <= set(found["tags"])
    assert found["metrics"] == ["accuracy", "f1"]
    expected = {
        ("test", "accuracy"): (run.test.accuracy, run.test.accuracy_interval),
        ("test", "f1"): (run.test.macro_f1, run.test_macro_f1_interval),
        ("validation", "accuracy"): (run.val.accuracy, run.val.accuracy_interval),
        ("validation", "f1"): (run.val.macro_f1, run.val_macro_f1_interval),
    }
    results = card.data.eval_results
    sizes = {"test": len(study.dataset.test), "validation": len(study.dataset.val)}
    assert {(one.dataset_split, one.metric_type): one.metric_value for one in results} == {
        key: value for key, (value, _) in expected.items()
    }
    for one in results:
        interval = expected[one.dataset_split, one.metric_type][1]
        assert one.metric_args.get("interval_95") == (list(interval) if interval else None)
        assert one.dataset_args == {"documents": sizes[one.dataset_split]}
        assert (one.task_type, one.dataset_name) == ("text-classification", study.dataset.name)
    assert str(study.folder.parent) not in card.content  # no path of this machine


def test_intervals_and_classes_are_those_of_an_evaluation_on_the_test_set(study: Study) -> None:
    stored = read_predictions(study.runs["lora"])
    assert stored.probabilities is not None
    names = study.dataset.label_names
    classes, predicted, probabilities = map(np.array, (stored.classes, stored.predicted, stored.probabilities))
    found = evaluate(classes, predicted, probabilities, label_names=names)
    facts = read_facts(study.bundles["lora"])
    assert facts.run.test_macro_f1_interval == pytest.approx(found.macro_f1_interval)
    lines = _card(study.bundles["lora"]).text.splitlines()
    for name, one in zip(names, found.classes, strict=True):
        (line,) = [line for line in lines if line.startswith(f"| {name} |")]
        assert f"| {100 * one.recall:.2f} % (" in line
        assert one.recall_interval is not None
        assert f"({100 * one.recall_interval[0]:.2f}–{100 * one.recall_interval[1]:.2f} %)" in line
        assert f"| {one.documents:,} |" in line


def test_an_edited_card_is_kept_and_the_bundle_classifies(study: Study, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(study.bundles["tfidf-svm"], bundle)
    (bundle / "README.md").write_text("mine", encoding="utf-8")
    assert Classifier.load(bundle)(["海"])[0].label in study.dataset.label_names
    (bundle / "README.md").unlink()
    open_bundle(bundle)


def test_the_encoders_card_gives_licence_and_base_model(study: Study, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    shutil.copytree(study.encoder, encoder)
    (encoder / "README.md").write_text(_ENCODER_CARD, encoding="utf-8")
    bundle = pack(study.runs["head"], tmp_path / "bundle", encoder=str(encoder), language="ja")
    base = encoder_facts(bundle).base
    assert (base.license, base.made_from) == ("cc-by-sa-4.0", "owner/original")
    card = _card(bundle.folder)
    assert (card.data.license, card.data.base_model) == ("cc-by-sa-4.0", "owner/original")
    assert "encoder（owner/original から作成）" in card.text
    assert "ライセンスは不明です" not in card.text


def test_a_table_of_vectors_has_its_encoders_licence_and_base_model(study: Study, tmp_path: Path) -> None:
    encoder = shutil.copytree(study.encoder, tmp_path / "encoder")
    (encoder / "README.md").write_text(_ENCODER_CARD, encoding="utf-8")
    arm = {"method": "static", "vectors_from": str(encoder), "dimensions": 8}
    spec = StudySpec.model_validate({"name": "tiny", "data": {"source": "made by the test"}, "arms": [arm]})
    (planned,) = plan_study(spec, dataset=study.dataset, out=tmp_path / "runs").runs
    run(planned, dataset=study.dataset, study="tiny")
    card = _card(pack(planned.folder, tmp_path / "bundle").folder)
    assert (card.data.license, card.data.base_model) == ("cc-by-sa-4.0", "owner/original")
    assert "| Token vectors and tokenizer | encoder, made from owner/original |" in card.text
    assert "No licence is known" not in card.text
    assert str(tmp_path) not in card.content
    facts = read_facts(tmp_path / "bundle")
    assert isinstance(facts, TextBundleFacts)
    named = facts.model_copy(update={"vectors": VectorsFacts(name="owner/name", license="mit")})
    assert (_written(tmp_path, named).data.base_model, _card(tmp_path).data.license) == ("owner/name", "mit")
    shutil.rmtree(encoder)  # what is packed later only has its name
    assert _card(pack(planned.folder, tmp_path / "later").folder).data.license == "unknown"


def test_an_encoder_on_the_hub_is_the_base_model(study: Study, tmp_path: Path) -> None:
    facts = encoder_facts(open_bundle(study.bundles["head"]))
    named = facts.model_copy(update={"encoder": facts.encoder.model_copy(update={"name": "owner/name"})})
    assert _written(tmp_path, named).data.base_model == "owner/name"


@pytest.mark.parametrize(
    "content", ["", "---\nlicense: [a, b]\nbase_model: ../up\n---\n", "---\n- 1\n---\n", "---\n{\n---\n"]
)
def test_a_card_that_says_nothing_or_nonsense_is_no_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "README.md").write_text(content, encoding="utf-8")
    assert read_card(tmp_path) == EncoderCard()
    assert read_card(tmp_path / "missing") == EncoderCard()


def _renamed(facts: BundleFacts, names: tuple[str, ...]) -> BundleFacts:
    run = facts.run
    old = run.data.label_names
    classes = {new: (run.test_classes or {})[name] for new, name in zip(names, old, strict=True)}
    data = run.data.model_copy(update={"label_names": names, "name": "a: |-\n# x"})
    return facts.model_copy(
        update={"label_names": names, "run": run.model_copy(update={"data": data, "test_classes": classes})}
    )


def test_labels_and_names_that_are_markup_stay_what_they_are(
    study: Study, tmp_path: Path, read_table: Callable[[str], list[str]]
) -> None:
    names = ("a|b", "<script>", "`c`\nd")
    facts = _renamed(read_facts(study.bundles["tfidf-svm"]), names)
    card = _written(tmp_path, facts)
    assert card.data.eval_results[0].dataset_name == "a: |-\n# x"
    assert "<script>" not in card.text.replace("\\<script>", "")
    assert read_table(card.text) == ["a|b", "<script>", "`c` d"]


@pytest.fixture
def read_table() -> Callable[[str], list[str]]:
    """The first cells of the table of labels, unescaped."""

    def read(text: str) -> list[str]:
        lines = text.partition("## Labels")[2].partition("\n## ")[0].splitlines()
        rows = [line for line in lines if line.startswith("| ")][2:]
        first = (row.replace("\\|", "\0").split(" | ")[0].removeprefix("| ") for row in rows)
        return [cell.replace("\0", "|").replace("\\", "") for cell in first]

    return read


def test_a_card_in_japanese_has_the_same_facts(study: Study, tmp_path: Path) -> None:
    facts = read_facts(study.bundles["lora"])
    english, japanese = _written(tmp_path, facts), _written(tmp_path, facts, "ja")
    assert english.data.to_dict() == japanese.data.to_dict()
    headings = [line for line in japanese.text.splitlines() if line.startswith("## ")]
    assert headings[0] == "## 使い方"
    assert len(headings) == len([line for line in english.text.splitlines() if line.startswith("## ")])
    assert not any(word in japanese.text for word in ("This model", "documents"))


def test_scores_of_documents_that_were_trained_on_are_not_shown(study: Study, tmp_path: Path) -> None:
    facts = read_facts(study.bundles["tfidf-svm"])
    run = facts.run.model_copy(update={"test_is_validation": True})
    untested = facts.model_copy(update={"run": run})
    assert {one.dataset_split for one in _written(tmp_path, untested).data.eval_results} == {"validation"}
    calibration = facts.calibration.model_copy(update={"documents": 0})
    card = _written(tmp_path, untested.model_copy(update={"calibration": calibration}))
    assert card.data.eval_results is None
    assert "nothing is known of its accuracy" in card.text


_BEFORE = "These scores were measured before the weights were changed."


def _published(card: Any) -> dict[tuple[str, str], tuple[float, int, list[float] | None]]:
    return {
        (one.dataset_split, one.metric_type): (
            one.metric_value,
            one.dataset_args["documents"],
            one.metric_args.get("interval_95"),
        )
        for one in card.data.eval_results or ()
    }


def _of_validation(scores: SplitScores | None) -> dict[tuple[str, str], tuple[float, int, list[float] | None]]:
    assert scores is not None
    return {
        ("validation", "accuracy"): (scores.accuracy, scores.documents, list(scores.accuracy_interval)),
        ("validation", "f1"): (scores.macro_f1, scores.documents, None),
    }


def test_a_compressed_bundle_publishes_only_scores_of_its_own_weights(study: Study, tmp_path: Path) -> None:
    # More documents than the run's validation set has.
    dataset = replace(study.dataset, name="another", val=study.dataset.train)
    with pytest.warns(TanzakuWarning, match="the data another is not what the classifier was trained on"):
        small = compress(study.bundles["lora"], tmp_path / "measured", rank=1, dataset=dataset)
    measured = encoder_facts(small).compressed
    assert measured is not None
    card = _card(tmp_path / "measured")
    assert _published(card) == _of_validation(measured.val)
    assert {one.dataset_name for one in card.data.eval_results} == {"another"}
    assert f"On {len(dataset.val)} validation documents of another, the accuracy was" in card.text
    assert "rank = 8" in card.text
    assert "; compressed to rank 1 after training |" in card.text
    # The run's scores stay, with a sentence above each of the two tables.
    assert card.text.count(_BEFORE) == 2
    assert _BEFORE not in _card(study.bundles["lora"]).text

    compress(study.bundles["lora"], tmp_path / "unmeasured", rank=1)
    unmeasured = _card(tmp_path / "unmeasured")
    assert _published(unmeasured) == {}
    assert unmeasured.data.metrics is None
    # With the whole energy, the weights are those that the run measured.
    compress(study.bundles["lora"], tmp_path / "same", energy=1.0)
    assert _published(_card(tmp_path / "same")) == _published(_card(study.bundles["lora"])) != {}


def test_a_card_names_the_ranks_of_layers_that_differ(study: Study, tmp_path: Path) -> None:
    facts = encoder_facts(compress(study.bundles["lora"], tmp_path / "small", rank=1))
    assert facts.compressed is not None
    uneven = facts.model_copy(update={"compressed": facts.compressed.model_copy(update={"ranks": (1, 3)})})
    assert "; compressed to ranks from 1 to 3 after training |" in _written(tmp_path, uneven).text
    assert "（学習後にランク 1 ～ 3 に圧縮） |" in _written(tmp_path, uneven, "ja").text


def test_a_bundle_in_eight_bits_publishes_only_scores_of_its_own_weights(study: Study, tmp_path: Path) -> None:
    dataset = replace(study.dataset, name="another", val=study.dataset.train)
    with pytest.warns(TanzakuWarning, match="the data another is not what the classifier was trained on"):
        narrow = pack(study.runs["full"], tmp_path / "a", int8=True, dataset=dataset)
    quantized = encoder_facts(narrow).quantized
    assert quantized is not None
    card = _card(tmp_path / "a")
    assert _published(card) == _of_validation(quantized.val)
    assert {one.dataset_name for one in card.data.eval_results} == {"another"}
    assert f"On {len(dataset.val)} validation documents of another, the accuracy was" in card.text
    assert card.text.count(_BEFORE) == 2
    pack(study.runs["full"], tmp_path / "b", int8=True, compare=False)
    assert _published(_card(tmp_path / "b")) == {}
    # A bundle that is compressed later was measured then, or not at all.
    both = encoder_facts(open_bundle(tmp_path / "a"))
    cut = encoder_facts(compress(study.bundles["lora"], tmp_path / "cut", rank=1)).compressed
    both = both.model_copy(update={"compressed": cut})
    assert present_splits(both) == []
    text = _written(tmp_path, both).text
    assert text.index("The weights were stored in 8 bits") < text.index("The adapter was compressed after that")
    assert [change.split()[1] for change in _changes(both)] == ["lowered", "compressed"]


def test_an_export_in_eight_bits_publishes_no_scores_of_the_bundle(study: Study, tmp_path: Path) -> None:
    for dtype, expected in (("int8", 0), ("float32", 4)):
        out = tmp_path / dtype
        export(study.bundles["full"], out, to="onnx", dtype="int8" if expected == 0 else "float32")
        card = _card(out)
        assert len(_published(card)) == expected
        assert card.text.count(_BEFORE) == (0 if expected else 2)
        assert len(present_splits(read_facts(out))) == expected // 2


def test_a_label_that_was_only_given_wrongly_has_a_precision_of_zero(study: Study, tmp_path: Path) -> None:
    facts = read_facts(study.bundles["tfidf-svm"])
    names = facts.label_names
    never_right = ClassScores(precision=0, recall=0, f1=0, support=4, predicted=3)
    classes = dict(
        zip(
            names,
            (
                never_right,
                never_right.model_copy(update={"predicted": 0}),
                never_right.model_copy(update={"predicted": None}),  # packed before these were counted
            ),
            strict=True,
        )
    )
    run = facts.run.model_copy(update={"test_classes": classes})
    lines = _written(tmp_path, facts.model_copy(update={"run": run})).text.splitlines()
    rows = [line for name in names for line in lines if line.startswith(f"| {name} |")]
    of_three = f"0.00 % (0.00–{100 * accuracy_interval(0, 3)[1]:.2f} %)"
    assert [row.split(" | ")[1] for row in rows] == [of_three, "–", "–"]
