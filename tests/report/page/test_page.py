"""The page's content and markup, without a browser."""

import html
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tanzaku.analysis.arms import sections_of
from tanzaku.analysis.mistakes import mistakes_of
from tanzaku.analysis.predictions import RunPredictions, run_key
from tanzaku.data.dataset import Dataset, Documents
from tanzaku.errors import BundleError, DataError
from tanzaku.report import write
from tanzaku.report.page import build
from tanzaku.ship.packing import pack
from tanzaku.study.record import RunRecord
from tanzaku.words import LANGUAGES, Language
from tests.report.page.colours import contrast
from tests.report.page.pages import page, seeds_study
from tests.report.page.trees import Tree
from tests.report.records import (
    at_ranks,
    baseline,
    data_facts,
    environment,
    failed,
    finished,
    lora,
    predictions_like,
    study,
    training,
    write_all,
)

STYLE = Path(build.__file__).with_name("page.css").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_whole_and_asks_for_nothing(language: Language) -> None:
    text = page(seeds_study(), language=language)
    tree = Tree(text)
    assert dict(tree.attributes)["html"] == {"lang": language}
    links = [value for _, attributes in tree.attributes for key, value in attributes.items() if key in ("src", "href")]
    assert links == ["data:,"]
    assert "url(" not in text
    assert "<script" not in text
    identifiers = [attributes["id"] for _, attributes in tree.attributes if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    named = [attributes.get("aria-labelledby") for tag, attributes in tree.attributes if tag in ("svg", "section")]
    assert all(name in identifiers for name in named if name)
    assert text == page(seeds_study(), language=language)


def test_the_page_names_its_data_and_encoder_and_writes_p_as_an_equation() -> None:
    text = page(seeds_study())
    assert "Data: livedoor. Encoder: small-encoder." in text
    assert re.search(r"\+?[−\d.]+, p = \d", text)


def test_the_recommendation_comes_first_with_its_reasons() -> None:
    words = Tree(page(seeds_study())).words
    take = words.index("Take LoRA r=8.")
    assert take < words.index("It is the smallest (1.2 MB) of the 2 arms") < words.index("Results")
    assert "95 % interval over 3 seeds and documents" in words
    assert "not distinguishable" in words
    assert (
        "variation between seeds of that side is not covered" not in words
    )  # TF-IDF has one run, which is all of them
    assert "one run counts for every seed" in words
    japanese = Tree(page(seeds_study(), language="ja")).words
    assert japanese.index("LoRA r=8 を使うとよいでしょう。") < japanese.index("全手法の結果")
    assert "区別できない" in japanese


def test_the_verdict_has_its_badge() -> None:
    small, large = finished(lora(2), accuracy=0.85), finished(lora(64), accuracy=0.9)
    lucky = large.model_copy(update={"val": finished(lora(2), accuracy=0.903).val})
    records = [small.model_copy(update={"val": large.val}), lucky]
    for margin, badge in ((0.005, "contradicted"), (0.05, "open"), (0.1, "confirmed")):
        classes = [attributes.get("class") or "" for _, attributes in Tree(page(records, margin=margin)).attributes]
        assert next(one for one in classes if one.startswith("badge")) == f"badge {badge}"
    assert "not tested" in Tree(page(records, predictions=False)).words


@pytest.mark.parametrize(
    ("language", "scope"), [("en", "other seeds are not covered"), ("ja", "別のシード")], ids=["en", "ja"]
)
def test_a_verdict_on_single_runs_is_of_these_models_alone(language: Language, scope: str) -> None:
    small, large = (finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.9), (64, 0.901)))
    card = _card(page([small, large], language=language, margin=0.05))
    assert card.count(scope) == 2  # the badge and the sentence
    seeds = [one.model_copy(update={"spec": one.spec | {"seed": 7}}) for one in (small, large)]
    assert _card(page([small, large, seeds[0]], language=language, margin=0.05)).count(scope) == 2
    assert scope not in _card(page([small, large, *seeds], language=language, margin=0.05))
    # Nothing is claimed of the test set.
    assert scope not in _card(page([small], language=language))
    assert scope not in _card(page([small, large], language=language, margin=0.05, predictions=False))


@pytest.mark.usefixtures("no_figures")
def test_the_commands_run_from_where_the_report_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = write_all([finished(lora(8), accuracy=0.9)], Path("runs") / "my study")
    (runs / "run-00" / "model").mkdir()
    write.write_report(runs, Path("out"))
    told = re.findall(r"<code>(.*?)</code>", Path("out/report.html").read_text(encoding="utf-8"))
    lines = [html.unescape(re.sub(r"</?span>", "", one)) for one in told]
    pack, run, report = (shlex.split(line) for line in lines if line.startswith("tanzaku"))
    assert pack == ["tanzaku", "pack", "runs/my study/run-00", "--out", "BUNDLE"]
    assert Path(pack[2]).is_dir()
    assert run == ["tanzaku", "study", "run"]
    assert report[:4] == ["tanzaku", "study", "report", "runs/my study"]


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("language", "instead"), [("en", "can't be packed"), ("ja", "バンドルにできません")], ids=["en", "ja"]
)
def test_archived_records_without_models_get_no_command_to_pack_them(
    tmp_path: Path, language: Language, instead: str
) -> None:
    runs = write_all([finished(lora(8), accuracy=0.9)], tmp_path / "records")
    write.write_report(runs, tmp_path / "out", language=language)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "tanzaku pack" not in text
    assert instead in Tree(text).words
    with pytest.raises(BundleError, match="no model/ folder"):
        pack(runs / "run-00", tmp_path / "bundle")


def _card(text: str) -> str:
    """The words of the recommendation."""
    words = Tree(text).words
    return words[: words.index("Results" if 'lang="en"' in text else "結果 ")]


def test_what_a_tie_is_is_told_where_there_is_one() -> None:
    apart = [finished(lora(rank), accuracy=accuracy) for rank, accuracy in ((2, 0.5), (64, 0.9))]
    told = "It does not mean that the two are equal."
    assert told not in Tree(page(apart)).words
    assert told in Tree(page([*apart, finished(lora(32), accuracy=0.9)])).words


def test_a_single_thing_is_not_told_as_several() -> None:
    machine = environment(cores=1, threads=1)
    runs = [
        finished(lora(8), accuracy=0.9, training=training(5e-4, epochs=epochs), environment=machine)
        for epochs in (1, 5)
    ]
    told, both = (Tree(page(some)).words for some in (runs[:1], runs))
    assert "1 run, 0 failed. This page" in told
    assert "1 run: Example CPU 3000, 1 core, 1 thread," in told
    assert "most of the 1 run misclassify" in told
    assert "All arms on the 3,686 test documents" in told
    assert "LoRA, 1 epoch" in both
    for words in (told, both):
        assert not re.search(r"(?<![\d.,])1 (runs|epochs|cores|threads)\b", words)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_missing_baseline_is_told(language: Language) -> None:
    told = {"en": "have no finished tfidf-svm run on this data", "ja": "完了した tfidf-svm の実行が記録にありません"}[
        language
    ]
    assert told in Tree(page([finished(lora(8), accuracy=0.9)], language=language)).words
    assert told not in Tree(page([finished(lora(8), accuracy=0.9), baseline()], language=language)).words


def test_the_losses_of_a_single_step_are_a_point_with_a_symbol_in_the_legend() -> None:
    (chart,) = _training_charts(page([finished(lora(8), accuracy=0.9, training_curve=((1, 2.1),))]))
    plot, legend = chart.split('<ul class="legend">')
    assert plot.count('class="mark"') == legend.count('class="mark"') == 1
    (chart,) = _training_charts(page([finished(lora(8), accuracy=0.9)]))
    assert 'class="mark"' not in chart
    assert 'class="line' in chart


def test_the_losses_of_a_method_with_several_ranks_are_not_without_a_rank() -> None:
    nested = finished({"name": "lora-nested", "ranks": [2, 8]}, accuracy=0.9)
    (chart,) = _training_charts(page([nested]))
    assert "Training loss: Nested LoRA" in chart
    _, others, several = _training_charts(
        page([nested, finished(lora(8), accuracy=0.9), finished({"name": "full"}, accuracy=0.9)])
    )
    assert "Training loss: Full fine-tuning" in others
    assert "Nested LoRA" not in others
    assert "Nested LoRA" in several


def _training_charts(text: str) -> list[str]:
    return [one for one in re.findall(r"<figure.*?</figure>", text, flags=re.DOTALL) if "Training loss" in one]


def test_everything_from_outside_is_escaped() -> None:
    evil = "<script>alert('x')</script>&\"|"
    names = (evil, "<img src=https://example.org/x.png>")
    facts = data_facts(names, name=evil)
    records: list[RunRecord] = [
        *(finished(lora(rank), accuracy=0.9, data=facts, study=evil, run_id=f"{evil}-{rank}") for rank in (2, 4)),
        failed(lora(8), error=evil, data=facts, study=evil),
    ]
    texts = tuple(f"{evil} {row}" for row in range(3686))
    dataset = Dataset(evil, Documents((), ()), Documents((), ()), Documents(texts, names * 1843), names)
    records = [
        record.model_copy(update={"data": record.data.model_copy(update={"fingerprint": dataset.fingerprint})})
        for record in records
    ]
    text = page(records, dataset=dataset)
    tree = Tree(text)
    assert not {"script", "img"} & {tag for tag, _ in tree.attributes}
    assert evil in "".join(tree.text)
    assert "alert('x')</script>" not in text


def test_sections_stand_apart_and_failed_runs_do_not_break_the_page() -> None:
    other = finished(lora(8), accuracy=0.8, data=data_facts(("a", "b"), fingerprint="f" * 64, name="other"))
    text = page([*study(), failed(lora(16), error="boom"), other])
    assert [tag for tag, _ in Tree(text).attributes].count("h1") == 1
    assert "2 groups of runs that can't be compared" in Tree(text).words
    assert "(LoRA r=16, lr 5e-4, seed 42) failed: boom" in Tree(text).words
    some: list[RunRecord] = [finished(lora(8), accuracy=0.9, seed=1), failed(lora(8), error="boom", seed=2), baseline()]
    assert "1 + 1 failed" in Tree(page(some)).words
    assert "Nothing can be recommended" in Tree(page([failed(lora(8), error="boom")])).words


def test_the_documents_listed_are_those_that_all_runs_get_wrong() -> None:
    records = [finished(lora(2), accuracy=0.8), *(finished(lora(8), accuracy=0.9, seed=seed) for seed in (1, 2))]
    generator = np.random.default_rng(0)
    classes = np.array(predictions_like(records[0])[0])
    known = {
        run_key(record): RunPredictions(
            classes, np.where(generator.random(len(classes)) < 0.9, classes, (classes + 1) % 9)
        )
        for record in records
    }
    (section,) = sections_of(records)
    found = mistakes_of(section, [section.arms[1]], known, dataset=None)
    assert found is not None
    wrong = [known[run_key(record)].predicted != classes for record in records]
    expected = np.flatnonzero(wrong[1] & wrong[2])
    assert found.total == len(expected)
    assert {one.row - 1 for one in found.shown} <= set(expected.tolist())
    times = [one.wrong for one in found.shown]
    assert times == sorted(times, reverse=True)
    assert all(one.wrong == sum(bool(run[one.row - 1]) for run in wrong) for one in found.shown)
    assert all(one.excerpt is None for one in found.shown)


def test_other_data_than_the_runs_own_is_refused(tmp_path: Path) -> None:
    runs = write_all([finished(lora(8), accuracy=0.9)], tmp_path / "runs")
    dataset = Dataset("mine", Documents((), ()), Documents((), ()), Documents(("a",), ("b",)), ("b",))
    with pytest.raises(DataError, match="'mine' has the fingerprint"):
        write.write_report(runs, tmp_path / "report", dataset=dataset)


@pytest.mark.parametrize(("language", "rate"), [("en", "lr"), ("ja", "学習率")])
def test_a_narrow_column_does_not_part_a_setting_from_its_value(language: Language, rate: str) -> None:
    records = [finished(lora(8), accuracy=0.9, training=training(rate)) for rate in (5e-4, 5e-5)]
    text = page(records, language=language)
    assert f"LoRA, {rate}\u00a05e-\u20604" in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_the_contrast_that_wcag_asks_for(scheme: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, flags=re.DOTALL)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if scheme == "light" else dark))
    texts = [("ink", "paper"), ("ink", "card"), ("quiet", "paper"), ("quiet", "card"), ("quiet", "chosen")]
    texts += [("ink", "grid"), ("on-accent", "accent"), ("good", "card"), ("bad", "card"), ("bad", "chosen")]
    texts += [(name, f"{name}-back") for name in ("good", "open", "bad")]
    for front, back in texts:
        assert _contrast(colours[front], colours[back]) >= 4.5, (front, back)
    for look in range(6):
        assert _contrast(colours[f"look-{look}"], colours["card"]) >= 3, look
    # The darkest cell of the confusion matrix that is not `full`.
    slope, least = map(float, re.findall(r"--share, 0\)(?: \* 100, 1\))? \* (\.\d+)", STYLE))
    opacity, accent = 0.5 * slope + least, bytes.fromhex(colours["accent"][1:])
    card = bytes.fromhex(colours["card"][1:])
    cell = [round(over * opacity + under * (1 - opacity)) for over, under in zip(accent, card, strict=True)]
    assert contrast(bytes.fromhex(colours["ink"][1:]), cell) >= 4.5


def _contrast(one: str, other: str) -> float:
    return contrast(bytes.fromhex(one[1:]), bytes.fromhex(other[1:]))


def test_one_adapter_at_several_ranks_has_a_part_of_its_own() -> None:
    whole = at_ranks(finished(lora(8, truncate=[2, 8]), accuracy=0.9), {2: 0.8, 8: 0.9})
    records = [whole, finished(lora(2), accuracy=0.88)]
    words = Tree(page(records)).words
    part = words[words.index("One adapter at several ranks") :]
    assert "LoRA r=8: the trained adapter at each rank" in part
    assert "2 80.01 78.68–81.27 88.01 worse −8.00, p < 0.0001 −8.90 to −7.14" in part
    assert "8 89.99 88.98–90.92 itself –" in part
    assert "108 s in total. One run of each of the 2 arms" in part
    assert "LoRA, cut from r=8 LoRA, each rank trained" in part
    svg = [attributes.get("aria-labelledby") for tag, attributes in Tree(page(records)).attributes if tag == "svg"]
    assert "chart-1-curves" in svg
    japanese = Tree(page(records, language="ja")).words
    assert "1 つのアダプターの、複数のランクでの結果" in japanese
    assert "LoRA、r=8 から縮小" in japanese
    alone = Tree(page([whole])).words
    assert "the trained adapter at each rank" in alone
    assert "Trained separately" not in alone
    assert "several ranks" not in Tree(page(study())).words


def test_settings_have_names_that_can_be_read() -> None:
    text = page(seeds_study())
    assert "longest n-gram 2" in text
    assert "LoRA: α = r, dropout 0.1" in text
    japanese = page(seeds_study(), language="ja")
    assert "最長の n-gram 2" in japanese
    assert "α = r、" in japanese


def test_options_in_sentences_are_set_as_code() -> None:
    assert "With the option <code><span>--data</span></code> FOLDER" in page(seeds_study())


def test_a_chart_says_that_equal_arms_are_drawn_side_by_side() -> None:
    said = "Arms at the same place are drawn next to each other."
    assert said not in page(seeds_study())
    assert said in page([finished(method, accuracy=0.9) for method in (lora(8), lora(8, dora=True))])


def test_a_line_does_not_end_between_a_number_and_its_unit() -> None:
    sentences = re.findall(r"<(?:p|li|dd|caption)\b[^>]*>(.*?)</", page(seeds_study()), re.DOTALL)
    units = [unit for sentence in sentences for unit in re.findall(r"\d(\s)(?:%|MB\b|ms\b)", sentence)]
    assert len(units) > 5
    assert set(units) == {"\u00a0"}
