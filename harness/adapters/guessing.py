"""Which layout a package has: every candidate that fits its shapes, run and held against PyTorch.

A package is run once for each way in which its inputs can be the contract's, and each of its
outputs is read in every way that its shape allows. What comes nearest to PyTorch is the layout, if
it is near enough and no other is as near. Where two are, the one with fewer transformations is: a
network that normalises its inputs hardly notices that its caller did so before.

Nothing here makes a wrong package right: the order of stems is the network's, and a layout moves
numbers. But a package that computes garbage is explained by no layout, and one that has a known
layout and an error is better judged with an adapter that was written for a sound one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from harness.adapters.adapter import Adapter, Tensors, check_fits, described, listed
from harness.adapters.candidates import input_ports, output_ports
from harness.adapters.layout import Port, Sizes
from harness.errors import ContractError, ParityError
from harness.metrics import snr_db

LEAST_DB: Final = 20.0
"""SNR under which a layout explains nothing: another order of anything is far below, and the worst
package that anybody would have judged is above."""
APART_DB: Final = 6.0
"""By which the next layout has to be worse."""
MOST_RUNS: Final = 128

Run = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Guess:
    """What was found.

    Attributes:
        adapter: the layout.
        snr_db: of each output beside PyTorch, by name.
        tried: number of runs.
        rivals: what else an output is as nearly and as simply, in words.
    """

    adapter: Adapter
    snr_db: Mapping[str, float]
    tried: int = 1
    rivals: tuple[str, ...] = ()

    @property
    def worst_db(self) -> float:
        """SNR of the output that is least explained."""
        return min(self.snr_db.values())


def guess_adapter(
    inputs: Shapes,
    outputs: Shapes,
    run: Run,
    golden: Tensors,
    sizes: Sizes,
    *,
    known: Adapter | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Guess:
    """Return the layout of a package.

    Args:
        inputs, outputs: its shapes, by name.
        run: executes it on float32 tensors.
        golden: the contract's inputs and outputs, and ``stems``, as PyTorch made them of a signal
            that tells channels, bins and frames apart.
        sizes: of the network.
        known: an adapter that is the only candidate.
        advance: called as ``advance(done, total)``.

    Raises:
        ContractError: no layout explains it, or several do; the message says which came nearest.
        ParityError: there are too many ways to try.
    """
    if known is not None:
        check_fits(known, {"inputs": inputs, "outputs": outputs}, sizes)
        made = run(known.feed(golden, sizes))
        levels = {n: _level(n, p, made[n], golden, sizes) for n, p in known.outputs.items()}
        return _nearest([Guess(known, levels)], sizes)
    readings = {name: _readings(name, shape, sizes) for name, shape in outputs.items()}
    ways = list(_ways({name: input_ports(name, s, sizes) for name, s in inputs.items()}, sizes))
    if not ways:
        raise ContractError(_misfit("inputs", inputs, sizes))
    if len(ways) > MOST_RUNS:
        raise ParityError(
            f"the inputs {listed(inputs)} can be the contract's in {len(ways)} ways, more than "
            f"the {MOST_RUNS} that are tried; write the adapter by hand (docs/adapters.md)"
        )
    found = []
    for done, way in enumerate(ways):
        advance(done, len(ways))
        made = run(Adapter(way, _ANY).feed(golden, sizes))
        found.append(_read(way, made, readings, golden, sizes))
    advance(len(ways), len(ways))
    return _nearest(found, sizes)


_ANY: Final = {"": Port("time", "s c n")}  # outputs that nobody reads


def _readings(name: str, shape: Sequence[int], sizes: Sizes) -> list[Port]:
    ports = output_ports(name, shape, sizes)
    if not ports:
        raise ContractError(_misfit("outputs", {name: shape}, sizes))
    plain = [port for port in ports if "mask" not in port.tensor]
    return ports + [replace(port, normalised=True) for port in plain]


def _ways(candidates: Mapping[str, Sequence[Port]], sizes: Sizes) -> Iterator[dict[str, Port]]:
    """Yield every way in which the inputs can be the contract's, each tensor once."""
    for ports in itertools.product(*candidates.values()):
        if not _once(ports):
            continue
        way = dict(zip(candidates, ports, strict=True))
        yield way
        yield {
            name: port if port.plain == "" else replace(port, normalised=True)
            for name, port in way.items()
        }


def _once(ports: Sequence[Port]) -> bool:
    spectra = [port for port in ports if port.tensor == "spectrogram"]
    others = [port.tensor for port in ports if port.tensor != "spectrogram"]
    whole = [port for port in spectra if " " in port.parts]
    halves = {port.parts: port.axes for port in spectra if " " not in port.parts}
    pair = len(halves) == len(spectra) == 2 and len({*halves.values()}) == 1
    single = len(whole) == len(spectra) <= 1
    return (pair or single) and len({*others}) == len(others) and bool(spectra or "audio" in others)


def _read(
    way: Mapping[str, Port],
    made: Tensors,
    readings: Mapping[str, Sequence[Port]],
    golden: Tensors,
    sizes: Sizes,
) -> Guess:
    """Return the nearest reading of every output, those with fewer transformations first."""
    ports: dict[str, Port] = {}
    levels: dict[str, float] = {}
    rivals: list[str] = []
    for name, candidates in readings.items():
        reached = [_level(name, port, made[name], golden, sizes) for port in candidates]
        best = max(reached)
        near = [i for i, level in enumerate(reached) if level == best or level > best - APART_DB]
        least = min(candidates[i].normalised for i in near)
        first, *others = (i for i in near if candidates[i].normalised == least)
        ports[name], levels[name] = candidates[first], reached[first]
        rivals += [f"output {name!r} is {described(candidates[i])}" for i in others]
    return Guess(Adapter(way, ports), levels, rivals=tuple(rivals))


def _level(name: str, port: Port, made: Tensor, golden: Tensors, sizes: Sizes) -> float:
    """Return the SNR of one output, read as a port says; -inf of what is not finite."""
    adapter = Adapter({"audio": Port("audio", "c n")}, {name: port})
    if "mask" in port.tensor:  # of which only what it makes of the mixture is known
        ((_, actual),) = adapter.read({name: made}, golden, sizes).items()
        ((_, expected),) = adapter.expected(golden).items()
    else:
        actual = adapter.plain_output(name, made, golden, sizes)
        expected = _plain_of(port, golden, sizes)
    if not actual.isfinite().all():
        return -math.inf
    level = snr_db(expected.numpy(), actual.numpy())
    return -math.inf if math.isnan(level) else level


def _plain_of(port: Port, golden: Tensors, sizes: Sizes) -> Tensor:
    """Return what PyTorch made of a port's tensor, in its plain axes."""
    value: Tensor
    if port.tensor == "freq":
        value = golden["freq"][0].unflatten(-3, (-1, 2))
    else:
        value = golden["stems"] if port.tensor == "stems" else golden["time"][0]
    if port.stem:
        value = value[sizes.sources.index(port.stem)]
    if port.parts in ("real", "imag"):
        value = value.select(-3, int(port.parts == "imag"))
    return value


def _nearest(found: Sequence[Guess], sizes: Sizes) -> Guess:
    best = max(guess.worst_db for guess in found)
    if not best >= LEAST_DB:
        nearest = max(found, key=lambda guess: guess.worst_db)
        raise ContractError(
            f"no layout explains this package ({len(found)} were tried): the nearest has "
            f"{nearest.worst_db:.1f} dB, expected {LEAST_DB:g} or more, with "
            f"{'; '.join(nearest.adapter.words())}; are these its weights, and its stems in this "
            f"order: {', '.join(sizes.sources)}?"
        )
    near = [guess for guess in found if guess.worst_db > best - APART_DB or guess.worst_db == best]
    least = min(map(_transformations, near))
    first, *others = (guess for guess in near if _transformations(guess) == least)
    rivals = [*first.rivals]
    if others:
        known = first.adapter.words()
        rivals += [words for words in others[0].adapter.words() if words not in known]
    if rivals:
        raise ContractError(
            f"{len(others) + len(first.rivals) + 1} layouts explain this package equally well "
            f"({best:.1f} dB); write the one that is meant by hand (docs/adapters.md): "
            f"{'; '.join(first.adapter.words())}; or {'; or '.join(rivals)}"
        )
    return _complete(replace(first, tried=len(found)), sizes)


def _transformations(guess: Guess) -> int:
    adapter = guess.adapter
    return sum(port.normalised for port in (*adapter.inputs.values(), *adapter.outputs.values()))


def _complete(guess: Guess, sizes: Sizes) -> Guess:
    """Check that parts and stems belong together, on tensors of nothing."""
    adapter, own = guess.adapter, sizes.geometry
    nothing = {
        "spectrogram": torch.zeros(own.spectrogram_shape),
        "audio": torch.zeros(own.audio_shape),
    }
    outputs = {name: torch.zeros(sizes.shape(port)) for name, port in adapter.outputs.items()}
    adapter.read(outputs, nothing, sizes)
    return guess


def _misfit(kind: str, shapes: Shapes, sizes: Sizes) -> str:
    own = sizes.geometry
    return (
        f"the package has the {kind} {listed(shapes)}, which can't be made of this network's "
        f"{len(sizes.sources)} stems, {own.channels} channels, {own.frequency_bins} bins (and the "
        f"Nyquist bin), {own.frames} frames (and 2 at either edge) and {own.segment_length} samples"
    )
