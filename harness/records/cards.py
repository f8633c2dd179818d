"""A run for the model card of a package on the Hugging Face Hub, in both of the Hub's formats.

``model_index`` is the front matter of a ``README.md``: one result for each subject, recipe and
case, with the worst SNR of stems and of outputs beside PyTorch, and the verdict of the run.
``eval_results`` is a file of the folder ``.eval_results/``, which the Hub lists on the page of a
benchmark: one number, the worst SNR of any gating check of one recipe. The Hub takes it for a data
set that is registered as a benchmark, so the caller names it; here nothing is made up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from harness.errors import RunError
from harness.verdicts import Check, Run, Verdict

TASK: Final = "audio-to-audio"
"""What the Hub calls separation, among others."""
LEVELS: Final = {"end_to_end": "SNR of the worst stem", "conversion": "SNR of the worst output"}
"""The gates whose ratios stand on a card, and what it calls them."""


def model_index(run: Run, name: str) -> str:
    """Return the YAML front matter of a model card, with the results of ``run``.

    Args:
        run: its verdict stands on the card, whatever it is.
        name: of the model.

    Raises:
        RunError: the run compared nothing that a card could show.
    """
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=TASK,
            task_name="conversion parity with PyTorch",
            dataset_type="synthetic",
            dataset_name=" · ".join(place),
            dataset_config=" · ".join(place),  # what the Hub tells results apart by
            metric_type=metric,
            metric_name=title,
            metric_value=value,
        )
        for place, metric, title, value in _rows(run)
    ]
    if not results:
        raise RunError("the run has no check by the gates end_to_end or conversion for a card")
    text: str = ModelCardData(model_name=name, eval_results=results).to_yaml()
    return f"---\n{text.strip()}\n---\n"


def eval_results(run: Run, benchmark: str, task: str) -> str:
    """Return one entry of ``.eval_results/*.yaml``: the worst SNR of the run's gating checks.

    Args:
        run: of one subject and one recipe, which passed or failed.
        benchmark: ``OWNER/NAME`` of the data set on the Hub.
        task: the task in its ``eval.yaml``.

    Raises:
        RunError: the run was not evaluated in full, is of several recipes, or compared nothing.
    """
    if run.verdict is Verdict.NOT_EVALUATED:
        raise RunError(f"no result for a benchmark: {run.sentence()}")
    checks = [c for c in run.checks if c.gating and c.gate and c.gate.name in LEVELS]
    owners = sorted({(c.labels.get("subject", ""), c.labels.get("recipe", "")) for c in checks})
    if len(owners) != 1:
        raise RunError(
            f"a result for a benchmark is of one subject and recipe, and the run has "
            f"{len(owners)}; give the run of: parity check X.mlpackage --report DIR"
        )
    value = _worst(checks)
    if isinstance(value, str):
        raise RunError(f"no result for a benchmark: its value has to be a number and is {value!r}")
    entry = {
        "dataset": {"id": benchmark, "task_id": task},
        "value": value,
        **({"date": run.started} if run.started else {}),
        "notes": f"{' '.join(filter(None, owners[0]))}; worst SNR in dB; {run.sentence()}",
    }
    text: str = yaml.safe_dump([entry], sort_keys=False, allow_unicode=True)
    return text


def _rows(run: Run) -> Iterator[tuple[list[str], str, str, Any]]:
    groups: dict[tuple[str, ...], list[Check]] = {}
    for check in run.checks:
        if check.gate is not None and check.gate.name in LEVELS:
            place = tuple(check.labels.get(name, "") for name in ("subject", "recipe", "case"))
            groups.setdefault((*place, check.gate.name), []).append(check)
    for (*where, gate), checks in groups.items():
        yield [name for name in where if name], f"{gate}_snr_db", LEVELS[gate], _worst(checks)
    if groups:
        yield ["all checks"], "parity_verdict", run.sentence(), run.verdict.value


def _worst(checks: Iterable[Check]) -> float | str:
    """Return the least SNR in dB of checks, or what stands there instead, in words.

    The Hub reads JSON numbers, which have no infinity. Of silence there is no ratio; a check that
    has none for another reason (another shape, NaN, not evaluated) is not passed over.
    """
    levels = [
        c.outcome.metrics.get("snr_db") for c in checks if not c.outcome.metrics.get("silent")
    ]
    known = [float(level) for level in levels if level is not None and not math.isnan(level)]
    if len(known) < len(levels):
        return "not computed"
    worst = min(known, default=math.inf)
    return "exact" if worst == math.inf else str(worst) if worst == -math.inf else round(worst, 2)
