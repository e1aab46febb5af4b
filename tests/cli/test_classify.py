"""`tanzaku pack` and `tanzaku classify`; as processes where pipes are in question."""

import csv
import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from tanzaku.cli import app
from tanzaku.data.prepared import Preparation, write_prepared
from tanzaku.errors import TanzakuError
from tanzaku.ship.bundle import open_bundle
from tanzaku.ship.certificate import read_certificate
from tanzaku.ship.classifier import Classifier
from tests.kinds import encoder_facts
from tests.ship.conftest import Study, study

__all__ = ["study"]  # the fixture

TEXTS = ['海に"船"、\n島', "山, 木", "空\rと雲\t風", "", "🌊"]


def _tanzaku(*arguments: object, given: bytes | None = None) -> Result:
    done = CliRunner().invoke(app, list(map(str, arguments)), input=given)
    assert done.exit_code == 0, (done.stderr, done.exception)
    return done


def _fails(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert isinstance(done.exception, TanzakuError)
    return str(done.exception)


def _start(*arguments: object, **streams: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tanzaku", *map(str, arguments)], **streams)


@pytest.fixture(scope="module")
def labels(study: Study) -> list[str]:
    return [prediction.label for prediction in Classifier.load(study.bundles["lora"])(TEXTS)]


def test_pack_says_what_it_took_and_classify_finds_it(study: Study, tmp_path: Path) -> None:
    done = _tanzaku("pack", study.folder, "--out", tmp_path / "bundle")
    assert done.stdout == f"{tmp_path / 'bundle'}\n"
    said = done.stderr
    assert "validation accuracy" in said
    assert f"Next: tanzaku classify {tmp_path / 'bundle'} TEXT" in said
    lines = _tanzaku("classify", tmp_path / "bundle", "海に船がある。", "山").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["海に船がある。", "山"]


def test_pack_says_that_an_adapter_needs_its_encoder(study: Study, tmp_path: Path) -> None:
    needs = "Classifying needs the encoder"
    said = _tanzaku("pack", study.runs["lora"], "--out", tmp_path / "a").stderr
    assert needs in said
    # The reports' size is only what was trained, so the rest of the megabytes is named too.
    total = re.search(r"([\d.]+) MB", said)
    parts = re.search(r"In MB: ([\d.]+) what was trained, ([\d.]+) the tokenizer .*, ([\d.]+) facts", said)
    assert total
    assert parts
    assert sum(map(float, parts.groups())) == pytest.approx(float(total[1]), abs=0.01)
    whole = _tanzaku("pack", study.runs["lora"], "--out", tmp_path / "b", "--with-encoder").stderr
    assert needs not in whole


def test_pack_says_what_eight_bits_changed(study: Study, tmp_path: Path) -> None:
    write_prepared(Preparation(study.dataset, source={}, options={}), tmp_path / "data")
    done = _tanzaku("pack", study.runs["full"], "--out", tmp_path / "a", "--int8", "--data", tmp_path / "data")
    quantized = encoder_facts(open_bundle(tmp_path / "a")).quantized
    assert quantized is not None
    changed, documents = quantized.changed, len(study.dataset.val)
    assert f"8 bits changed the label of {changed} of {documents} validation documents: accuracy" in done.stderr
    done = _tanzaku("pack", study.runs["full"], "--out", tmp_path / "b", "--int8")
    assert "How many labels this changed was not measured" in done.stderr
    assert "--data" in _fails("pack", study.runs["full"], "--out", tmp_path / "c", "--data", tmp_path / "data")


def test_eight_bits_are_certified(study: Study, tmp_path: Path) -> None:
    done = _tanzaku("pack", study.runs["full"], "--out", tmp_path / "a", "--int8", "--max-flips", 100)
    certificate = read_certificate(tmp_path / "a")
    assert (certificate.form, certificate.dtype) == ("bundle", "int8")
    assert certificate.token_ids_equal == certificate.texts > 0
    assert certificate.after.size_bytes < certificate.before.size_bytes
    assert "labels that changed" in done.stderr
    open_bundle(tmp_path / "a")  # the certificate is one of the files in the manifest
    assert "--int8" in _fails("pack", study.runs["full"], "--out", tmp_path / "b", "--max-flips", 1)


def test_lines_from_a_pipe_become_a_json_line_each(study: Study) -> None:
    given = "海に船がある。\n\n山\n\n"
    for arguments in ([], ["-"], ["--file", "-"]):
        done = _tanzaku("classify", study.bundles["lora"], *arguments, given=given.encode())
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert [row["text"] for row in rows] == ["海に船がある。", "", "山", ""]
        assert [row["number"] for row in rows] == [1, 2, 3, 4]
        assert all(0 < row["probability"] <= 1 for row in rows)
        assert done.stderr == "warning: 2 texts are empty (number 2, 4): the label of an empty text is meaningless\n"


def test_invisible_characters_are_counted_and_texts_of_nothing_else_are_empty(study: Study) -> None:
    given = "海に船がある。\n\u200b\x07\n\0海に\u200b船がある。\n"
    done = _tanzaku("classify", study.bundles["lora"], "--precision", "float32", given=given.encode())
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == given.splitlines()
    assert rows[0]["score"] == pytest.approx(rows[2]["score"])
    assert done.stderr == (
        "warning: 1 text is empty (number 2): the label of an empty text is meaningless\n"
        "warning: 1 text contains control or invisible characters (number 3): they are read as spaces or ignored\n"
    )


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_separated_values_round_trip_whatever_the_text(
    study: Study, labels: list[str], tmp_path: Path, kind: str, delimiter: str
) -> None:
    path = tmp_path / "texts.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, quoting=csv.QUOTE_ALL).writerows([["body"], *([text] for text in TEXTS)])
    command = ["classify", study.bundles["lora"], "--file", path, "--column", "body", "--format", kind]
    printed = _tanzaku(*command).stdout_bytes.decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(printed, newline=""), delimiter=delimiter))
    assert [row["text"] for row in rows] == TEXTS
    assert [row["label"] for row in rows] == labels
    without = _tanzaku(*command, "--no-text").stdout.splitlines()
    assert without[0] == delimiter.join(["number", "label", "probability", "score"])
    assert len(without) == 1 + len(TEXTS)


def test_a_spreadsheet_is_classified_by_several_columns_and_keeps_the_others(study: Study, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.create_sheet("受信").append(["番号", "題", "本文"])
    book["受信"].append([7, "海に", "船がある。"])
    book["受信"].append([8, None, "山"])
    book.save(tmp_path / "a.xlsx")
    columns = ("--column", "題", "--column", "本文", "--text-separator", "", "--precision", "float32")
    done = _tanzaku("classify", study.bundles["lora"], tmp_path / "a.xlsx", *columns, "--keep-columns")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["番号"], row["題"], row["本文"]) for row in rows] == [("7", "海に", "船がある。"), ("8", "", "山")]
    expected = Classifier.load(study.bundles["lora"], precision="float32")(["海に船がある。", "山"])
    assert [row["score"] for row in rows] == pytest.approx([one.score for one in expected], abs=1e-5)


def test_top_shows_the_likeliest_labels_and_no_more_than_there_are(study: Study) -> None:
    done = _tanzaku("classify", study.bundles["lora"], "海", "--top", 9)
    row = json.loads(done.stdout)
    assert {entry["label"] for entry in row["top"]} == set(study.dataset.label_names)
    assert row["top"][0]["label"] == row["label"]
    assert sum(entry["probability"] for entry in row["top"]) == pytest.approx(1)
    done = _tanzaku("classify", study.bundles["lora"], "海", "--top", 2, "--format", "csv")
    header, values = done.stdout.splitlines()
    assert header == "number,text,label,probability,score,label_2,probability_2,score_2"
    assert len(values.split(",")) == 8


def test_a_table_has_a_line_a_text_and_tfidf_has_probabilities_too(study: Study) -> None:
    texts = ["海に\n船がある。", "山" * 200]
    lines = _tanzaku("classify", study.bundles["lora"], *texts, "--format", "table").stdout.splitlines()
    assert lines[0].split() == ["label", "probability", "text"]
    assert len(lines) == 3
    assert lines[1].endswith("%  海に 船がある。")
    assert lines[2].endswith("…")
    lines = _tanzaku("classify", study.bundles["tfidf-svm"], *texts, "--format", "table").stdout.splitlines()
    assert lines[0].split() == ["label", "probability", "text"]
    assert lines[1].endswith("%  海に 船がある。")


def test_unsure_texts_get_another_label_and_a_suggestion(study: Study, tmp_path: Path) -> None:
    texts = study.dataset.test.texts
    (tmp_path / "texts.csv").write_text("\n".join(["text", *texts]) + "\n", encoding="utf-8")
    command = ["classify", study.bundles["tfidf-svm"], tmp_path / "texts.csv"]
    plain = [json.loads(line) for line in _tanzaku(*command).stdout.splitlines()]
    assert all("suggestion" not in row for row in plain)
    lowest = sorted(row["probability"] for row in plain)[len(plain) // 2]
    done = _tanzaku(*command, "--min-probability", f"{100 * lowest}%", "--otherwise", "その他", "--top", 2)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    answered = 0
    for row, before in zip(rows, plain, strict=True):
        if before["probability"] >= lowest - 1e-9 and row["suggestion"] is None:
            answered += 1
            assert row["label"] == before["label"]
        else:
            assert (row["label"], row["suggestion"]) == ("その他", before["label"])
        assert row["top"][0]["label"] == before["label"]
    assert f"{answered} of {len(rows)} texts are answered" in done.stderr
    assert "the others have the label 'その他'" in done.stderr
    header, *lines = _tanzaku(*command, "--min-probability", "99.99%", "--format", "csv").stdout.splitlines()
    assert header == "number,text,label,probability,score,suggestion"
    assert all(line.split(",")[2] == "" and line.endswith(plain[row]["label"]) for row, line in enumerate(lines))


def test_an_error_rate_is_promised_or_refused_and_percentages_are_checked(study: Study) -> None:
    bundle = study.bundles["tfidf-svm"]
    done = _tanzaku("classify", bundle, "海", "--error-rate", "30%", "--confidence", "60%", "--otherwise", "その他")
    assert "With 60 % confidence, at most 30 % of the answers are wrong" in done.stderr
    assert "of these, " in done.stderr
    assert " of 18 (" in done.stderr
    assert "can't be promised with 95 % confidence" in _fails("classify", bundle, "海", "--error-rate", "2%")
    for options, message in (
        (["--error-rate", "2"], "--error-rate 2 is not a percentage over 0% and below 100%; write it such as 2%"),
        (["--min-probability", "100%"], "--min-probability 100% is not a percentage"),
        (["--error-rate", "x%"], "--error-rate x% is not a percentage"),
        (["--error-rate", "2%", "--min-probability", "80%"], "both set the threshold; give one"),
        (["--otherwise", "その他"], "--otherwise その他 only has an effect with"),
    ):
        assert message in _fails("classify", bundle, "海", *options)


def test_a_pipe_that_closes_ends_it_quietly_and_other_locales_print_utf8(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("海に船がある。\n" * 20_000, encoding="utf-8")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = ["classify", study.bundles["tfidf-svm"], "--file", path]
    with _start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | locale) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["text"] == "海に船がある。"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_an_answer_comes_before_the_next_line_with_a_chunk_of_one(study: Study) -> None:
    command = ["classify", study.bundles["tfidf-svm"], "--chunk", 1]
    with _start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in ("海", "山"):
            process.stdin.write(f"{text}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text
        assert process.communicate()[0] == b""


def test_an_error_is_one_line(study: Study) -> None:
    with _start("classify", study.encoder, "海", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        output, errors = process.communicate()
    assert process.returncode == 1
    assert output == b""
    assert errors.decode().startswith("error: ")
    assert errors.decode().count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["海", "--file", "x.txt"], "texts and --file were both given"),
        (
            ["海", "--column", "body"],
            "--column can't have an effect on texts and standard input, which have no columns",
        ),
        (["海", "--sheet", "a", "--delimiter", ";", "--no-quotes"], "--delimiter, --no-quotes, --sheet can't have an"),
        (["--file", "x.csv", "--sheet", "a"], "--sheet can't have an effect on x.csv; leave it out"),
        (["--file", "x.xlsx", "--encoding", "cp932"], "--encoding can't have an effect on x.xlsx; leave it out"),
        (["海", "--confidence", "90%"], "--confidence 90% only has an effect with --error-rate; give that too"),
        (["海", "--error-rate", "30%", "--confidence", "0.000000001%"], "confidence = 1.0.*e-11; give a share from"),
        (["--file", "nowhere.txt"], "nowhere.txt: there is no such file"),
        (["nowhere.csv"], "nowhere.csv: there is no such file.*to classify the name itself, pipe it in"),
        (["海", "nowhere.XLSX"], "nowhere.XLSX: there is no such file"),
        (["海", "--keep-columns"], "--keep-columns needs a file with columns"),
        (["--file", "x.csv", "--format", "table", "--keep-columns"], "needs --format csv, tsv or jsonl"),
        (
            ["--file", "x.csv", "--format", "csv", "--keep-columns", "--no-text"],
            "--no-text has no effect with --keep-columns",
        ),
        (["海", "--output-encoding", "klingon"], "'klingon' is not a known text encoding"),
        (["海", "--output-encoding", "rot13"], "'rot13' is not a known text encoding"),
        (["海", "--format", "table", "--output-encoding", "cp932"], "cp932 needs --format csv, tsv or jsonl"),
    ],
)
def test_what_does_not_go_together_is_said(study: Study, arguments: list[str], message: str) -> None:
    assert re.search(message, _fails("classify", study.bundles["lora"], *arguments))


@pytest.mark.parametrize(
    "option",
    [["--device", "cuda"], ["--precision", "bfloat16"], ["--encoder", "nowhere"]],
    ids=lambda option: option[0],
)
def test_what_a_bundle_without_an_encoder_has_no_use_for_is_said(study: Study, option: list[str]) -> None:
    said = _fails("classify", study.bundles["tfidf-svm"], "海", *option)
    name = option[0].removeprefix("--")
    assert f"{name} = {option[1]} has no effect on a bundle without an encoder" in said


def test_an_encoder_for_a_bundle_that_includes_its_own_is_an_error(study: Study, tmp_path: Path) -> None:
    _tanzaku("pack", study.runs["lora"], "--out", tmp_path / "whole", "--with-encoder", "--no-merge")
    said = _fails("classify", tmp_path / "whole", "海", "--encoder", "nowhere")
    assert "encoder = nowhere has no effect on a bundle that includes its encoder; leave it out" in said
    assert "name their data as well" in _fails(
        "compress", tmp_path / "whole", "--rank", 1, "--out", tmp_path / "small", "--encoder", study.encoder
    )


def test_an_argument_that_is_a_file_is_read_as_one(
    study: Study, labels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("inquiries.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([["body"], *([text] for text in TEXTS)])
    done = _tanzaku("classify", study.bundles["lora"], "inquiries.csv", "--column", "body")
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == labels
    assert "inquiries.csv is a file, and other texts" in _fails(
        "classify", study.bundles["lora"], "海", "inquiries.csv"
    )
    Path("inquiries").mkdir()
    assert "inquiries/ is a folder. Name a file" in _fails("classify", study.bundles["lora"], "inquiries/")
    prose = "報告書.txt は、もう無い。"
    assert json.loads(_tanzaku("classify", study.bundles["lora"], prose).stdout)["text"] == prose
    assert len(_tanzaku("classify", study.bundles["lora"], "海" * 5_000).stdout.splitlines()) == 1


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_the_inputs_columns_are_kept_on_request(study: Study, labels: list[str], tmp_path: Path, kind: str) -> None:
    rows = [{"id": f"00{number}", "body": text, "label": "?"} for number, text in enumerate(TEXTS)]
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, ["id", "body", "label"])
        writer.writeheader()
        writer.writerows(rows)
    command = ["classify", study.bundles["lora"], path, "--column", "body", "--keep-columns", "--format", kind]
    printed = _tanzaku(*command).stdout_bytes.decode("utf-8")
    if kind == "jsonl":
        answers = [json.loads(line) for line in printed.splitlines()]
    else:
        delimiter = "," if kind == "csv" else "\t"
        answers = list(csv.DictReader(io.StringIO(printed, newline=""), delimiter=delimiter))
    assert [{name: answer[name] for name in rows[0]} for answer in answers] == rows
    assert [answer["predicted_label"] for answer in answers] == labels
    assert list(answers[0]) == ["id", "body", "label", "number", "predicted_label", "probability", "score"]


def _kept(study: Study, path: Path, kind: str) -> list[dict[str, Any]]:
    command = ["classify", study.bundles["lora"], path, "--keep-columns", "--format", kind]
    printed = _tanzaku(*command).stdout
    return (
        [json.loads(line) for line in printed.splitlines()]
        if kind == "jsonl"
        else [*csv.DictReader([*printed.splitlines()])]
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_was_classified_before_keeps_its_columns(study: Study, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("text,label,predicted_label\n海に船,mine,earlier\n", encoding="utf-8")
    (answer,) = _kept(study, path, kind)
    assert (answer["label"], answer["predicted_label"]) == ("mine", "earlier")
    assert answer["predicted_predicted_label"] in Classifier.load(study.bundles["lora"]).label_names


@pytest.mark.parametrize("given", [[], ["-"], ["--file", "-"]])
def test_a_closed_standard_input_has_no_texts(study: Study, given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tanzaku.cli.text_source.sys", SimpleNamespace(stdin=None))
    assert "no texts: give them as arguments" in _fails("classify", study.bundles["lora"], *given)


def test_what_is_added_has_the_same_names_in_all_rows(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "海", "label": null}\n{"text": "船"}\n', encoding="utf-8")
    first, second = _kept(study, path, "jsonl")
    assert (first["label"], "label" in second) == (None, False)
    assert {first["predicted_label"], second["predicted_label"]} <= {
        *Classifier.load(study.bundles["lora"]).label_names
    }
    path.write_text('{"text": "海"}\n{"text": "船", "score": 5}\n', encoding="utf-8")
    refused = _fails("classify", study.bundles["lora"], path, "--keep-columns", "--format", "jsonl")
    assert "row 2 has the column 'score', which the first row does not have" in refused


def test_lists_objects_and_missing_numbers_in_a_table_are_as_in_json(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "海", "about": {"島": [1, null]}, "price": NaN, "far": 1e999}\n', encoding="utf-8")
    (answer,) = _kept(study, path, "csv")
    assert (answer["about"], answer["price"], answer["far"]) == ('{"島": [1, null]}', "", "")


def test_a_number_that_json_lacks_is_printed_as_null(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    columns = {"text": ["海"], "price": [math.nan], "sizes": [[1.5, math.inf]]}
    pq.write_table(pa.table(columns), path)
    (answer,) = _kept(study, path, "jsonl")
    assert (answer["price"], answer["sizes"]) == (None, [1.5, None])


def test_a_table_without_rows_keeps_its_header(study: Study, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("id,text\n", encoding="utf-8")
    pq.write_table(
        pa.table({"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())}), tmp_path / "t.parquet"
    )
    for name in ("texts.csv", "t.parquet"):
        command = ["classify", study.bundles["lora"], tmp_path / name, "--keep-columns", "--format", "csv"]
        assert _tanzaku(*command).stdout == "id,text,number,label,probability,score\n"


def test_what_excel_opens_can_be_written_and_what_an_encoding_lacks_is_said(study: Study) -> None:
    command = ["classify", study.bundles["lora"], "海に船", "--format", "csv", "--output-encoding"]
    assert _tanzaku(*command, "utf-8-sig").stdout_bytes.startswith(b"\xef\xbb\xbfnumber,text,label")
    assert "海に船".encode("cp932") in _tanzaku(*command, "cp932").stdout_bytes
    command[2] = "🌊"
    assert re.search(
        r"text 1 contains '🌊', which cp932 can't encode; use --output-encoding utf-8-sig", _fails(*command, "cp932")
    )


def test_a_missing_column_is_found_before_the_model_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("body\n海\n", encoding="utf-8")
    assert "there is no column named 'text'" in _fails("classify", tmp_path / "no-bundle", "--file", path)


@pytest.mark.parametrize("command", ["pack", "classify"])
def test_help_has_examples_and_imports_nothing_heavy(command: str) -> None:
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom tanzaku.cli import app\n"
        f"print(CliRunner().invoke(app, [{command!r}, '--help']).output)\n"
        "assert not {'torch', 'transformers', 'numpy', 'pyarrow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert f"tanzaku {command} " in done.stdout


def test_what_the_documentation_tells_to_type_works(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "classify.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 15
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "my-study").symlink_to(study.folder)
    (tmp_path / "reviews.csv").write_text("body\n海\n山\n", encoding="utf-8")
    (tmp_path / "inquiries.csv").write_text("本文,text\n海,海\n山,山\n", encoding="utf-8")
    (tmp_path / "labelled.csv").write_text("本文,分類,text,label\n海,海,海,海\n山,海,山,海\n", encoding="utf-8")
    (tmp_path / "texts.txt").write_text("海\n山\n", encoding="utf-8")
    (tmp_path / "reviews.jsonl").write_text('{"body": "海"}\n', encoding="utf-8")
    book = openpyxl.Workbook()
    for text in ("本文", "海"):
        book.worksheets[0].append([text])
    book.save(tmp_path / "inquiries.xlsx")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        if " push " in command or "hf://" in command:
            continue  # see tests/ship/test_hub.py
        # The validation set is tiny, so that it can promise little.
        possible = command.replace("--error-rate 2%", "--error-rate 40% --confidence 60%")
        words, _, given = possible.split(" > ")[0].partition(" < ")
        done = _tanzaku(*shlex.split(words)[1:], given=Path(given).read_bytes() if given else b"")
        lines = {"pack": 1, "classify": 3 if "--format csv" in words else 2, "inspect": 7}
        verb = words.split()[1]
        if "--out" in words and verb == "classify":
            assert done.stdout == ""
            continue
        assert len(done.stdout.splitlines()) == lines.get(verb) or verb == "evaluate"
    scripts = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (script,) = (one for one in scripts if "hf://" not in one)
    names: dict[str, Any] = {}
    exec(script, names)
    assert isinstance(names["classifier"], Classifier)
    assert names["prediction"].label in names["classifier"].label_names
