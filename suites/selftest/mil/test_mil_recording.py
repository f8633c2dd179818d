"""A recorded run is a CUDA graph, so what no GPU holds can't be recorded, and says so."""

from __future__ import annotations

import pytest
import torch

from harness import mil
from harness.errors import ContractError
from harness.mil.recording import record


def test_inputs_that_are_not_on_a_gpu_are_refused(make_package):
    """Else PyTorch's own words, about streams, would be all that a user on a CPU gets to read."""
    model = mil.load(make_package(lambda mb, x: mb.square(x=x), x=(2, 3)))
    with pytest.raises(ContractError, match=r"inputs are on \['cpu'\]; only runs on cuda"):
        record(model, {"x": torch.ones(2, 3)})
