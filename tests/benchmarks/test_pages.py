"""The measurements in docs/export.md, docs/serve.md and docs/scale.md are those of the records."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import certificates, pages
from tanzaku.errors import RecordError
from tests.bundles import DATASET, make_bundle

_RECORD: dict[str, Any] = {
    "machine": {"cpu": "some processor", "physical_cores": 4},
    "command": "python -m benchmarks.some",
    "ended": "2026-11-28T23:26:32+00:00",
    "instructions": ["avx2"],
}


def test_the_pages_have_what_the_records_say() -> None:
    for name, text in pages.current().items():
        page = (pages.DOCS / name).read_text(encoding="utf-8")
        assert pages.make_page(page, text, name=name) == page


def test_what_was_not_measured_is_said_to_be_missing() -> None:
    assert pages.measured_exports(None, None, None).count("Not measured yet") == 3
    assert "`python -m benchmarks.serving BUNDLE` makes the record" in pages.measured_server(None)
    assert "`python -m benchmarks.engines` makes the record" in pages.measured_engines(None)
    with pytest.raises(RecordError, match=r"some\.md lacks the marker"):
        pages.make_page("nothing", "", name="some.md")


def test_every_export_has_its_certificate_or_a_reason(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", tmp_path, "tfidf-svm", {"analyzer": "character", "longest_ngram": 1})
    dataset = certificates.few(DATASET, 5)
    assert len(dataset.val) == 5
    (tmp_path / "exports").mkdir()
    exports = list(certificates.certificates_of(bundle, dataset, tmp_path / "exports"))
    made = {(one["form"], one["dtype"]) for one in exports if "certificate" in one}
    refused = {(one["form"], one["dtype"]) for one in exports if "reason" in one}
    assert made == {("onnx", "float32")}
    others = {("transformers", "float32"), ("sentence-transformers", "float32"), ("peft", "float32")}
    openvino = {("openvino", dtype) for dtype in ("float32", "bfloat16", "int8")}
    assert refused == {*others, *openvino, ("onnx", "int8")}
    record = {**_RECORD, "measured": [{"data": "made", "method": "tfidf-svm", "exports": exports}]}
    (row,) = certificates.rows(record)[2:]
    assert row.startswith("| made | tfidf-svm | onnx, float32 | 5 |")
    text = pages.measured_exports(None, record, None)
    assert row in text
    assert text.count("\n- made, tfidf-svm, ") == len(refused)


def test_the_tables_show_the_records_figures() -> None:
    form = {"documents_per_processor_second": 12.34, "times_as_fast": 2.5, "accuracy": 0.9512, "flips": 3}
    measured = {"data": "news", "texts": 1000, "characters_per_text": 99.6, "forms": {"onnxruntime int8": form}}
    assert "| news | 1,000 | 100 | onnxruntime int8 | 12.3 | 2.50 | 95.12 | 3 |" in pages.measured_exports(
        {**_RECORD, "measured": [measured]}, None, None
    )
    one = {"extra": "runtime", "bytes": 187e6, "bytes_without_compiled_modules": 154e6, "bytes_in_the_image": 112e6}
    one |= {"seconds_to_first_label": [9, 1.0, 1.2], "processor_seconds_to_first_label": [0.9, 0.8, 7]}
    assert "| `runtime` | 187 | 154 | 112 | 1.20 | 0.90 |" in pages.measured_exports(
        None, None, {**_RECORD, "measured": [one]}
    )
    steady = {"offered_per_second": 6.42, "statuses": {"200": 1963, "429": 4}, "failed": 2, "p50_ms": 85.6, "p99_ms": 7}
    scale = {"adapters": 100, "workers": 16, "capacity_seconds": 30, "steady_seconds": 300}
    scale |= {"overload_seconds": 60, "recovered_seconds": 10}
    memory = {"one_adapter_bytes": 7e8, "bytes": 8e8, "after_overload_bytes": 9e8, "bound_bytes": 95e7}
    served = {"scale": scale, "characters": 300, "capacity_per_second": 10.7}
    served |= {"memory": {**memory, "adapters": 100, "adapter_bytes": 7e5}}
    text = pages.measured_server({**_RECORD, **served, "steady": steady, "overload": steady, "recovered": steady})
    assert "| 60 % of the capacity | 300 | 6.4 | 1,963 | 4 | 2 | 86 | 7 |" in text
    assert "| 60 % again | 10 | 6.4 |" in text
    assert "700 MB of memory with one adapter and 800 MB with 100, of 0.70 MB each; after the overload, 900 MB" in text


def test_the_engines_section_shows_medians_and_ratios() -> None:
    ratios = {
        "two_jobs_are_times_as_fast": 1.5,
        "two_jobs_of_ray_are_times_as_fast": 1.25,
        "ray_seconds_per_run": 2.0,
        "lora_ray_data_is_times_as_fast": 1.75,
        "lora_documents_per_second_in_one_process": 1000.0,
        "lora_documents_per_second_with_ray_data": 1750.0,
    }
    scale = {"runs": 8, "max_tokens": 64, "rounds": 3, "documents": {"lora": 60_000}}
    record = {
        **_RECORD,
        "scale": scale,
        "ratios": ratios,
        "seconds": {"ray, 1 job": [3.0, 1.0, 1.5], "start of ray": [5.9]},
    }
    record |= {"threads": 2}
    text = pages.measured_engines(record)
    assert "| ray, 1 job | 1.5 | 1.0–3.0 |" in text
    assert "Two jobs are 1.50 times as fast as one, which has 2 threads; with Ray 1.25 times." in text
    assert "It took 5.9 seconds to start, once." in text
    assert "60,000 documents by `lora`: Ray Data is 1.75 times as fast as one process (1,750 and 1,000" in text
