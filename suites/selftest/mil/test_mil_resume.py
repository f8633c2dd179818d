"""A run that is taken up from the middle is the same run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness import mil
from harness.errors import ContractError

STEPS = 6


@given(cuts=st.lists(st.integers(0, STEPS), max_size=4), seed=st.integers(0, 99))
def test_a_run_in_pieces_is_the_run(network: mil.Model, cuts: list[int], seed: int) -> None:
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(seed))
    assert len(network.operations) == STEPS
    values = {"x": x}
    for first, stop in zip([0, *sorted(cuts)], [*sorted(cuts), STEPS], strict=True):
        values = network.resume(values, first, stop)
    expected = network.run({"x": x})
    assert values.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(values[name], tensor)


def test_the_values_that_are_given_stay_as_they_are(network: mil.Model, x: np.ndarray) -> None:
    """Results may overwrite dead operands in a whole run; here somebody else may need them."""
    for stop in range(STEPS):
        values = network.resume({"x": torch.from_numpy(x)}, 0, stop)
        copies = {name: tensor.clone() for name, tensor in values.items()}
        network.resume(values, stop)
        for name, tensor in values.items():
            assert torch.equal(tensor, copies[name])


def test_only_what_is_read_later_is_kept(network: mil.Model, x: np.ndarray) -> None:
    kept = network.resume({"x": torch.from_numpy(x)}, 0, 2)
    assert kept.keys() == {"activated"}


def test_every_operation_of_the_stretch_is_observed_once(network: mil.Model, x: np.ndarray) -> None:
    seen: list[str] = []
    values = network.resume({"x": torch.from_numpy(x)}, 0, 1)
    network.resume(values, 1, 4, observe=lambda operation, _: seen.append(operation.name))
    assert seen == [operation.name for operation in network.operations[1:4]]


def test_a_missing_value_is_an_error(network: mil.Model) -> None:
    with pytest.raises(ContractError, match="needs the values activated to go on from operation 2"):
        network.resume({}, 2)
