"""Proposals follow from the trials before them alone, and trials are ended as Optuna's pruners say."""

import signal
import sys
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from tanzaku.errors import TanzakuError
from tanzaku.study.tune.proposals import Proposals, naming_storage
from tanzaku.study.tune_settings import Range, TuneSpec

_SPACE: dict[str, Any] = {
    "learning_rate": Range(low=1e-5, high=1e-2, log=True),
    "warmup": Range(low=0.0, high=0.5),
    "rank": Range(low=1, high=64, log=True),
    "targets": (["query"], ["query", "value"]),
    "alpha": ("rank", 16),
}
_SETTINGS = TuneSpec(startup_trials=2)


@contextmanager
def _proposals(path: Path, *, identity: str = "one", settings: TuneSpec = _SETTINGS) -> Iterator[Proposals]:
    proposals = Proposals(path, settings=settings, space=_SPACE, epochs=5, identity=identity)
    try:
        yield proposals
    finally:
        proposals.close()


def _objective(settings: Any) -> float:
    value: float = -abs(np.log(settings["learning_rate"] / 1e-3)) - 0.01 * abs(settings["rank"] - 8)
    return value


def _search(proposals: Proposals, count: int) -> list[dict[str, Any]]:
    points = []
    for _ in range(count):
        (proposal,) = proposals.next()
        points.append(dict(proposal.settings))
        proposals.end(proposal.number, "finished", _objective(proposal.settings))
    return points


class _Freed:
    """Something with a callback of the garbage collector."""


def test_ctrl_c_is_not_lost_in_a_callback_of_the_garbage_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Python drops what is raised; SQLAlchemy gives connections back there."""
    ask = optuna.Study.ask

    def ask_and_free(study: optuna.Study) -> optuna.Trial:
        freed = _Freed()
        reference = weakref.ref(freed, lambda _: signal.raise_signal(signal.SIGINT))
        del freed
        assert reference() is None
        return ask(study)

    with _proposals(tmp_path / "a.db") as proposals:
        with monkeypatch.context() as patched:
            patched.setattr(optuna.Study, "ask", ask_and_free)
            with pytest.raises(KeyboardInterrupt):
                proposals.next()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        # What was begun is written down whole, and comes again.
        assert [proposal.number for proposal in proposals.next()] == [0]


def test_proposals_are_in_the_space_and_differ(tmp_path: Path) -> None:
    with _proposals(tmp_path / "a.db") as proposals:
        points = _search(proposals, 8)
    for point in points:
        assert list(point) == list(_SPACE)
        assert 1e-5 <= point["learning_rate"] <= 1e-2
        assert point["learning_rate"] == float(f"{point['learning_rate']:.4g}")
        assert isinstance(point["rank"], int)
        assert 1 <= point["rank"] <= 64
        assert point["targets"] in (["query"], ["query", "value"])
        assert point["alpha"] in ("rank", 16)
    assert len({point["learning_rate"] for point in points}) == 8
    assert len({str(point["targets"]) for point in points}) == 2


def test_a_search_that_is_taken_up_again_and_again_proposes_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    with _proposals(tmp_path / "a.db") as proposals:
        undisturbed = _search(proposals, 5)
    found = []
    for _ in range(5):
        # Each proposal is drawn in one life, taken up in the next, and ended there.
        with _proposals(tmp_path / "b.db") as proposals:
            (begun,) = proposals.next()
        with _proposals(tmp_path / "b.db") as proposals:
            (again,) = proposals.next()
            assert again == begun
            proposals.end(again.number, "finished", _objective(again.settings))
            found.append(dict(again.settings))
    assert found == undisturbed
    with _proposals(tmp_path / "b.db") as proposals:
        assert [dict(ended.settings) for ended in proposals.ended()] == undisturbed
    with _proposals(tmp_path / "c.db", settings=TuneSpec(startup_trials=2, seed=1)) as proposals:
        assert _search(proposals, 1) != undisturbed[:1]


def test_the_order_of_the_settings_changes_no_proposal(tmp_path: Path) -> None:
    turned = dict(reversed(_SPACE.items()))
    with _proposals(tmp_path / "a.db") as proposals:
        expected = _search(proposals, 4)
    for space in (_SPACE, turned, _SPACE, turned):
        proposals = Proposals(tmp_path / "b.db", settings=_SETTINGS, space=space, epochs=5, identity="one")
        with closing(proposals):
            assert _search(proposals, 1) == expected[:1]
        expected = expected[1:]


def test_a_proposal_that_was_half_drawn_is_completed_as_it_would_have_been(tmp_path: Path) -> None:
    with _proposals(tmp_path / "a.db") as proposals:
        (undisturbed,) = proposals.next()
    space = dict(list(_SPACE.items())[:2])
    half = Proposals(tmp_path / "b.db", settings=_SETTINGS, space=space, epochs=5, identity="one")
    half.next()
    half.close()
    with _proposals(tmp_path / "b.db") as proposals:
        assert proposals.next() == [undisturbed]


def test_a_round_of_which_some_trials_have_ended_gets_no_further_ones(tmp_path: Path) -> None:
    def numbers(jobs: int, most: int) -> list[int]:
        with _proposals(tmp_path / "a.db") as proposals:
            return [proposal.number for proposal in proposals.next(jobs, most=most)]

    def end(*ended: int) -> None:
        with _proposals(tmp_path / "a.db") as proposals:
            for number in ended:
                proposals.end(number, "failed", None)

    assert numbers(3, 9) == numbers(3, 9) == [0, 1, 2]
    assert numbers(3, 2) == [0, 1]  # after an interruption, fewer are wanted
    end(1)
    assert numbers(3, 8) == [0, 2]
    end(2)
    assert numbers(3, 7) == [0]
    end(0)
    assert numbers(3, 2) == [3, 4]  # so many are wanted
    assert numbers(3, 6) == [3, 4, 5]


@pytest.mark.parametrize(
    ("pruner", "objective"),
    [("median", "accuracy"), ("median", "loss"), ("hyperband", "accuracy"), ("none", "loss")],
)
def test_trials_are_ended_as_optuna_ends_them(tmp_path: Path, pruner: str, objective: str) -> None:
    settings = TuneSpec.model_validate(
        {"startup_trials": 3, "unpruned_epochs": 2, "pruner": pruner, "objective": objective}
    )
    theirs = optuna.create_study(
        study_name="tuning",
        direction="maximize" if objective == "accuracy" else "minimize",
        pruner={
            "median": optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2),
            "hyperband": optuna.pruners.HyperbandPruner(min_resource=2, max_resource=5),
            "none": optuna.pruners.NopPruner(),
        }[pruner],
    )
    random = np.random.default_rng(0)
    pruned = 0
    with _proposals(tmp_path / "a.db", settings=settings) as proposals:
        for _ in range(8):
            number, trial = proposals.next()[0].number, theirs.ask()
            values = random.random(5).tolist()
            for epoch, value in enumerate(values, start=1):
                trial.report(value, epoch)
                ends = trial.should_prune()
                assert proposals.report(number, epoch, value) == ends
                assert proposals.report(number, epoch, value) == ends  # after a kill it is told again
                if ends:
                    break
            pruned += ends
            assert not ends or epoch >= 2
            theirs.tell(trial, None if ends else values[-1], state=optuna.trial.TrialState(2 if ends else 1))
            proposals.end(number, "pruned" if ends else "finished", None if ends else values[-1])
    assert (pruned > 0) == (pruner != "none")


def test_another_searchs_file_is_refused(tmp_path: Path) -> None:
    with _proposals(tmp_path / "a.db"):
        pass
    with (
        pytest.raises(TanzakuError, match="holds a search with other settings, data or encoder"),
        _proposals(tmp_path / "a.db", identity="other"),
    ):
        pass


def test_a_file_that_is_damaged_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database, but long enough to be read as one" * 100)
    with (
        pytest.raises(TanzakuError, match=r"a\.db: the search's trials can't be read or written \(.*remove"),
        naming_storage(tmp_path / "a.db"),
        _proposals(tmp_path / "a.db"),
    ):
        pass


def test_without_optuna_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TanzakuError, match="pip install optuna"), _proposals(tmp_path / "a.db"):
        pass
