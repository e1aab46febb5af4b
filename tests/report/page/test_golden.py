"""The page of one small study, to the byte.

    python -m tests.report.page.test_golden

writes it again after a change that is wanted: look at the difference before it is committed.
"""

from pathlib import Path

from tests.kinds import adapted
from tests.report.page.pages import page, seeds_study
from tests.report.records import at_ranks, failed, lora

GOLDEN = Path(__file__).with_name("golden.html")


def _page() -> str:
    *records, last = seeds_study()
    ranked = at_ranks(adapted(last), {2: 0.80, 8: 0.931})
    return page([*records, ranked, failed(lora(64), error="no memory left")])


def test_the_page_of_a_small_study_is_as_it_was() -> None:
    assert _page() == GOLDEN.read_text(encoding="utf-8")


if __name__ == "__main__":
    GOLDEN.write_text(_page(), encoding="utf-8")
