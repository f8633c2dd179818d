"""Which rewritings a device gains by: a search over forms, each measured as it is converted.

Every trial is the whole network in FP16, written in some of the forms of `harness.rewriting`, as a
device computes it, beside the network in FP32 as it was. The search starts with all forms, because
one hides what another gains, and leaves out one after the other, on a device whose accumulators are
supposed to be wide, because these cost minutes and forms hardly touch them; what it ends with is
measured as the device is, with and without the forms that are for its accumulators. A form stays if
the worst ratio suffers without it, or if it saves operations and costs no ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from harness.rewriting import ALTERNATIVES, APPROXIMATE, FOR_SUMS, REWRITINGS

KIND: Final = "rewriting"
VERSION: Final = 1
GAIN_DB: Final = 0.1
"""What leaving out a form must gain, and may lose if it saves operations."""
SUPPOSITIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "tables exact": {
        "activations": "rounded_once",
        "real_div": "rounded_once",
        "softmax": "rounded_once",
    },
    "accumulators wide": {"accumulator": "wide", "convolution_accumulator": "wide"},
    "biases added wide": {"bias": "wide"},
}
"""What is asked of a device to learn which of its properties limits a network."""
QUICK: Final = "accumulators wide"
OTHERWISE: Final[Mapping[str, Mapping[str, str]]] = {
    "sums rounded to nearest": {"tile_alignment": "nearest"}
}
"""What is supposed of a device to learn what a form of `FOR_SUMS` risks."""

Levels = Mapping[str, float]
"""SNR in dB by ``DEVICE/CASE/MEASURE``."""
Count = Callable[[tuple[str, ...]], int]
Measured = Callable[[tuple[str, ...], tuple[str, ...]], Levels]
"""From rewritings and suppositions (keys of `SUPPOSITIONS` or `OTHERWISE`) to levels."""


@dataclass(frozen=True)
class FormTrial:
    """The network in some forms.

    Attributes:
        rewrites: names of `harness.rewriting.REWRITINGS`, in the order in which they are applied.
        operations: of the program.
        supposed: what the device is supposed to do otherwise; of `SUPPOSITIONS` or `OTHERWISE`.
        measured_db: SNR by ``DEVICE/CASE/MEASURE``.
    """

    rewrites: tuple[str, ...]
    operations: int
    supposed: tuple[str, ...]
    measured_db: Levels

    @property
    def worst_db(self) -> float:
        """The lowest SNR."""
        return min(self.measured_db.values(), default=math.inf)


@dataclass(frozen=True)
class FormSearch:
    """What the search found.

    Attributes:
        devices: names of device numerics.
        cases: inputs.
        min_snr_db: what every output should have on every device.
        max_more_operations: how many more operations the program may have, as a part of them.
        best: the forms that were chosen, on the devices as they are.
        plain: the program as it was, likewise.
        trials: all that was measured, in order.
        limits: SNR of the worst output of ``best`` if a device did better, by what it does better.
        risks: the same if sums were made otherwise than a form of ``best`` counts on.
        equal_db: SNR by ``CASE/MEASURE`` of the forms in FP32 beside the program in FP32 as it was.
    """

    devices: tuple[str, ...]
    cases: tuple[str, ...]
    min_snr_db: float
    max_more_operations: float
    best: FormTrial
    plain: FormTrial
    trials: tuple[FormTrial, ...]
    limits: Levels
    risks: Levels
    equal_db: Levels

    @property
    def reached(self) -> bool:
        """Whether every output has ``min_snr_db`` within the allowed number of operations."""
        return self.best.worst_db > self.min_snr_db and self.within

    @property
    def within(self) -> bool:
        """Whether the program has no more operations than it may have."""
        return self.best.operations <= self.plain.operations * (1 + self.max_more_operations)

    def to_dict(self) -> dict[str, Any]:
        """Return the document: plain JSON data, with its kind and version."""
        return {"kind": KIND, "version": VERSION, "reached": self.reached, **asdict(self)}


class FormSearcher:
    """Leaves out forms by which a device does not gain.

    Args:
        count: gives the number of operations of the program in some forms.
        measured: measures it.
        more: how many more operations it may have, as a part of those of the plain program.
        report: gets a line for each trial.
        approximate: whether forms may be chosen that are not the function that they replace.
    """

    def __init__(
        self,
        count: Count,
        measured: Measured,
        more: float,
        report: Callable[[str], None],
        *,
        approximate: bool = False,
    ) -> None:
        self._count, self._measured, self._report = count, measured, report
        self._forms = [name for name in REWRITINGS if approximate or name not in APPROXIMATE]
        self.trials: list[FormTrial] = []
        self._most = math.floor(count(()) * (1 + more))

    def trial(self, rewrites: Sequence[str], *supposed: str) -> FormTrial:
        """Measure the program in the forms ``rewrites``, on devices as they are, or supposed."""
        names = tuple(name for name in REWRITINGS if name in rewrites)
        for known in self.trials:  # a run takes minutes
            if (known.rewrites, known.supposed) == (names, supposed):
                return known
        found = FormTrial(names, self._count(names), supposed, self._measured(names, supposed))
        self.trials.append(found)
        told = f" ({', '.join(supposed)})" if supposed else ""
        self._report(
            f"{', '.join(names) or 'as it was'}: {found.operations} operations, worst "
            f"{found.worst_db:.2f} dB{told}"
        )
        return found

    def search(self) -> FormTrial:
        """Return the chosen forms, measured on the devices as they are."""
        longer = {long for short, long in ALTERNATIVES.items() if short in self._forms}
        names = tuple(name for name in self._forms if name not in longer | FOR_SUMS)
        best = self.trial(names, QUICK)
        for name in names:
            tried = self.trial([other for other in best.rewrites if other != name], QUICK)
            saves = tried.operations < best.operations
            if tried.worst_db >= best.worst_db + (-GAIN_DB if saves else GAIN_DB):
                best = tried
        best = self.trial(self._fitting(self._refined(best)).rewrites)
        for name in sorted(FOR_SUMS.intersection(self._forms)):
            tried = self.trial((*best.rewrites, name))
            if tried.worst_db >= best.worst_db + GAIN_DB and tried.operations <= self._most:
                best = tried
        return best

    def _refined(self, best: FormTrial) -> FormTrial:
        """Take the longer of two forms where there is room for it."""
        for short, long in ALTERNATIVES.items():
            names = tuple(long if name == short else name for name in best.rewrites)
            if short in best.rewrites and self._count(names) <= self._most:
                tried = self.trial(names, QUICK)
                best = tried if tried.worst_db >= best.worst_db + GAIN_DB else best
        return best

    def _fitting(self, best: FormTrial) -> FormTrial:
        """Leave out what costs least ratio until no operation is too many."""
        while best.operations > self._most:
            without = [tuple(o for o in best.rewrites if o != name) for name in best.rewrites]
            fewer = [names for names in without if self._count(names) < best.operations]
            if not fewer:
                break
            best = max((self.trial(names, QUICK) for names in fewer), key=lambda t: t.worst_db)
        return best

    def limits(self, best: FormTrial) -> dict[str, float]:
        """Return the worst SNR of ``best`` with each supposition alone, and with all.

        Where accumulators are supposed to be wide, forms that are for others are left out.
        """
        asked = [(name,) for name in SUPPOSITIONS] + [tuple(SUPPOSITIONS)]
        found = {}
        for some in asked:
            unfit = FOR_SUMS if QUICK in some else ()
            names = [name for name in best.rewrites if name not in unfit]
            found[" and ".join(some)] = self.trial(names, *some).worst_db
        return found

    def risks(self, best: FormTrial) -> dict[str, float]:
        """Return the worst SNR of ``best`` with each way of `OTHERWISE`, if a form is for sums."""
        counted_on = FOR_SUMS.intersection(best.rewrites)
        return {n: self.trial(best.rewrites, n).worst_db for n in OTHERWISE} if counted_on else {}
