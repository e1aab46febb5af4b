"""LoRA's two factors of which the first so many ranks count: one width, shared by every layer of a model.

They stand in the places where PEFT has A and B as linear layers, with the same parameters under the same names.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass
class Width:
    """How many ranks count now, and how many of these are not trained now."""

    rank: int
    frozen: int = 0


class FirstRows(nn.Module):
    """The factor A (rank, inputs), of which the first `width.rank` rows count."""

    def __init__(self, weight: nn.Parameter, width: Width) -> None:
        super().__init__()
        self.weight, self.width = weight, width

    def narrow(self) -> Tensor:
        """The rows that count: (`width.rank`, inputs), a view where all of them are trained."""
        rows = self.weight[: self.width.rank]
        if not self.width.frozen:
            return rows
        return torch.cat([rows[: self.width.frozen].detach(), rows[self.width.frozen :]])

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) to (…, `width.rank`)."""
        return functional.linear(x, self.narrow())


class FirstColumns(nn.Module):
    """The factor B (outputs, rank), of which the first `width.rank` columns count."""

    def __init__(self, weight: nn.Parameter, width: Width) -> None:
        super().__init__()
        self.weight, self.width = weight, width

    def narrow(self) -> Tensor:
        """The columns that count: (outputs, `width.rank`), a view where all of them are trained."""
        columns = self.weight[:, : self.width.rank]
        if not self.width.frozen:
            return columns
        return torch.cat([columns[:, : self.width.frozen].detach(), columns[:, self.width.frozen :]], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """(…, `width.rank`) to (…, outputs)."""
        return functional.linear(x, self.narrow())
