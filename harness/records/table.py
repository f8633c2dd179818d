"""The checks of a run as a Parquet table: one row for each, typed, whatever its verdict.

Columns are those of `COLUMNS`, in this order. Text that a check lacks is null, and so is a number;
a ratio of identical tensors is infinity, as in the run. Levels are in dB or dBFS, times in seconds.
What the table as a whole is of stands in the file's metadata, under ``parity``, as JSON: verdict,
sentence, when the run began, versions and commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from harness.atomic import atomic_file
from harness.extras import require_extra
from harness.verdicts import LABELS, Check, Run
from harness.verdicts.jsondata import plain

_METRICS: Final = (
    "snr_db", "expected_rms_dbfs", "error_rms_dbfs", "max_abs_error", "max_rel_error",
    "mean_abs_error", "mismatched_share", "minimum_rtol", "minimum_atol", "cosine_similarity",
    "value",
)  # fmt: skip
"""The numbers of a comparison that have a column each; null where a check has none."""
_BOUNDS: Final = ("rtol", "atol", "min_snr_db", "at_most", "at_least")

Cell = Callable[[Run, Check], Any]


def _metric(name: str) -> Cell:
    def read(_: Run, check: Check) -> float | None:
        found = check.outcome.metrics.get(name)
        if not isinstance(found, (int, float)) or isinstance(found, bool):
            return None
        return float(found)

    return read


def _bound(name: str) -> Cell:
    return lambda _, check: None if check.gate is None else getattr(check.gate, name)


def _label(name: str) -> Cell:
    return lambda _, check: check.labels.get(name)


COLUMNS: Final[Mapping[str, tuple[str, Cell]]] = {
    "id": ("string", lambda _, check: check.id),
    "layer": ("string", lambda _, check: check.layer),
    "gate": ("string", lambda _, check: check.gate.name if check.gate else None),
    **{name: ("string", _label(name)) for name in LABELS},
    "verdict": ("string", lambda _, check: check.verdict.value),
    "gating": ("bool", lambda _, check: check.gating),
    "waived": ("bool", lambda run, check: check.id in run.waived),
    "reason": ("string", lambda _, check: check.outcome.reason),
    "expected": ("string", lambda _, check: check.outcome.expected),
    "observed": ("string", lambda _, check: check.outcome.observed),
    "headroom_db": ("float64", lambda _, check: check.outcome.headroom_db),
    "tolerance_ratio": ("float64", lambda _, check: check.outcome.tolerance_ratio),
    **{f"gate_{name}": ("float64", _bound(name)) for name in _BOUNDS},
    "gate_unit": ("string", lambda _, check: (check.gate.unit or None) if check.gate else None),
    **{name: ("float64", _metric(name)) for name in _METRICS},
    "duration_s": ("float64", lambda _, check: check.duration_s),
    "command": ("string", lambda _, check: check.command or None),
}
"""By name: the Arrow type, and where the value comes from."""


def write_table(run: Run, target: Path) -> int:
    """Write the checks of ``run`` to ``target`` as Parquet, and return how many there are.

    Args:
        run: whatever its verdict.
        target: appears whole or not at all.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OSError: the file can't be written.
    """
    require_extra("records", "a Parquet table")
    import pyarrow
    import pyarrow.parquet

    about = {
        "verdict": run.verdict.value,
        "sentence": run.sentence(),
        "started": run.started,
        "provenance": plain(run.provenance),
    }
    schema = pyarrow.schema(
        [
            (name, getattr(pyarrow, kind.replace("bool", "bool_"))())
            for name, (kind, _) in COLUMNS.items()
        ],
        metadata={"parity": json.dumps(about)},
    )
    columns = [[read(run, check) for check in run.checks] for _, read in COLUMNS.values()]
    arrays = [
        pyarrow.array(values, type=field.type)
        for values, field in zip(columns, schema, strict=True)
    ]
    with atomic_file(target) as temporary:
        table = pyarrow.Table.from_arrays(arrays, schema=schema)
        pyarrow.parquet.write_table(table, temporary, compression="zstd")
    return len(run.checks)
