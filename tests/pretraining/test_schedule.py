import pytest

from tanzaku.pretraining.schedule import learning_rate_factor


@pytest.mark.parametrize(
    ("progress", "linear", "cosine"),
    [(0.0, 0.0, 0.0), (0.05, 0.5, 0.5), (0.1, 1.0, 1.0), (0.55, 0.5, 0.5), (0.325, 0.75, 0.853553), (1.0, 0.0, 0.0)],
)
def test_it_rises_and_falls(progress: float, linear: float, cosine: float) -> None:
    assert learning_rate_factor(progress, warmup=0.1, schedule="linear") == pytest.approx(linear)
    assert learning_rate_factor(progress, warmup=0.1, schedule="cosine") == pytest.approx(cosine, abs=1e-6)


def test_without_warmup_it_starts_at_the_top() -> None:
    assert learning_rate_factor(0.0, warmup=0.0, schedule="linear") == 1.0
