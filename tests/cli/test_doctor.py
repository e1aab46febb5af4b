import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tanzaku.cli import app
from tests.checkpoints import make_mecab_bert, make_modernbert


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
    for name in ("Python", "packages", "processor", "bfloat16", "memory", "GPU", "hub", "Tanzaku's cache"):
        assert any(line.startswith((f"ok   {name}: ", f"warn {name}: ")) for line in lines), name


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
    assert checks["weights"]["detail"].endswith("parameters with a head for 2 labels, float32")
    assert checks["head"]["detail"] == "made anew and trained by every method: bert.pooler, classifier"
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
    assert checks["tokenizer"]["status"] == "fail"
    assert "does not fit the vocabulary" in checks["tokenizer"]["detail"]
    assert checks["weights"]["status"] == checks["head"]["status"] == "ok"


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
