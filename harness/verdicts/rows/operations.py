"""What a run keeps of every operation of a package: a list of metrics, and the rows they stand in.

`OPERATION_METRICS` is the one list of what is known of an operation. A metric that is measured is
computed in `harness.diagnosis.profile`, under its name; one that follows from others is computed
here. Rows, the published schema, the columns of the report, their words and their colours all come
from the list, by name: who adds a metric adds an entry, and a function that measures it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from harness.verdicts.jsondata import Count, Keys
from harness.verdicts.rows.labelled import Labelled

FP16_MAX: Final = 65504.0

Values = Mapping[str, float | None]
Form = Literal["decibels", "small", "count", "percent"]
Precision = Literal["fp16", "fp32", "other"]


@dataclass(frozen=True)
class OperationMetric:
    """One metric of an operation.

    Attributes:
        name: by which rows, columns and colours know it; ends in its unit, if it has one.
        meaning: in words.
        form: how a number of it is written.
        lower_is_worse: which end is the bad one.
        column: heading of its column in the report; empty for none.
        logarithmic: whether its colours go by magnitude where it spreads over more than 100 times.
        derived: what makes it of the measured ones; None if it is measured itself.
    """

    name: str
    meaning: str
    form: Form
    lower_is_worse: bool
    column: str = ""
    logarithmic: bool = False
    derived: Callable[[Values], float | None] | None = None

    def rounded(self, value: float | None) -> float | None:
        """Return ``value`` with as many digits as a row keeps."""
        if value is None or self.form == "count":
            return value if value is None else float(value)
        return round(value, 2) if self.form == "decibels" else float(f"{value:.4g}")

    def worst(self, values: Iterable[float | None]) -> float | None:
        """Return the worst of several; what is not a number is worse than every number."""
        known = [value for value in values if value is not None]
        if any(map(math.isnan, known)):
            return math.nan
        choose = min if self.lower_is_worse else max
        return choose(known) if known else None


def _headroom_db(values: Values) -> float | None:
    """Return the distance from the largest magnitude up to FP16's largest number."""
    peak = values.get("peak")
    if peak is None or math.isnan(peak):
        return None
    return 20 * (math.log10(FP16_MAX) - math.log10(peak)) if peak > 0 else math.inf


_METRICS: Final = (
    OperationMetric(
        "snr_db",
        "accumulated error; unknown where there is no counterpart, or the reference is silent",
        "decibels",
        lower_is_worse=True,
        column="SNR",
    ),
    OperationMetric(
        "local_db",
        "the error that it adds itself: its result on the reference's inputs",
        "decibels",
        lower_is_worse=True,
        column="Adds itself",
    ),
    OperationMetric(
        "max_abs_error",
        "of any element",
        "small",
        lower_is_worse=False,
        column="Max error",
        logarithmic=True,
    ),
    OperationMetric("peak", "largest magnitude in the reference", "small", lower_is_worse=False),
    OperationMetric(
        "headroom_db",
        "from the largest magnitude up to 65,504",
        "decibels",
        lower_is_worse=True,
        column="Headroom",
        derived=_headroom_db,
    ),
    OperationMetric(
        "ulp_p99",
        "units in the last place of its declared type that 99 % of a sample keep within",
        "count",
        lower_is_worse=False,
        column="Steps, 99 %",
        logarithmic=True,
    ),
    OperationMetric(
        "subnormal_share",
        "of a sample, what FP16 holds as subnormals or makes zero",
        "percent",
        lower_is_worse=False,
        column="Subnormal",
        logarithmic=True,
    ),
)
OPERATION_METRICS: Final = {metric.name: metric for metric in _METRICS}
"""Every metric of an operation by its name, in the order of the columns."""


def measured_metrics() -> tuple[str, ...]:
    """Return the names of the metrics that rows hold: those that don't follow from others."""
    return tuple(name for name, metric in OPERATION_METRICS.items() if metric.derived is None)


@dataclass(frozen=True)
class OperationProfile:
    """What one operation of a package was like beside its reference.

    Attributes:
        index: its place in the program.
        operation: its name, as recipes spell it.
        type, module: of the operation; ``module`` is the path of the PyTorch module.
        precision: of its result.
        metrics: what was measured, by name; null, or missing, where it is not known.
    """

    index: Count
    operation: str
    type: str
    module: str
    precision: Precision
    metrics: Annotated[Mapping[str, float | None], Keys(measured_metrics)]

    def value(self, name: str) -> float | None:
        """Return a metric, measured or derived; None where it is not known."""
        derived = OPERATION_METRICS[name].derived
        return derived(self.metrics) if derived else self.metrics.get(name)

    def rounded(self) -> OperationProfile:
        """Return the same with as many digits as a run keeps."""
        kept = {name: OPERATION_METRICS[name].rounded(at) for name, at in self.metrics.items()}
        return replace(self, metrics=kept)

    @property
    def snr_db(self) -> float | None:
        """Its accumulated error, by which everything along a network is ordered and drawn."""
        return self.metrics.get("snr_db")


@dataclass(frozen=True)
class OperationSeries(Labelled):
    """One package along one signal, operation by operation, in program order.

    Attributes:
        reference: what the operations are compared with, in words.
        operations: what they were like.
    """

    reference: str
    operations: tuple[OperationProfile, ...]


@dataclass(frozen=True)
class TapSeries(OperationSeries):
    """The same at the taps of a network: what its parts give, beside PyTorch's."""
