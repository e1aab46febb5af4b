"""Matrices in few bits, rounded so that the errors of a product's terms make up for each other: GPTQ.

Frantar et al. 2022, https://arxiv.org/abs/2210.17323, algorithm 1 with the order of its section on "act-order".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Of the mean of the moments' diagonal, as in the paper.
_DAMPING = 0.01
# Rows are rounded one by one within blocks, and what follows a block is changed at once.
_BLOCK = 128
# As a share of the largest channel: a smaller one counts as this.
_DEAD = 1e-5


def round_matrix(matrix: np.ndarray, moments: np.ndarray, *, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers and scales whose product takes the place of a matrix.

    Rows are rounded one after the other. The rows after it are changed so that they make up for its error, as far as
    what they multiply varies together with what it multiplies.

    Args:
        matrix: (inputs, outputs) float32.
        moments: The mean of x xᵀ over what the matrix multiplies, (inputs, inputs).
        largest: The largest integer, and with a minus the smallest.

    Returns:
        The integers, (inputs, outputs) int8, and the scale of each column, (outputs,) float32.
    """
    scales = largest_of(matrix) / np.float32(largest)
    order = np.argsort(-np.diag(moments), kind="stable")
    left = matrix[order].astype(np.float64)
    damped = moments[np.ix_(order, order)].astype(np.float64)
    # What nothing was ever multiplied with has no influence.
    damped[np.diag_indices_from(damped)] += _DAMPING * max(np.diag(damped).mean(), np.finfo(np.float64).tiny)
    factors = np.linalg.cholesky(np.linalg.inv(damped)).T  # (inputs, inputs), upper triangle
    integers = np.empty(matrix.shape, dtype=np.int8)
    for start in range(0, len(left), _BLOCK):
        end = min(start + _BLOCK, len(left))
        errors = np.empty((end - start, left.shape[1]))
        for row in range(start, end):
            rounded = np.clip(np.rint(left[row] / scales), -largest, largest)
            integers[order[row]] = rounded
            errors[row - start] = (left[row] - rounded * scales) / factors[row, row]
            left[row:end] -= np.outer(factors[row, row:end], errors[row - start])
        left[end:] -= factors[start:end, end:].T @ errors
    return integers, scales


def largest_of(matrix: np.ndarray) -> np.ndarray:
    """The size of each column's largest number, (columns,) float32, and never 0."""
    sizes: np.ndarray = np.maximum(np.abs(matrix).max(axis=0), np.finfo(np.float32).tiny).astype(np.float32)
    return sizes


def factors_of(matrices: Sequence[np.ndarray], moments: np.ndarray) -> np.ndarray:
    """By what the channels of activations are multiplied, and the rows of the matrices that they meet divided, so that
    neither has a few that are much larger than the rest.

    The factor of a channel is 1 over SmoothQuant's (Xiao et al. 2022, https://arxiv.org/abs/2211.10438, equation 4, α
    = 0.5), with the root of the mean square for the largest activation.

    Args:
        matrices: Each (inputs, outputs) float32.
        moments: The mean of x xᵀ over the activations, (inputs, inputs).

    Returns:
        (inputs,) float32.
    """
    sizes = np.sqrt(np.diag(moments))
    weights = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
    sizes, weights = (np.maximum(one, max(_DEAD * one.max(), np.finfo(np.float32).tiny)) for one in (sizes, weights))
    factors = np.sqrt(weights / sizes)
    balanced: np.ndarray = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
    return balanced
