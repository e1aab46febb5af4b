"""docs/performance.md, made from the committed records and the remarks next to this file.

python -m benchmarks.page
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.clock import KINDS, OTHER
from benchmarks.limits import limits_of
from benchmarks.record import MACHINE, NESTED, SAME_IDS, read_alone, read_records
from benchmarks.rows import RATIO, ROW_NAMES
from tanzaku.files import write_atomically

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
REMARKS = Path(__file__).with_name("remarks.md")

DESCRIPTIONS = {
    "lora_step_base_vs_trainer": "LoRA, BERT-base: a step, compared with the thesis's script",
    "lora_step_base_vs_tuned_trainer": "LoRA, BERT-base: a step, compared with `Trainer` tuned",
    "lora_step_base_thesis_settings_vs_trainer": "the same with the thesis's settings (every dropout 0.1), "
    "compared with its script",
    "lora_step_mini_vs_trainer": "LoRA, the small encoder: a step, compared with the thesis's script",
    "full_step_base_vs_trainer": "full fine-tuning, BERT-base: a step, compared with the thesis's script",
    "full_step_mini_vs_trainer": "full fine-tuning, the small encoder: a step, compared with the thesis's script",
    "lora_all_linear_step_vs_full_step_mini": "LoRA (r = 16) on all linear layers, the small encoder: seconds "
    "relative to those of full fine-tuning, both with Tanzaku",
    "lora_step_base_share_of_limit": "LoRA, BERT-base: the time that the necessary arithmetic of a step would take "
    "at the speed of this machine's matrix products, relative to the measured seconds",
    "classify_base_vs_pipeline": "classification, BERT-base, compared with `transformers.pipeline`",
    "tokenize_vs_reference": "tokenization on one core, compared with `BertJapaneseTokenizer`",
    "train_memory_vs_trainer": "training LoRA, BERT-base: peak memory relative to the thesis's script",
    "classify_memory_million_vs_ten_thousand": "classifying a stream: peak memory for a million texts relative to that "
    "for ten thousand",
}
# These compare costs: smaller is better. All others say how many times as fast, or which share is reached.
_COSTS = {
    "lora_all_linear_step_vs_full_step_mini",
    "train_memory_vs_trainer",
    "classify_memory_million_vs_ten_thousand",
}
_SHARES = {"lora_step_base_share_of_limit"}

_HEAD = """# Performance

`python -m benchmarks.page` writes this page from [records/benchmarks](../records/benchmarks). `make bench` makes the
first of these records; the sections on the others name their commands. A test compares the page with the records.

## What is compared

- `trainer`: the thesis's scripts. `Trainer` with its defaults, float32, every text padded to 512 tokens, batches of
  8; PEFT's LoRA with r = α = 8 and dropout 0.1, or full fine-tuning.
- `tuned_trainer`: the same in bfloat16 if the machine computes it natively, with batches padded to their longest
  document and documents of similar length grouped together.
- `tanzaku_thesis`: Tanzaku with the thesis's settings, every dropout 0.1.
- `tanzaku`: Tanzaku without dropout, with batches padded to their longest document.

All of them train the same documents in the same few batches: random tokens with the lengths of Livedoor's training
articles, at quantiles that represent a whole epoch (`benchmarks/documents.py`). If a side groups by length, the
lengths in its batches are as similar as in the groups of a whole epoch. The first step of each round is a warm-up and
is not counted; the others are timed from beginning to end, so that padding and grouping count. The weights are
random.

Classification goes from texts to classes, with the lengths of Livedoor's test articles; the pipeline has its defaults
(one document per batch, float32). Tokenization reads real texts, each once. Memory is what a separate process needs
in addition to its libraries (`benchmarks/memory.py`). The limit is the speed of the feed-forward part's matrix
product in the faster precision; the arithmetic of a step is counted in `benchmarks/flops.py`, over real tokens
without padding.

Each LoRA step and each way to classify is also run once under PyTorch's profiler, without being timed
(`benchmarks/clock.py`). The shares refer to the time in PyTorch's operations, and the speed of attention is that of
its products, without the softmax. Tanzaku draws random numbers for dropout with NumPy, partly outside of these
operations.

`python -m benchmarks.nested` measures what one run of `lora-nested` costs, and `python -m benchmarks.machine`
measures whether the memory of a training grows and how a busy machine slows it down.

All measurements are made in turn, round by round, in reverse order in every other round. A comparison is made within
each round; the tables show the median of the rounds, and the lowest and the highest value.
"""
_NOTHING = "\nNo record has been made yet: `make bench` makes it, on a machine with no other work.\n"


def make_page(
    records: Sequence[Mapping[str, Any]],
    remarks: str,
    *,
    nested: Mapping[str, Any] | None = None,
    same_ids: Mapping[str, Any] | None = None,
    machine: Mapping[str, Any] | None = None,
) -> str:
    """The page's text; the other records are optional."""
    sections = [_section(record) for record in records] or [_NOTHING]
    if nested is not None:
        sections.append(_nested_section(nested))
    if machine is not None:
        sections.append(_machine_section(machine))
    if same_ids is not None:
        sections.append(_same_ids_section(same_ids))
    return "\n".join([_HEAD, *(section.strip("\n") + "\n" for section in sections), remarks.strip("\n") + "\n"])


def _section(record: Mapping[str, Any]) -> str:
    rows = {row["name"]: row for row in record["rows"]}
    compared = [(name, rows[name]) for name in ROW_NAMES if name in rows]
    measured = [row for row in record["rows"] if row["unit"] != RATIO]
    lines = [
        f"## {record['machine']['gpu'] or record['machine']['cpu']}",
        "",
        _facts(record),
        "",
        "| | | lowest–highest |",
        "| --- | ---: | ---: |",
        *(_comparison(name, row) for name, row in compared),
        *(f"| {DESCRIPTIONS[one['name']]} | not measured: {one['reason']} | |" for one in record["skipped"]),
        "",
        "| measured | median | lowest–highest | |",
        "| --- | ---: | ---: | --- |",
        *(_measurement(row) for row in measured),
        "",
        *_limits(record),
        "",
        *_profiles(record["profiles"]),
    ]
    return "\n".join(lines)


def _nested_section(record: Mapping[str, Any]) -> str:
    rows = {row["name"]: row for row in record["rows"]}
    ratio, nested, alone = (
        rows[name] for name in ("seven_ranks_in_one_run_vs_one_r256_run", "lora_nested_run", "lora_r256_run")
    )
    cores, command = record["machine"]["physical_cores"], record["command"]
    lines = [
        "## Seven ranks in one run",
        "",
        f"`{command}` on {record['machine']['cpu']}, {cores} cores, ended {record['ended']}: two arms of "
        "[livedoor-nested](../studies/livedoor-nested.toml) in turn, from training to the classes of the test "
        "set, the nested one at every rank. The table shows the median of the seeds, the lowest and the highest value.",
        "",
        "| | | lowest–highest |",
        "| --- | ---: | ---: |",
        f"| one run of `lora-nested` for seven ranks, relative to one run of LoRA r = 256 | {ratio['value']:.2f} | "
        f"{ratio['spread'][0]:.2f}–{ratio['spread'][1]:.2f} |",
    ]
    for name, row in (("`lora-nested`, seconds", nested), ("LoRA r = 256, seconds", alone)):
        value, low, high = (_digits(number) for number in (row["value"], *row["spread"]))
        lines.append(f"| {name} | {value} | {low}–{high} |")
    return "\n".join(lines)


_MACHINE_DESCRIPTIONS = {
    "train_rss_growth": "resident memory after two epochs of Livedoor's lengths, relative to that after 100 steps (the "
    "small encoder, all its weights)",
    "lora_step_vs_95fb54c": "LoRA (r = 8) on all linear layers, 12 layers of 384: seconds per step at commit "
    "95fb54c, which computed documents of any length, relative to those now",
    "lora_step_uneven_vs_95fb54c": "the same with one thread and documents of 250 to 511 tokens, each length equally "
    "often",
    "lora_step_equal_vs_95fb54c": "the same with one thread and 384 tokens in every document",
    "busy_machine_slowdown": "the quickstart's training (LoRA, r = 8) next to four busy processes: its seconds "
    "relative to those on an idle machine",
    "idle_machine_passive_vs_spinning": "the same on an idle machine: seconds with threads that wait passively, "
    "relative to those with threads that spin",
}


def _machine_section(record: Mapping[str, Any]) -> str:
    groups = record["groups"]
    rows = [row for group in groups for row in group["rows"]]
    ended: dict[str, str] = {}  # when the last group of each command ended
    for group in groups:
        ended[group["command"]] = max(ended.get(group["command"], ""), group["ended"])
    commands = [f"`{command}`, ended {end}" for command, end in ended.items()]
    lines = [
        "## Memory during training, and a busy machine",
        "",
        f"On {record['machine']['cpu']}, {record['machine']['physical_cores']} cores; {'; '.join(commands)}. Lengths: "
        f"{record['texts']}.",
        "",
        "| | | lowest–highest |",
        "| --- | ---: | ---: |",
    ]
    for row in rows:
        if row["unit"] == RATIO:
            low, high = row["spread"]
            lines.append(f"| {_MACHINE_DESCRIPTIONS[row['name']]} | {row['value']:.2f} | {low:.2f}–{high:.2f} |")
    measured = (_measurement(row) for row in rows if row["unit"] != RATIO)
    return "\n".join([*lines, "", "| measured | median | lowest–highest | |", "| --- | ---: | ---: | --- |", *measured])


def _same_ids_section(record: Mapping[str, Any]) -> str:
    lines = [
        "## The same ids",
        "",
        f"`{record['command']}`, ended {record['ended']}: every text through Tanzaku and `BertJapaneseTokenizer`, both "
        "with the same vocabulary and without a limit on the number of tokens.",
        "",
        "| | texts | characters | tokens | with other ids |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in record["rows"]:
        counts = (f"{row[key]:,}" for key in ("texts", "characters", "tokens", "different"))
        lines.append(f"| {row['name']} | {' | '.join(counts)} |")
    return "\n".join(lines)


def _facts(record: Mapping[str, Any]) -> str:
    machine, versions, git = record["machine"], record["versions"], record["git"]
    software = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "transformers", "peft"))
    commit = "no git checkout" if git["commit"] is None else f"commit {git['commit'][:10]}"
    native = machine["gpu_bfloat16"] if machine["gpu"] else machine["cpu_bfloat16"]
    mini = record["scale"]["mini"]
    parts = [(part["commit"] or "no git checkout")[:10] for part in record["parts"]]
    interrupted = f" (interrupted; measured at the commits {', '.join(parts)})" if len(parts) > 1 else ""
    return (
        f"{machine['cpu']}, {machine['physical_cores']} cores, {machine['torch_threads']} threads, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, bfloat16 {'native' if native else 'emulated'}; {software}; "
        f"{commit}{' with changes' if git['dirty'] else ''}; `{record['command']}`, {record['rounds']} rounds, ended "
        f"{record['ended']}{interrupted}. The small encoder has {mini['layers']} layers of {mini['hidden']} and "
        f"{mini['vocabulary']:,} pieces. Tokenized: {record['tokenized_texts']}."
    )


def _comparison(name: str, row: Mapping[str, Any]) -> str:
    def shown(value: float) -> str:
        if name in _SHARES:
            return f"{100 * value:.0f} %"
        return f"{value:.2f}" if name in _COSTS else f"{value:.1f}×"

    low, high = row["spread"]
    return f"| {DESCRIPTIONS[name]} | {shown(row['value'])} | {shown(low)}–{shown(high)} |"


def _measurement(row: Mapping[str, Any]) -> str:
    unit, divisor = ("MB", 1e6) if row["unit"] == "bytes" else (row["unit"], 1.0)
    value, low, high = (_digits(number / divisor) for number in (row["value"], *row["spread"]))
    return f"| `{row['name']}` | {value} | {low}–{high} | {unit} |"


def _limits(record: Mapping[str, Any]) -> list[str]:
    lines = [
        "What this machine allows at most: only the arithmetic, at the speed of its matrix products, compared with the "
        "measured speed of the other program.",
        "",
        "| a step, or a document | GFLOP | seconds | at most |",
        "| --- | ---: | ---: | ---: |",
    ]
    for limit in limits_of(record):
        cells = (_digits(limit.flops / 1e9), _digits(limit.seconds), f"{limit.times:.1f}×")
        lines.append(f"| {DESCRIPTIONS[limit.name]} | {' | '.join(cells)} |")
    return lines


def _profiles(profiles: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each profiled measurement, a column for each kind of operation that any of them has."""
    columns = [kind for kind in (*KINDS, OTHER) if any(one["kind"] == kind for it in profiles for one in it["kinds"])]
    lines = [
        "Where the time goes, and how fast the products are if PyTorch counts their arithmetic (GFLOP/s):",
        "",
        f"| profiled | {' | '.join(columns)} |",
        f"| --- |{' ---: |' * len(columns)}",
    ]
    for profiled in profiles:
        kinds = {one["kind"]: one for one in profiled["kinds"]}
        cells = [_share(kinds[column]) if column in kinds else "" for column in columns]
        lines.append(f"| `{profiled['name']}` | {' | '.join(cells)} |")
    return lines


def _share(kind: Mapping[str, Any]) -> str:
    speed = "" if kind["gflops"] is None else f" ({kind['gflops']:.0f})"
    return f"{100 * kind['share']:.0f} %{speed}"


def _digits(number: float) -> str:
    """Three figures, without an exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:#.3g}".rstrip(".")


def main() -> None:
    """Write the page."""
    remarks = REMARKS.read_text(encoding="utf-8")
    alone = {"nested": NESTED, "same_ids": SAME_IDS, "machine": MACHINE}
    write_atomically(
        PAGE, make_page(read_records(), remarks, **{name: read_alone(path) for name, path in alone.items()})
    )


if __name__ == "__main__":
    main()
