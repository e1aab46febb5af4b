"""What seven ranks cost in one run of `lora-nested`, beside one run of a LoRA of the largest of them.

    python -m benchmarks.nested

takes both arms from studies/livedoor-nested.toml, runs them in turn with three seeds on the folder that `tanzaku data
livedoor` prepared, and writes records/benchmarks/nested.json. A run's seconds are those of training, of validation, and
of classifying the test set; for the nested one at every rank.
"""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.record import NESTED, origin
from benchmarks.rows import RATIO, Row
from tanzaku.data.loading import load_dataset
from tanzaku.errors import TanzakuError
from tanzaku.files import write_json_atomically
from tanzaku.machine import describe_machine
from tanzaku.provenance import now
from tanzaku.study.engine import RunEnds, make_runs
from tanzaku.study.expansion import read_study
from tanzaku.study.plan import plan_study
from tanzaku.study.record import FailedRun, RunRecord
from tanzaku.study.spec import StudySpec

STUDY = Path(__file__).parents[1] / "studies" / "livedoor-nested.toml"
ROUNDS = 3
SECONDS = "seconds a run"


def two_arms(study: StudySpec, *, rounds: int) -> StudySpec:
    """The nested arm and the LoRA of its largest rank, which is measured at that rank alone.

    Raises:
        TanzakuError: The study lacks one of the two.
    """
    nested = next((arm for arm in study.arms if arm["method"] == "lora-nested" and "ranks" in arm), None)
    if nested is None:
        raise TanzakuError(f"the study {study.name} has no arm lora-nested with its ranks")
    largest = max(nested["ranks"])
    loras = (arm for arm in study.arms if arm["method"] == "lora")
    alone = next((arm for arm in loras if arm.get("rank") == largest), None)
    if alone is None:
        raise TanzakuError(f"the study {study.name} has no arm lora with rank = {largest}, the largest of lora-nested")
    arms = [nested, {key: value for key, value in alone.items() if key != "truncate"}]
    content = study.model_dump(mode="json") | {"arms": arms, "seeds": list(range(1, rounds + 1))}
    return StudySpec.model_validate(content)


def seconds_of(record: RunRecord) -> float:
    """All of a run's training, validation and test, at every rank that it measured.

    Raises:
        TanzakuError: The run failed.
    """
    if isinstance(record, FailedRun):
        raise TanzakuError(f"the run {record.run_id} failed: {record.error}")
    ranks = sum(rank.seconds for rank in record.ranks)
    return record.costs.train_seconds_with_evaluation + record.costs.test_seconds + ranks


def rows_of(records: Sequence[RunRecord]) -> list[Row]:
    """The ratio, seed by seed, and both sides."""
    by_seed = sorted(records, key=lambda record: record.spec["seed"])
    sides = {
        method: [seconds_of(record) for record in by_seed if record.method == method]
        for method in ("lora-nested", "lora")
    }
    ratios = [one / other for one, other in zip(sides["lora-nested"], sides["lora"], strict=True)]
    return [
        Row.of("seven_ranks_in_one_run_vs_one_r256_run", ratios, unit=RATIO),
        Row.of("lora_nested_run", sides["lora-nested"], unit=SECONDS),
        Row.of("lora_r256_run", sides["lora"], unit=SECONDS),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nested", description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="data/livedoor", help="prepared by `tanzaku data`")
    parser.add_argument("--study", type=Path, default=STUDY, help="where both arms are")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="seeds (3)")
    parser.add_argument("--out", type=Path, default=NESTED, help="write the record here")
    options = parser.parse_args(given)
    started = now()
    study = two_arms(read_study(options.study), rounds=options.rounds)
    records = _make(study, options.data)
    record = {
        "machine": asdict(describe_machine()),
        **origin(shlex.join(["python", "-m", "benchmarks.nested", *given]), started=started),
        "study": study.model_dump(mode="json"),
        "rows": [row.to_json() for row in rows_of(records)],
    }
    write_json_atomically(options.out, record)
    print(json.dumps(record, ensure_ascii=False, indent=2))


def _make(study: StudySpec, data: str) -> list[RunRecord]:
    dataset = load_dataset(data)
    with tempfile.TemporaryDirectory() as folder:
        plan = plan_study(study, dataset=dataset, out=Path(folder))
        records = []
        for event in make_runs(plan.runs, dataset=dataset, study=study.name):
            if isinstance(event, RunEnds):
                print(f"{event.run.run_id}  {seconds_of(event.record):.1f} s", file=sys.stderr, flush=True)
                records.append(event.record)
    return records


if __name__ == "__main__":
    main()
