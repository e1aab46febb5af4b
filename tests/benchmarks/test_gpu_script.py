"""`benchmarks/gpu.sh`, as far as it can run without a GPU."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tanzaku.data
from tanzaku.encoders.load import resolve_encoder
from tanzaku.pretraining.distillation.options import read_distill_options
from tanzaku.pretraining.distillation.run import distill
from tanzaku.pretraining.record import read_distill_record
from tests.tiny import make_encoder

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
_TEXTS = Path(tanzaku.data.__file__).parent / "sample" / "text" / "sports"


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(_SCRIPT), "--scale", "tiny", "--device", "cpu", "--python", sys.executable]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_a_distillation_resumes_from_a_folder(tmp_path: Path) -> None:
    """The checkpoint is of the same teacher, text and options, which are those of the script."""
    teacher = make_encoder(tmp_path / "teacher", layers=4, pooler=False)
    options = {"student": "layers=2", "max_tokens": 64, "batch_tokens": 512, "steps": 20, "evaluations": 2}
    stops = iter([False, True])
    made = distill(
        str(teacher),
        [_TEXTS],
        tmp_path / "never",
        options=read_distill_options({**options, "device": "cpu", "save_dtype": "float16"}),
        work=tmp_path / "before",
        stop=lambda: next(stops, True),
    )
    assert made is None
    out = tmp_path / "results"
    shape = ("--student", "layers=2", "--max-tokens", "64")
    done = _run(
        *("--out", out, "--only", "distil", "--teacher", teacher, "--texts", _TEXTS, "--resume", tmp_path / "before"),
        *("--split", "1", "--", *shape),
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert (out / "summary.tsv").read_text(encoding="utf-8").splitlines()[1].startswith("distil\tpassed\t0\t")
    assert "resumes from the checkpoint of step" in (out / "distil.log").read_text(encoding="utf-8")
    record = read_distill_record(out / "student")
    assert record.resumptions == 1
    assert record.teacher.fingerprint == resolve_encoder(str(teacher)).fingerprint
    assert "torch" in (out / "machine.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out is missing"),
        (["--out", "x", "--scale", "huge"], "--scale huge: choose full or tiny"),
        (["--out", "x", "--device", "tpu"], "--device tpu: choose cuda or cpu"),
        (["--out", "x", "--fast"], "unknown option --fast"),
        (["--out"], "--out needs a value"),
    ],
)
def test_options_that_are_refused(arguments: list[Any], message: str) -> None:
    done = _run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
