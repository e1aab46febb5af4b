import importlib.util
import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tanzaku.cli import app
from tanzaku.encoders.source import resolve_encoder
from tanzaku.encoders.weights import read_weights
from tests.checkpoints import make_mecab_bert, make_modernbert, make_unmasked, write_json, write_weights
from tests.ship.conftest import Study, study

__all__ = ["study"]  # the fixture


def _doctor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments])


def _checks(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    result = _doctor(*arguments, "--json")
    content = json.loads(result.stdout)
    assert content["ok"] == (result.exit_code == 0)
    return result.exit_code, {check["name"]: check for check in content["checks"]}


def test_this_environment_is_healthy() -> None:
    result = _doctor()
    assert result.exit_code == 0, result.stdout
    lines = result.stdout.splitlines()
    assert "ok   dictionary ipadic: 山 について 友だち と 話す 。" in lines
    assert "ok   dictionary unidic_lite: 山 に つい て 友だち と 話す 。" in lines
    (packages,) = (line for line in lines if line.startswith("ok   packages: "))
    (train,) = (line for line in lines if line.startswith("ok   extra train: "))
    assert re.match(r"ok   packages: \d packages as needed: .*numpy \d", packages)
    assert ("torch " in train, "torch " in packages) == (True, False)  # which not everybody installs
    for name in ("Python", "packages", "processor", "bfloat16", "memory", "GPU", "hub", "Tanzaku's cache"):
        assert any(line.startswith((f"ok   {name}: ", f"warn {name}: ")) for line in lines), name


def test_what_is_not_installed_is_not_called_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    absent = {"sudachipy"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name in absent else there(name, *rest))
    status, checks = _checks()
    assert status == 0
    for name, check in checks.items():
        if name.startswith(("segmenter ", "extra ")):
            missing = check["detail"].startswith(("not installed", "without "))
            assert (check["status"] == "none") == missing, name
    assert checks["segmenter sudachipy"]["status"] == "none"


def test_an_encoder_is_shown_from_its_files_to_its_head(tmp_path: Path) -> None:
    status, checks = _checks(str(make_mecab_bert(tmp_path / "bert")))
    assert status == 0
    assert "MB of safetensors; fingerprint" in checks["encoder"]["detail"]
    assert checks["configuration"]["detail"] == "bert, hidden size 32; max_tokens up to 64"
    expected = "BertJapaneseTokenizer, words by mecab with ipadic, pieces by wordpiece"
    assert checks["tokenizer"]["detail"] == expected
    assert checks["vocabulary"]["detail"] == "3,000 tokens for 3,000 rows of the embedding"
    assert checks["golden sentences"]["detail"] == "0% unknown; 山に行くと、空に白い雲が見える。"
    assert checks["golden tokens"]["detail"] == "山 に 行く と 、 空 に 白い 雲 が 見える 。"
    assert checks["special tokens"]["detail"] == "[UNK] [PAD] [SEP] [CLS]"
    assert checks["padding"]["detail"] == "[PAD] (0), as in config.json"
    assert checks["ends"]["detail"] == "[CLS] [SEP] around every text, an empty one too"
    assert checks["weights"]["detail"].endswith("parameters with a head for 2 labels, float32, all of them finite")
    assert {checks[name]["status"] for name in ("tensors", "batches", "pooling")} == {"ok"}
    assert checks["head"]["detail"] == "newly initialized; every method trains it: bert.pooler, classifier"
    assert checks["fast path"]["detail"].startswith("taken for this encoder")


def test_an_old_checkpoint_says_that_its_dictionary_was_filled_in(tmp_path: Path) -> None:
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}
    _, checks = _checks(str(make_mecab_bert(tmp_path / "bert", layout="bin", tokenizer_settings=settings)))
    assert "mecab with ipadic (the checkpoint names none;" in checks["tokenizer"]["detail"]
    assert "pytorch_model.bin, read by PyTorch's weights-only loader" in checks["encoder"]["detail"]


def test_a_fast_tokenizer_is_shown_too(tmp_path: Path) -> None:
    status, checks = _checks(str(make_modernbert(tmp_path / "modernbert")))
    assert status == 0
    assert checks["configuration"]["detail"].startswith("modernbert, hidden size 32")
    assert checks["tokenizer"]["detail"].endswith(", fast")
    assert checks["head"]["detail"].endswith(": classifier")
    assert checks["fast path"]["detail"].startswith("not for this architecture")


def test_a_tokenizer_that_does_not_fit_fails_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert", tokenizer_settings={"do_lower_case": False})
    status, checks = _checks(str(folder))
    assert status == 1
    assert checks["tokenizer"]["status"] == "ok"
    assert checks["vocabulary"]["status"] == "fail"
    assert "does not fit the vocabulary" in checks["vocabulary"]["detail"]
    assert "ends" not in checks  # a step that fails ends its branch
    assert checks["weights"]["status"] == checks["head"]["status"] == "ok"


@pytest.mark.parametrize(
    ("file", "change", "failed", "detail"),
    [
        ("tokenizer.json", {"post_processor": None}, "ends", "does not put every text between [CLS] and [SEP]"),
        ("config.json", {"pad_token_id": 1}, "padding", "config.json says pad_token_id = 1 ([UNK])"),
        (
            "config.json",
            {"num_hidden_layers": 1, "layer_types": ["full_attention"]},
            "tensors",
            "be used (model.layers.1",
        ),
    ],
)
def test_each_check_of_what_an_encoder_does_has_a_line(
    tmp_path: Path, file: str, change: dict[str, Any], failed: str, detail: str
) -> None:
    folder = make_modernbert(tmp_path / "modernbert")
    write_json(folder / file, json.loads((folder / file).read_text(encoding="utf-8")) | change)
    status, checks = _checks(str(folder))
    assert status == 1
    assert [name for name, check in checks.items() if check["status"] == "fail"] == [failed]
    assert detail in checks[failed]["detail"]
    assert checks[failed]["remedy"]


def test_weights_that_are_not_numbers_fail(tmp_path: Path) -> None:
    folder = make_modernbert(tmp_path / "modernbert")
    weights = read_weights(resolve_encoder(str(folder)))
    weights["model.final_norm.weight"][3] = float("nan")
    write_weights(folder, weights)
    status, checks = _checks(str(folder))
    assert (status, checks["weights"]["status"]) == (1, "fail")
    assert "not numbers, such as model.final_norm.weight" in checks["weights"]["detail"]


def test_an_encoder_whose_states_depend_on_its_neighbours_fails(tmp_path: Path) -> None:
    status, checks = _checks(str(make_unmasked("convbert", tmp_path / "convbert")))
    assert status == 1
    assert [name for name, check in checks.items() if check["status"] == "fail"] == ["batches"]
    assert "'convbert' does not mask padding everywhere" in checks["batches"]["detail"]


def test_a_failure_is_printed_with_its_remedy(tmp_path: Path) -> None:
    folder = make_mecab_bert(tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    result = _doctor(str(folder))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "has no weights in model.safetensors or pytorch_model.bin: it has none at all" in lines[-2]
    assert lines[-2].startswith("fail encoder: ")
    assert lines[-1].strip().startswith("→ convert them with transformers' save_pretrained")


def test_a_missing_package_fails_and_does_not_stop_the_others() -> None:
    code = (
        "import sys\n"
        "sys.modules['psutil'] = sys.modules['ipadic'] = None\n"
        "from tanzaku.cli import app\n"
        "app(['doctor'])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert "fail dictionary ipadic: can't be used: " in result.stdout
    assert "→ pip install --force-reinstall fugashi ipadic" in result.stdout
    assert "fail machine: can't be checked: " in result.stdout
    assert "ok   dictionary unidic_lite" in result.stdout
    assert "ok   hub: " in result.stdout


def test_without_transformers_the_dictionaries_are_not_to_blame() -> None:
    code = "import sys\nsys.modules['transformers'] = None\nfrom tanzaku.cli import app\napp(['doctor'])\n"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    remedies = dict(itertools.pairwise(map(str.strip, done.stdout.splitlines())))
    (fault,) = (line for line in remedies if line.startswith("fail dictionary ipadic: can't be used: "))
    assert remedies[fault] == "→ pip install '.[train]' ./mini (in the cloned folder)"


def test_a_cache_that_can_not_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("TANZAKU_CACHE", str(tmp_path / "file" / "cache"))
    status, checks = _checks()
    assert status == 0
    assert checks["Tanzaku's cache"]["status"] == "warn"
    assert "set TANZAKU_CACHE to a folder" in checks["Tanzaku's cache"]["remedy"]


def test_the_help_comes_without_pytorch() -> None:
    code = (
        "import sys\n"
        "import tanzaku.cli.doctor\n"
        "print([name for name in ('torch', 'transformers', 'huggingface_hub', 'numpy') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


def test_a_bundle_is_left_to_inspect(study: Study) -> None:
    result = CliRunner().invoke(app, ["doctor", str(study.bundles["lora"])])
    assert f"is a bundle; check it with: tanzaku inspect {study.bundles['lora']}" in str(result.exception)
