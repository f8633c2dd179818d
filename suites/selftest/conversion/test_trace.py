"""The trace is the network at the sizes of its own inputs, and tracing leaves nothing behind."""

from __future__ import annotations

import pytest
import torch

from harness.conversion import TracedModel, trace_inner_model
from harness.subjects.surgery import FullHybridHTDemucs
from harness.subjects.taps import tap_names


def test_the_trace_computes_what_the_network_computes(
    traced: TracedModel, inner: FullHybridHTDemucs
) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = traced.interface.inputs.values()
    spectrogram, audio = (torch.randn(shape, generator=generator) for shape in shapes)
    with torch.no_grad():
        for actual, expected in zip(
            traced.script(spectrogram, audio), inner(spectrogram, audio), strict=True
        ):
            # Only the attention kernel differs: the trace has the one without the fast path.
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_it_knows_the_shapes_of_outputs_and_taps(
    traced: TracedModel, inner: FullHybridHTDemucs
) -> None:
    assert traced.interface.sources == ("a", "b", "c")
    inputs, outputs = traced.interface.inputs, traced.interface.outputs
    assert outputs["freq"] == (1, 3, *inputs["spectrogram"][1:])
    assert outputs["time"] == (1, 3, *inputs["audio"][1:])
    assert tuple(traced.taps) == tap_names(inner)
    assert traced.taps["freq"].shape == outputs["freq"]
    assert traced.taps["time"].shape == outputs["time"]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_attention_fast_path_is_as_it_was(
    inner: FullHybridHTDemucs, monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    seen = []

    def fail(*_: object, **__: object) -> None:
        seen.append(torch.backends.mha.get_fastpath_enabled())
        raise RuntimeError("interrupted")

    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        monkeypatch.setattr(torch.jit, "trace", fail)
        with pytest.raises(RuntimeError, match="interrupted"):
            trace_inner_model(inner)
        assert seen == [False]
        assert torch.backends.mha.get_fastpath_enabled() is enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
