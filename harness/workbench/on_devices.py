"""What devices would make of a package, as far as is published of them, and what one has made.

A device is executed as its profile assumes; each other variant of each unknown, which gives a band,
and each thing that it might do better, which says what dominates, are told from that run
(`harness.precision.placement.vary`). Split over the units of a machine, every operation is executed
as its own unit computes it, and ``worst`` is a floor over all splits. Nothing here is a device, so
none of it gates. A capture is the device: one that is worse than predicted by more than the band
fails, and the operation is named that explains it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from harness.captures import Capture
from harness.conversion import PrecisionRecipe
from harness.devices import Device, band
from harness.devices.grid import OVERFLOW
from harness.errors import ParityError, command_line
from harness.layers import Tensors, branch_checks, stem_checks
from harness.mil import Model, functional
from harness.mil.numerics.device import device_of
from harness.precision.placement import (
    UNITS,
    Machine,
    find_culprit,
    find_floor,
    machine_of,
    vary,
)
from harness.precision.sensitivity import (
    SignalMeasure,
    Stems,
    output_measure,
    snr_of,
    stem_measures,
)
from harness.precision.sensitivity.on_units import WIDE
from harness.precision.tuning.forms import SUPPOSITIONS
from harness.subjects import Network
from harness.subjects.protocol import sound_of
from harness.verdicts import Check, Outcome, Verdict, bound, gate, not_evaluated
from harness.verdicts.rows.devices import Claim, DeviceLevel, DevicePrediction, Supposition
from harness.verdicts.rows.labelled import labels_of
from harness.workbench.predictions import Prediction

EXPLORATORY: Final = PrecisionRecipe("device", "fp16")
"""Claims no gate."""
WORST: Final = "worst"
PLACEMENTS: Final = (*UNITS, WORST)
BETTER: Final[Mapping[str, Mapping[str, str | float]]] = {
    "tables": SUPPOSITIONS["tables exact"],
    "accumulation": SUPPOSITIONS["accumulators wide"],
    "biases": SUPPOSITIONS["biases added wide"],
    "range": {"product_ceiling": OVERFLOW, "product_subnormals": "kept"},
}
"""What may dominate a prediction, and how a device would compute without it."""
EXPLAINED: Final = 0.5
"""What one operation must explain of a difference to be named as its cause."""

Arrays = Mapping[str, np.ndarray]
Row = Check | DevicePrediction
Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Question:
    """A package on one signal.

    Attributes:
        model: the package.
        network: that it was made of.
        expected: PyTorch's outputs, and stems where there are some.
        inputs: by name.
        labels: of every check; ``case`` among them.
    """

    model: Model
    network: Network
    expected: Tensors
    inputs: Arrays
    labels: Mapping[str, str]

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The inputs as the executor takes them."""
        features = {feature.name: feature for feature in self.model.inputs}
        return {
            name: WIDE.from_numpy(
                features[name].check_array(array, WIDE, self.model.package.path),
                features[name].dtype,
            )
            for name, array in self.inputs.items()
        }

    def made(self, outputs: Mapping[str, torch.Tensor]) -> Prediction:
        """Return what outputs of the executor stand for."""
        types = {feature.name: feature.dtype for feature in self.model.outputs}
        arrays = {n: WIDE.to_numpy(value, types[n]) for n, value in outputs.items()}
        return Prediction(self.network, arrays)

    def levels(self, made: Prediction) -> dict[str, float]:
        """Return SNR by stem, or by output where there are no stems; silence has none."""
        if made.has_stems:
            stems = self.expected["stems"]
            sources = enumerate(self.network.sources)
            pairs = {name: (stems[index], made.stems[index]) for index, name in sources}
        else:
            pairs = {name: (self.expected[name], value) for name, value in made.outputs.items()}
        return {name: _snr(*pair) for name, pair in pairs.items() if pair[0].any()}

    def measures(self) -> list[SignalMeasure]:
        """Return the measures of all stems, or of outputs where there are none."""
        network = self.network
        if not network.sources:
            return [output_measure(name) for name in network.interface.outputs]
        rate = sound_of(network).sample_rate
        return list(stem_measures(Stems(network.sources, network.stem_of, rate)))


def device_rows(
    question: Question,
    device: str,
    *,
    placement: str = "",
    capture: Capture | None = None,
    advance: Advance = lambda done, total: None,
) -> Iterator[Row]:
    """Yield what a device would make of a package, as exploratory checks and as a prediction.

    With a capture there is a check that gates, too.

    Args:
        question: the package and the signal.
        device: a profile, with settings or without.
        placement: of `PLACEMENTS`, over the units of the device's machine; empty for one unit.
        capture: what a device of this kind made of the same inputs.
        advance: called as ``advance(done, total)``, with what takes long: operations beside all
            variants, or whole splits on the way to the worst.

    Raises:
        ParityError: no such device, or placement; or the program has branches or loops.
        CaptureError: the capture was made of other inputs, or of another package.
    """
    unit, model = device_of(device), functional(question.model)
    question = replace(question, model=model)
    branching = next((step.operation for step in model.plan.steps if step.blocks), None)
    if branching is not None:
        words = ("--inputs", "in.safetensors", "--out", "made.safetensors", "--numerics", device)
        raise ParityError(
            f"{branching} has blocks, which no prediction on a device looks into; leave --device "
            f"out, and execute it with: {command_line('predict', 'X.mlpackage', *words)}"
        )
    if capture is not None:
        shapes = {output.name: question.expected[output.name].shape for output in model.outputs}
        capture.check_inputs(question.inputs, Path("the capture"))
        capture.check_outputs(shapes, Path("the capture"))
    if placement:
        check_placement(placement)
        yield from _placed(question, unit, placement, advance)
        return
    others = [
        other
        for other in band(unit)[1:]
        if other.settings.get("placement") == unit.settings.get("placement")  # computes the same
    ]
    better = [unit.supposing(**settings) for settings in BETTER.values()]
    usual, varied = vary(model, question.tensors, unit, [*others, *better], advance)
    made = question.made(usual)
    yield from _checks(question, made, unit.label)
    levels = question.levels(made)
    if not levels:  # silence has no ratio
        if capture is not None:
            reason = f"{question.labels['case']} is silent: a capture of it has no ratio to judge"
            yield _verdict(question, unit, not_evaluated(reason))
        return
    settled = [question.levels(question.made(outputs)) for outputs in varied]
    row = _prediction(question, unit, levels, settled, [other.label for other in others])
    if capture is None:
        yield row
        return
    yield from _captured(question, unit, row, usual, capture)


def check_placement(name: str) -> None:
    """Refuse a placement that is none.

    Raises:
        ParityError: there is none of this name.
    """
    if name not in PLACEMENTS:
        raise ParityError(f"unknown placement {name!r}; expected one of {', '.join(PLACEMENTS)}")


def _checks(question: Question, made: Prediction, name: str) -> Iterator[Check]:
    own = {**question.labels, "numerics": name}
    pair = question.expected, made.tensors
    yield from branch_checks(*pair, EXPLORATORY, own, outputs=tuple(made.outputs))
    if made.has_stems:
        stems, sources = question.expected["stems"], question.network.sources
        yield from stem_checks(stems, made.stems, sources, own, gating=False)


def _prediction(
    question: Question,
    unit: Device,
    levels: Mapping[str, float],
    settled: Sequence[Mapping[str, float]],
    variants: Sequence[str],
) -> DevicePrediction:
    every = [levels, *settled[: len(variants)]]
    worst = [min(some.values()) for some in settled]
    return DevicePrediction(
        **labels_of({**question.labels, "numerics": unit.label}),
        placement="",
        levels=tuple(
            DeviceLevel(name, db, min(e[name] for e in every), max(e[name] for e in every))
            for name, db in levels.items()
        ),
        variants=tuple(map(Supposition, variants, worst)),
        better=tuple(map(Supposition, BETTER, worst[len(variants) :])),
        claims=_claims(unit),
    )


def _claims(unit: Device) -> tuple[Claim, ...]:
    profile = unit.profile
    known = [(name, str(fact.value), fact.origin) for name, fact in profile.facts.items()] + [
        (f"table of {name}", f"{table.knots} knots, {table.values}", table.origin)
        for name, table in profile.tables.items()
    ]
    claims = [Claim(what, value, o.basis, o.confidence, o.source) for what, value, o in known]
    for name, unknown in profile.unknowns.items():
        variants = " or ".join(map(str, unknown.variants))
        claims.append(Claim(name, variants, "unknown", unknown.origin.confidence, unknown.reason))
    return tuple(claims)


# ------------------------------------------------------------------ over several units


def _placed(question: Question, unit: Device, placement: str, advance: Advance) -> Iterator[Row]:
    machine = machine_of(unit)
    name = f"{unit.label}, split {placement}"
    if placement == WORST:
        levels, note = _floors(question, machine, advance)
    else:
        split = machine.all_on(question.model, placement)
        outputs = question.model.run(question.tensors, operation_numerics=machine.numerics(split))
        made = question.made(outputs)
        yield from _checks(question, made, name)
        levels = question.levels(made)
        here = [*split.values()].count(placement)
        note = f"{here} of {len(split)} operations in FP16 run there, the others where they can."
    if levels:
        yield DevicePrediction(
            **labels_of({**question.labels, "numerics": name}),
            placement=placement,
            levels=tuple(DeviceLevel(stem, db, db, db) for stem, db in levels.items()),
            variants=(),
            better=(),
            claims=_claims(unit),
            note=note,
        )


def _floors(question: Question, machine: Machine, advance: Advance) -> tuple[dict[str, float], str]:
    """Return the floor of each stem or output, and what was done to find it."""
    outputs = list(question.network.interface.outputs)
    expected = {name: torch.from_numpy(np.array(question.expected[name])) for name in outputs}
    asked = question.tensors, expected, question.measures()
    found = find_floor(question.model, machine, *asked, advance)
    levels = {floor.measure.partition(":")[2]: floor.db for floor in found}
    tried = max((len(floor.tried) for floor in found), default=0)
    return levels, f"The worst of {tried} splits that adjoints led to, as executed."


# ------------------------------------------------------------------ beside a capture


def _captured(
    question: Question,
    unit: Device,
    row: DevicePrediction,
    usual: Mapping[str, torch.Tensor],
    capture: Capture,
) -> Iterator[Row]:
    outputs = {name: np.asarray(capture.outputs[name]) for name in usual}
    made = question.levels(Prediction(question.network, outputs))
    levels = [replace(level, captured_db=made[level.name]) for level in row.levels]
    furthest = min(levels, key=lambda level: made[level.name] - level.low_db)
    below = furthest.low_db - made[furthest.name]
    outcome = bound(below, gate("captured"), what=f"{furthest.name} under the band")
    words = ""
    if outcome.verdict is Verdict.FAIL:
        words = _blame(question, unit, usual, outputs)
        outcome = replace(outcome, reason=f"{outcome.reason}: {words}")
    yield _verdict(question, unit, outcome)
    yield replace(row, levels=tuple(levels), note=words)


def _verdict(question: Question, unit: Device, outcome: Outcome) -> Check:
    labels = {**question.labels, "numerics": unit.label, "what": "capture beside its prediction"}
    return Check("conversion", labels, True, gate("captured"), outcome)


def _blame(
    question: Question, unit: Device, usual: Mapping[str, torch.Tensor], outputs: Arrays
) -> str:
    """Return in words which operation explains a capture."""
    broken = sum(int((~np.isfinite(value)).sum()) for value in outputs.values())
    if broken:
        return (
            f"{broken:,} of its values are infinite or NaN, which no share of an error explains; "
            "'parity diagnose --capture' says where they begin if it has inner values"
        )
    ways = {
        f"by {other.profile.name}": other
        for other in machine_of(unit).units.values()
        if other.profile.unit != unit.profile.unit
    }
    ways |= {f"by {other.label}": other for other in band(unit)[1:]}
    ways |= {f"with other {name}": unit.supposing(**how) for name, how in BETTER.items()}
    captured = {name: torch.from_numpy(np.array(value)) for name, value in outputs.items()}
    found = find_culprit(
        question.model, question.tensors, unit, ways, usual, captured, question.measures()
    )
    if found is None:
        return "the program has no operation in FP16"
    share = f"{100 * max(found.explained, 0):.0f} % of the difference"
    name = f"{found.type} {found.operation!r}"
    if found.explained < EXPLAINED:
        return f"no single operation explains it; nearest is {name} {found.way}, with {share}"
    return f"as if {name} were computed {found.way}, which explains {share}"


def _snr(expected: np.ndarray, actual: np.ndarray) -> float:
    wide = expected.astype(np.float64)
    ratio = float(np.square(wide - actual).sum() / np.square(wide).sum())
    return snr_of(math.inf if math.isnan(ratio) else ratio)
