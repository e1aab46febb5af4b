"""Where a test computes: on the CPU, and, in tests marked `gpu`, on a CUDA device."""

import pytest

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
