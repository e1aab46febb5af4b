"""The nearest update of a lower rank: that of the largest singular values (Eckart and Young 1936).

The singular value decomposition of B·A (outputs, inputs) is found from that of a matrix of the rank's size alone: with
B = Q_B·R_B and Aᵀ = Q_A·R_A, it is that of R_B·R_Aᵀ, turned by Q_B and Q_A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def singular_values(a: Tensor, b: Tensor) -> Tensor:
    """Of B·A, the largest first: (rank,) float64, or fewer where a side of the update is shorter than the rank."""
    return _decomposed(a, b)[1]


def truncate(a: Tensor, b: Tensor, *, rank: int) -> tuple[Tensor, Tensor]:
    """Factors (A, B) of the matrix of at most `rank` that is nearest to B·A in the Frobenius norm.

    Both get the square root of the singular values. Dtypes stay; the arithmetic is in float64.

    Args:
        a: (rank before, inputs).
        b: (outputs, rank before).
        rank: At most so many rows of A and columns of B are left.
    """
    left, values, right = _decomposed(a, b)
    roots = values[:rank].sqrt()
    return (roots[:, None] * right[:rank]).to(a.dtype), (left[:, :rank] * roots).to(b.dtype)


def rank_for_energy(values: Tensor, *, energy: float) -> int:
    """How few of the singular `values` (the largest first) have the share `energy` of all squares; 1 at least."""
    squares = values.square().cumsum(dim=0)
    # Rounding in the sum must not ask for one value more.
    return int((squares < energy * squares[-1] * (1 - 1e-12)).sum().clamp(max=len(values) - 1)) + 1


def _decomposed(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(outputs, k), (k,), (k, inputs) float64 with B·A = left · diag(values) · right."""
    left_basis, left_factor = torch.linalg.qr(b.detach().double())  # (outputs, k), (k, rank)
    right_basis, right_factor = torch.linalg.qr(a.detach().double().t())  # (inputs, k), (k, rank)
    left, values, right = torch.linalg.svd(left_factor @ right_factor.t(), full_matrices=False)
    return left_basis @ left, values, right @ right_basis.t()
