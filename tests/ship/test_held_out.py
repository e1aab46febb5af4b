"""What a bundle keeps of held-out documents."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tanzaku.cli.abstaining import describe
from tanzaku.errors import BundleError
from tanzaku.ship.held_out import HeldOut, read_held_out, threshold_of, write_held_out


def test_it_comes_back_in_an_order_that_says_nothing_of_the_documents(tmp_path: Path) -> None:
    probabilities = np.array([0.9123, 0.4, 1.0, 0.7, 0.0])
    correct = np.array([True, False, True, False, True])
    write_held_out(tmp_path, HeldOut(probabilities, correct))
    found = read_held_out(tmp_path)
    assert found is not None
    assert found.probabilities.tolist() == [0.0, 0.9123, 1.0, 0.4, 0.7]
    assert found.correct.tolist() == [True, True, True, False, False]


def test_all_right_is_fine_and_two_bytes_a_document(tmp_path: Path) -> None:
    write_held_out(tmp_path, HeldOut(np.full(1000, 0.5), np.ones(1000, dtype=bool)))
    found = read_held_out(tmp_path)
    assert found is not None
    assert found.correct.all()
    assert (tmp_path / "held-out.safetensors").stat().st_size < 2000 + 200


def test_none_and_damaged_files(tmp_path: Path) -> None:
    assert read_held_out(tmp_path) is None
    path = tmp_path / "held-out.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(BundleError, match=r"can't be read .*pack the bundle again"):
        read_held_out(tmp_path)
    short = np.zeros(1, dtype=np.uint16)
    for content in ({"right": short}, {"right": short, "wrong": np.array([10_001], dtype=np.uint16)}):
        save_file(content, path)
        with pytest.raises(BundleError, match="pack the bundle again"):
            read_held_out(tmp_path)
    save_file({"right": short, "wrong": np.zeros((1, 1), dtype=np.uint16)}, path)
    with pytest.raises(BundleError, match="does not hold probabilities of held-out documents"):
        read_held_out(tmp_path)


def test_a_promise_is_made_or_refused_with_what_can_be_promised() -> None:
    right = np.ones(100, dtype=bool)
    held_out = HeldOut(np.linspace(0.5, 1, 100), right)
    found = threshold_of(held_out, error_rate=0.05, confidence=0.95)
    assert (found.probability, found.coverage) == (0.5, 1.0)
    message = r"an error rate of 2 % can't be promised with 95 % confidence with 100 validation documents; even without"
    with pytest.raises(
        BundleError, match=rf"{message} a mistake, 149 would be needed\. The lowest that can be is about 3 %;"
    ):
        threshold_of(held_out, error_rate=0.02, confidence=0.95)
    with pytest.raises(
        BundleError, match=r"the most probable ones contain too many mistakes\. No rate up to 40 % can be;"
    ):
        threshold_of(HeldOut(held_out.probabilities, ~right), error_rate=0.05, confidence=0.95)
    with pytest.raises(BundleError, match=r"the bundle keeps nothing of held-out documents: .* export it in float32"):
        threshold_of(None, error_rate=0.05, confidence=0.95)
    with pytest.raises(BundleError, match=r"error_rate = 2; give a share from 0\.000001 to 0\.999999"):
        threshold_of(held_out, error_rate=2, confidence=0.95)


def test_that_no_low_rate_can_be_promised_does_not_deny_a_high_one() -> None:
    held_out = HeldOut(np.linspace(0.5, 1, 5), np.ones(5, dtype=bool))
    with pytest.raises(BundleError, match=r"even without a mistake, 59 would be needed\. No rate up to 40 % can be;"):
        threshold_of(held_out, error_rate=0.05, confidence=0.95)
    assert threshold_of(held_out, error_rate=0.5, confidence=0.95).coverage == 1


def test_of_documents_in_groups_one_of_each_counts_and_errors_say_groups(tmp_path: Path) -> None:
    groups = np.repeat(np.arange(20), 10)
    write_held_out(tmp_path, HeldOut.of(np.linspace(0.5, 1, 200), groups > 1, groups, cross_validated=True))
    found = read_held_out(tmp_path)
    assert found is not None
    assert (len(found.correct), int(found.correct.sum())) == (20, 18)
    described = describe(threshold_of(found, error_rate=0.3, confidence=0.95))
    assert "documents of its cross-validation: of one document from each group, each of which was class" in described
    assert " of 20 (" in described
    with pytest.raises(BundleError, match="with 20 groups of documents of its cross-validation; even without a"):
        threshold_of(found, error_rate=0.05, confidence=0.95)
