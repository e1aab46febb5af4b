"""How far a student's states and vectors are from the teacher's.

Every loss is a share: 0 where the student gives what the teacher gives, 1 where it gives the same mean for everything.
So the losses of layers whose states have different sizes can be added up, whatever the teacher.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

# Of cosines before the softmax; differences of some hundredths between sentences matter.
_TEMPERATURE = 0.05
FEWEST_ROWS = 3  # whose similarities can be compared: of two, each has only one other
_SMALL = 1e-9


def unexplained(student: Tensor, teacher: Tensor, *, variance: float) -> Tensor:
    """The share of the teacher's variance that the student does not explain, float32, ().

    It is the squared error of DistilBERT's and TinyBERT's losses of hidden states (Jiao et al. 2020, arXiv 1909.10351,
    equation 8), in units of the teacher's variance.

    Args:
        student: (rows, hidden), floating-point.
        teacher: (rows, hidden).
        variance: As `variance_of` gives it for states of the teacher.
    """
    return (student.float() - teacher.float()).square().sum(dim=-1).mean() / variance


def directions(vectors: Tensor) -> Tensor:
    """Vectors (rows, hidden) as float32 of length 1, whose squared distance is 2 - 2 cos."""
    return functional.normalize(vectors.float(), dim=-1)


def variance_of(vectors: Tensor) -> float:
    """The mean squared distance of vectors (rows, hidden) from their mean; 1 where they are all equal."""
    vectors = vectors.double()
    return float((vectors - vectors.mean(dim=0)).square().sum(dim=-1).mean()) or 1.0


def unexplained_similarities(student: Tensor, teacher: Tensor) -> Tensor:
    """How far the student's similarities within a batch are from the teacher's, float32, ().

    The Kullback-Leibler divergence of the softmax of each row's cosines with the other rows, from the teacher's to the
    student's, as MiniLMv2's loss of relations (Wang et al. 2021, arXiv 2012.15828, equations 5 and 6) has it between
    tokens. It is divided by that from the teacher's to the uniform distribution, and needs no common width.

    Args:
        student: (rows, hidden of the student); at least `FEWEST_ROWS`.
        teacher: (rows, hidden of the teacher).
    """
    ours, theirs = (_relations(vectors) for vectors in (student, teacher))
    divergence = functional.kl_div(ours, theirs, reduction="sum", log_target=True)
    uniform = torch.full_like(theirs, -math.log(theirs.shape[1]))
    return divergence / functional.kl_div(uniform, theirs, reduction="sum", log_target=True).clamp_min(_SMALL)


def _relations(vectors: Tensor) -> Tensor:
    """Log probabilities (rows, rows - 1) of the other rows, by their cosines."""
    unit = functional.normalize(vectors.float(), dim=-1)
    cosines = unit @ unit.T / _TEMPERATURE  # (rows, rows)
    rows = len(vectors)
    others = ~torch.eye(rows, dtype=torch.bool, device=vectors.device)
    return cosines[others].view(rows, rows - 1).log_softmax(dim=1)
