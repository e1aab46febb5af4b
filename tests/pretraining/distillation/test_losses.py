import pytest
import torch

from tanzaku.pretraining.distillation.losses import directions, unexplained, unexplained_similarities, variance_of


@pytest.fixture
def teacher() -> torch.Tensor:
    """Vectors with a large common part, as those of encoders have."""
    return torch.randn(50, 16, generator=torch.Generator().manual_seed(0)) + 10


def test_the_share_is_0_for_the_teachers_states_and_1_for_their_mean(teacher: torch.Tensor) -> None:
    variance = variance_of(teacher)
    assert float(unexplained(teacher, teacher, variance=variance)) == 0
    mean = teacher.mean(dim=0).expand_as(teacher)
    assert float(unexplained(mean, teacher, variance=variance)) == pytest.approx(1, rel=1e-5)
    half = (mean + teacher) / 2
    assert float(unexplained(half, teacher, variance=variance)) == pytest.approx(0.25, rel=1e-5)
    # The unit of the states does not matter.
    assert float(unexplained(7 * half, 7 * teacher, variance=variance_of(7 * teacher))) == pytest.approx(0.25, rel=1e-5)
    assert variance_of(torch.ones(3, 4)) == 1.0


def test_directions_have_no_length(teacher: torch.Tensor) -> None:
    torch.testing.assert_close(directions(3 * teacher), directions(teacher))
    assert directions(teacher.bfloat16()).dtype == torch.float32
    cosines = torch.nn.functional.cosine_similarity(teacher[:25], teacher[25:])
    squared = (directions(teacher[:25]) - directions(teacher[25:])).square().sum(dim=1)
    torch.testing.assert_close(squared, 2 - 2 * cosines, rtol=1e-4, atol=1e-5)


def test_similarities_need_no_common_width(teacher: torch.Tensor) -> None:
    rotation, _ = torch.linalg.qr(torch.randn(24, 16, generator=torch.Generator().manual_seed(1)))
    centred = teacher - 10
    # A rotation into more dimensions keeps all cosines.
    assert float(unexplained_similarities(centred @ rotation.T, centred)) == pytest.approx(0, abs=1e-5)
    alike = torch.ones(50, 3)
    assert float(unexplained_similarities(alike, centred)) == pytest.approx(1, rel=1e-4)
    assert 0.05 < float(unexplained_similarities(centred[:, :8], centred)) < 3
