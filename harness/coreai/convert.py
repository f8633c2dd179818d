"""From a network to a Core AI asset: exported by PyTorch, converted by Apple's ``coreai-torch``.

In: what of a subject is converted, in eval mode. Out: an ``.aimodel`` folder that appears whole or
not at all, whose inputs and outputs are those of the network's interface, float32 whatever it
computes in. Its taps may be outputs, too, named ``tap.NAME`` as in goldens: Apple's own tools show
no inner value off macOS.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from harness.atomic import atomic_folder
from harness.atomic.products import ASSET
from harness.coreai.asset import SUFFIX, tap_output
from harness.coreai.installed import import_converter, quiet_coreai
from harness.coreai.stages import IN_STAGES, NEEDED
from harness.errors import PackageError, ParityError, RecipeError
from harness.subjects.protocol import Extracted, plain_attention, recorded_outputs

PRECISIONS: Final[Mapping[str, torch.dtype]] = {"fp32": torch.float32, "fp16": torch.float16}
"""What a whole network can be converted to."""


@dataclass(frozen=True)
class ConvertedAsset:
    """What a conversion made.

    Attributes:
        path: the ``.aimodel`` folder.
        size_bytes: of all its files.
        operations: number of ATen operations that were converted.
        outputs: names of its outputs: the network's, then those of taps.
        seconds: wall-clock time.
    """

    path: Path
    size_bytes: int
    operations: int
    outputs: tuple[str, ...]
    seconds: float


def convert_to_coreai(
    inner: Extracted,
    out: str | Path,
    *,
    precision: str = "fp32",
    as_is: bool = False,
    taps: Sequence[str] = (),
    facts: Mapping[str, str] | None = None,
) -> ConvertedAsset:
    """Convert ``inner`` and save it at ``out``.

    Args:
        inner: a module in eval mode; it stays as it is.
        out: the ``.aimodel`` folder to write; an older one is replaced when the new one is whole.
        precision: of every operation: ``fp32`` or ``fp16``.
        as_is: leave long sums as the network has them, instead of writing them in stages.
        taps: names of taps to be outputs, too.
        facts: recorded in the asset's metadata.

    Raises:
        EngineUnavailableError: Core AI is not installed.
        RecipeError: another precision.
        PackageError: ``out`` has another suffix than ``.aimodel``.
        ParityError: ``coreai-torch`` can't convert the network.
    """
    started, out = time.perf_counter(), Path(out)
    if out.suffix != SUFFIX:
        raise PackageError(f"can't save an asset as {out}: the name must end in {SUFFIX}")
    exported = export(inner, precision=precision, as_is=as_is, taps=taps)
    interface = inner.interface
    outputs = (*interface.outputs, *(tap_output(name) for name in taps))
    program = lower(exported, tuple(interface.inputs), outputs)
    size_bytes = save(program, out, facts or {})
    calls = sum(node.op == "call_function" for node in exported.graph.nodes)
    return ConvertedAsset(out, size_bytes, calls, outputs, time.perf_counter() - started)


def export(
    inner: Extracted, *, precision: str = "fp32", as_is: bool = False, taps: Sequence[str] = ()
) -> torch.export.ExportedProgram:
    """Return ``inner`` as a graph of ATen operations that ``coreai-torch`` knows.

    Raises:
        EngineUnavailableError, RecipeError, ParityError: as `convert_to_coreai`.
    """
    if precision not in PRECISIONS:
        raise RecipeError(
            f"Core AI can't be given precision recipe {precision!r}: a whole network is converted "
            f"to {' or '.join(PRECISIONS)}"
        )
    wrapped = _Wrapped(inner, PRECISIONS[precision], taps).eval()
    inputs = tuple(torch.zeros(shape) for shape in inner.interface.inputs.values())
    return decomposed(wrapped, inputs, as_is=as_is)


def decomposed(
    module: nn.Module, inputs: tuple[Tensor, ...], *, as_is: bool
) -> torch.export.ExportedProgram:
    """Return a module, at the shapes of ``inputs``, over operations that ``coreai-torch`` knows.

    Raises:
        EngineUnavailableError: Core AI is not installed.
        ParityError: PyTorch can't export the module.
    """
    table = import_converter().get_decomp_table()
    table.update(NEEDED if as_is else {**NEEDED, **IN_STAGES})  # `|` would lose what it has
    try:
        with plain_attention(), quiet_coreai(), torch.no_grad():
            exported = torch.export.export(module, inputs)
            return cast(torch.export.ExportedProgram, exported.run_decompositions(table))
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        raise ParityError(f"torch.export can't export the network: {error}") from error


def lower(
    exported: torch.export.ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]
) -> Any:
    """Return the Core AI program of an exported one, with names for what it takes and returns.

    Raises:
        ParityError: ``coreai-torch`` doesn't know an operation of it.
    """
    converter = import_converter()
    try:
        with quiet_coreai():
            staged = converter.TorchConverter(mode=converter.TorchConverter.Mode.RELEASE)
            staged.add_exported_program(exported, input_names=inputs, output_names=outputs)
            return staged.to_coreai()
    except (RuntimeError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise ParityError(f"coreai-torch can't convert the network: {error}") from error


def save(program: Any, out: Path, facts: Mapping[str, str]) -> int:
    """Save a Core AI program at ``out``, whole or not at all, and return its size in bytes."""
    with atomic_folder(out, ASSET) as fresh, quiet_coreai():
        from coreai.runtime import AIModelAssetMetadata

        metadata = AIModelAssetMetadata()
        for key, value in facts.items():
            metadata.set_custom(key, value)
        program.save_asset(fresh, metadata)
        return sum(file.stat().st_size for file in fresh.rglob("*") if file.is_file())


class _Wrapped(nn.Module):
    """A network that takes and returns float32, whatever it computes in, and returns its taps."""

    def __init__(self, inner: Extracted, dtype: torch.dtype, taps: Sequence[str]) -> None:
        super().__init__()
        module = cast(nn.Module, inner)
        # Half of the same object would be half of the subject's own weights.
        self.inner = module if dtype is torch.float32 else copy.deepcopy(module).to(dtype)
        self._dtype = dtype
        self._taps = {name: inner.interface.taps[name] for name in taps}

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with recorded_outputs(self.inner, self._taps) as seen:
            returned = self.inner(*(x.to(self._dtype) for x in inputs))
        outputs = (returned,) if isinstance(returned, Tensor) else tuple(returned)
        return tuple(value.float() for value in (*outputs, *seen.values()))
