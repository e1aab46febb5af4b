"""What docs/export.md, docs/serve.md and docs/scale.md say of measurements, made from the committed records.

    python -m benchmarks.pages

It replaces the text between the two markers of each page. What has no record yet is said to be missing.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks import certificates
from benchmarks.marked import Record, made, section, with_marked
from benchmarks.record import CERTIFICATES, ENGINES, INT8, RUNTIME, SERVING, read_alone
from tanzaku.files import write_atomically

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- measured: python -m benchmarks.pages -->\n", "<!-- end of what was measured -->\n"
_START = "start of ray"  # measured once


def measured_exports(compared: Record | None, certified: Record | None, runtime: Record | None) -> str:
    """What stands in docs/export.md."""
    return _joined(
        section("### The certificates", certified, _certificates, "benchmarks.certificates BUNDLE=DATA"),
        section("### 8 bits", compared, _int8, "benchmarks.int8 BUNDLE=DATA"),
        section("### The runtime without PyTorch", runtime, _runtime, "benchmarks.runtime EXTRA=EXPORT"),
    )


def measured_server(record: Record | None) -> str:
    """What stands in docs/serve.md."""
    return _joined(section("### Under load", record, _serving, "benchmarks.serving BUNDLE"))


def measured_engines(record: Record | None) -> str:
    """What stands in docs/scale.md."""
    return _joined(section("### Engines and Ray Data", record, _engines, "benchmarks.engines"))


def _joined(*sections: str) -> str:
    return "\n\n".join(sections) + "\n"


def _certificates(record: Record) -> list[str]:
    return [
        f"{made(record, CERTIFICATES)}. Before is the bundle in float32 by PyTorch; one thread. "
        "The megabytes before include the encoder that the bundle needs, those of a `peft` export do not.",
        "",
        *certificates.rows(record),
        "",
        "What does not exist:",
        "",
        *certificates.missing(record),
    ]


def _int8(record: Record) -> list[str]:
    lines = [
        f"{made(record, INT8)}; its instructions: {', '.join(record['instructions'])}. The forms took turns in one "
        "thread on test texts. The column “times as fast” compares CPU seconds with those of PyTorch in float32.",
        "",
        "| data | texts | characters per text | form | documents per processor second | times as fast | accuracy (%) "
        "| other labels |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for one in record["measured"]:
        about = f"| {one['data']} | {one['texts']:,} | {one['characters_per_text']:.0f} "
        lines += [
            f"{about}| {name} | {form['documents_per_processor_second']:.1f} | {form['times_as_fast']:.2f} | "
            f"{100 * form['accuracy']:.2f} | {form['flips']} |"
            for name, form in one["forms"].items()
        ]
    return lines


def _runtime(record: Record) -> list[str]:
    lines = [
        f"{made(record, RUNTIME)}: installed in a new environment, without pip and setuptools. The first label is "
        "that of an export in float32, in a new process of `tanzaku classify`; medians of three.",
        "",
        "| extra | installed by pip, MB | without compiled modules | in the image | seconds to the first label "
        "| seconds of the processor |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in record["measured"]:
        sizes = (one["bytes"], one["bytes_without_compiled_modules"], one["bytes_in_the_image"])
        seconds = (median(one[name]) for name in ("seconds_to_first_label", "processor_seconds_to_first_label"))
        cells = [f"`{one['extra']}`", *(f"{size / 1e6:.0f}" for size in sizes), *(f"{took:.2f}" for took in seconds)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _serving(record: Record) -> list[str]:
    scale, memory = record["scale"], record["memory"]
    lines = [
        f"{made(record, SERVING)}: {scale['adapters']} adapters of one encoder, texts of {record['characters']} "
        f"characters, one per request, each for a random task. The capacity was measured with {scale['workers']} "
        f"requests at once for {scale['capacity_seconds']:g} seconds: {record['capacity_per_second']:.1f} per second.",
        "",
        "| requests | seconds | offered per second | answered | refused (429) | failed | p50, ms | p99, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    phases = (
        ("60 % of the capacity", "steady", scale["steady_seconds"]),
        ("three times the capacity", "overload", scale["overload_seconds"]),
        ("60 % again", "recovered", scale["recovered_seconds"]),
    )
    for name, key, seconds in phases:
        phase = record[key]
        lines.append(
            f"| {name} | {seconds:g} | {phase['offered_per_second']:.1f} | {phase['statuses'].get('200', 0):,} | "
            f"{phase['statuses'].get('429', 0):,} | {phase['failed']} | {phase['p50_ms']:.0f} | {phase['p99_ms']:.0f} |"
        )
    one, many, after, bound = (
        memory[name] / 1e6 for name in ("one_adapter_bytes", "bytes", "after_overload_bytes", "bound_bytes")
    )
    return [
        *lines,
        "",
        f"The server took {one:.0f} MB of memory with one adapter and {many:.0f} MB with {memory['adapters']}, of "
        f"{memory['adapter_bytes'] / 1e6:.2f} MB each; after the overload, {after:.0f} MB. For comparison: "
        f"the memory with one adapter plus the size of all of them, plus 20 %, is {bound:.0f} MB.",
    ]


def _engines(record: Record) -> list[str]:
    scale, found, seconds = record["scale"], record["ratios"], record["seconds"]
    lines = [
        f"{made(record, ENGINES)}: a study of {scale['runs']} small runs (LoRA on tanzaku-mini, "
        f"{scale['max_tokens']} tokens, one epoch of the sample corpus), and short documents. All of it was made "
        f"{scale['rounds']} times, in turn.",
        "",
        "| | seconds, median | lowest–highest |",
        "| --- | ---: | ---: |",
        *(
            f"| {name} | {median(values):.1f} | {min(values):.1f}–{max(values):.1f} |"
            for name, values in seconds.items()
            if name != _START
        ),
        "",
        f"- Two jobs are {found['two_jobs_are_times_as_fast']:.2f} times as fast as one, which has {record['threads']} "
        f"threads; with Ray {found['two_jobs_of_ray_are_times_as_fast']:.2f} times.",
        f"- Ray costs {found['ray_seconds_per_run']:.1f} seconds per run. It took "
        f"{seconds[_START][0]:.1f} seconds to start, once.",
    ]
    lines += [
        f"- {count:,} documents by `{method}`: Ray Data is {found[f'{method}_ray_data_is_times_as_fast']:.2f} times as "
        f"fast as one process ({found[f'{method}_documents_per_second_with_ray_data']:,.0f} and "
        f"{found[f'{method}_documents_per_second_in_one_process']:,.0f} documents per second)."
        for method, count in scale["documents"].items()
    ]
    return lines


def current() -> dict[str, str]:
    """The text of each page, from the committed records."""
    return {
        "export.md": measured_exports(read_alone(INT8), read_alone(CERTIFICATES), read_alone(RUNTIME)),
        "serve.md": measured_server(read_alone(SERVING)),
        "scale.md": measured_engines(read_alone(ENGINES)),
    }


def make_page(page: str, text: str, *, name: str) -> str:
    """A page with another text between its markers.

    Raises:
        RecordError: The page lacks a marker.
    """
    return with_marked(page, text, begin=BEGIN, end=END, name=name)


def main() -> None:
    """Write the pages."""
    for name, text in current().items():
        path = DOCS / name
        write_atomically(path, make_page(path.read_text(encoding="utf-8"), text, name=name))


if __name__ == "__main__":
    main()
