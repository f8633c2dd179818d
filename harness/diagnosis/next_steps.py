"""What to run next about a check that failed: commands that run as they are printed.

They name what the run judged: a subject and a golden case, or a reference package and its inputs,
which a run of `parity check --reference` records. What tuning aims at is the gate that failed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.conversion import shipped_recipes
from harness.errors import command_line
from harness.subjects import own_networks
from harness.verdicts import Check, Gate, Run, gate

ANY_CASE: Final = "song"
"""Where a run failed on no golden case: music shows most."""
_STEMS: Final = "end_to_end"
_CALL: Final = re.compile(r"call\.(\d+)\.")
_AIMS: Final = ("conversion", _STEMS)
"""Gates that a set of FP32 operations can be tuned for."""


@dataclass(frozen=True)
class Counterpart:
    """The package that a run held another one against.

    Attributes:
        package: its path.
        inputs: files, folders or ``random:SEED``, one for each case.
        cases: what the run calls them.
    """

    package: str
    inputs: tuple[str, ...]
    cases: tuple[str, ...]

    def given(self, case: str) -> str:
        """Return the inputs of a case; of one that isn't known, the first."""
        return dict(zip(self.cases, self.inputs, strict=True)).get(case, self.inputs[0])


def counterpart_of(run: Run) -> Counterpart | None:
    """Return what a run held its package against; None if that was a subject."""
    package = run.provenance.get("reference")
    inputs = run.provenance.get("inputs")
    cases = next(iter(run.profile.cases.values()), ())
    if not isinstance(package, str) or not isinstance(inputs, list | tuple) or not inputs:
        return None
    if len(cases) != len(inputs) or not all(isinstance(source, str) for source in inputs):
        return None
    return Counterpart(package, tuple(inputs), tuple(cases))


def judged_package(run: Run) -> str:
    """Return the path of the package that a run judged, as it was typed; "" if it made its own.

    Where nothing that was typed leads to it, that is the name of the package.
    """
    packages = run.provenance.get("packages")
    if not isinstance(packages, Mapping) or len(packages) != 1:
        return ""
    name = str(next(iter(packages)))
    try:
        typed = shlex.split(str(run.provenance.get("command", "")))
    except ValueError:  # a quote that isn't closed
        typed = []
    return next((word for word in typed if Path(word).name == name), name)


def call_case(run: Run, labels: Mapping[str, str]) -> str:
    """Return the case of a check; where it has several calls, with the one that the check is of."""
    case = labels.get("case", "")

    def later(labels: Mapping[str, str]) -> re.Match[str] | None:
        return _CALL.match(labels.get("tensor", ""))

    if not any(c.labels.get("case") == case and later(c.labels) for c in run.checks):
        return case
    found = later(labels)
    return f"{case}:{found[1] if found else 1}"


@dataclass(frozen=True)
class NextSteps:
    """Commands about one failed check of a run.

    Attributes:
        run: as it was written.
        check: the check; None for the run as a whole.
        package: the path of the package that failed; empty where it would have to be made first.
        reference: of a package in an adapter, one in FP32 from its own converter, if that is known.
    """

    run: Run
    check: Check | None
    package: str = ""
    reference: str = ""

    def of_layer(self) -> list[str]:
        """Return what to run about the layer of the check; nothing where files were compared."""
        if not self.run.profile.subjects and counterpart_of(self.run) is None:
            return []
        layer = self.check.layer if self.check else ""
        if layer in ("conversion", "end_to_end"):
            again = [] if self.package else self.convert_again()
            return [*again, *self._package()]
        return {
            "ops": ["python -m pytest suites/ops -q"],
            "stft": ["python -m pytest suites/stft -q"],
            "surgery": [command_line("golden", "verify", "--subject", self._subject)],
        }.get(layer, [])

    def convert_again(self) -> list[str]:
        """Return how the package would be converted again."""
        if self._recipe is None or self._adapted or counterpart_of(self.run) is not None:
            return []
        words = (self._subject, "--precision", self._recipe, "--out", "x.mlpackage")
        return [command_line("convert", *words)]

    def tune(self) -> str:
        """Return how the cheapest set of FP32 operations is found that holds the failed gate."""
        bounds = self._aim()
        words = [
            *self._lab(),
            "--min-snr",
            f"{60.0 if bounds.min_snr_db is None else bounds.min_snr_db:g}",
        ]
        if bounds.rtol is not None and bounds.atol is not None:
            words += ["--rtol", f"{bounds.rtol:g}", "--atol", f"{bounds.atol:g}"]
        if bounds.name == _STEMS:
            words.append("--every-second")
        return command_line("tune", *words, "--out", "tuned.toml")

    def _aim(self) -> Gate:
        found = self.check.gate if self.check else None
        return found if found is not None and found.name in _AIMS else gate("conversion")

    def _package(self) -> list[str]:
        path, other = self.package or "x.mlpackage", counterpart_of(self.run)
        if other is not None:
            given = ("--inputs", other.given(self._label("case")))
            return [
                command_line("diagnose", path, "--reference", other.package, *given),
                command_line("headroom", path, *given),
                command_line("sensitivity", *self._lab(), "--precision", "fp16"),
            ]
        if self._adapted:
            return self._package_in_adapter(path)
        own = self._subject in own_networks()  # which has cases of its own
        others = () if own else ("hot", "silence")
        cases = [w for c in dict.fromkeys((self._case, *others)) for w in ("--case", c)]
        found = [
            command_line("diagnose", path, "--subject", self._subject, "--case", self._case),
            command_line("headroom", path, *cases),
        ]
        if self._recipe is not None:
            found.append(command_line("sensitivity", *self._lab(), "--precision", self._recipe))
        return found

    def _package_in_adapter(self, path: str) -> list[str]:
        """Return what can be asked of a package in another converter's layout."""
        of = ("--subject", self._subject, "--case", self._case)
        if not self.reference:
            return [command_line("headroom", path, *of)]
        return [
            command_line("diagnose", path, "--reference", self.reference, *of),
            command_line("headroom", path, *of),
            command_line("sensitivity", *self._lab(), "--precision", "fp16"),
        ]

    @property
    def _adapted(self) -> bool:
        """Whether the package stands in an adapter, as `parity check` records it."""
        return "adapter" in self.run.provenance

    def _lab(self) -> tuple[str, ...]:
        """Return the words that open the lab of what the package should compute."""
        other = counterpart_of(self.run)
        if other is not None:
            return (other.package, "--inputs", other.given(self._label("case")))
        if self._adapted and self.reference:
            return (self.reference, "--subject", self._subject, "--case", self._case)
        return (self._subject, "--case", self._case)

    def _label(self, name: str, default: str = "") -> str:
        return self.check.labels.get(name, default) if self.check else default

    @property
    def _subject(self) -> str:
        return self._label("subject", next(iter(self.run.profile.subjects), "SUBJECT"))

    @property
    def _case(self) -> str:
        case = self._label("case")
        known = [golden.case for golden in self.run.goldens]
        if case in known:
            assert self.check is not None  # that has the label
            return call_case(self.run, self.check.labels)
        if not known:
            return ANY_CASE
        return ANY_CASE if ANY_CASE in known else known[0]

    @property
    def _recipe(self) -> str | None:
        """The recipe of the package, where a command finds it by its name."""
        name = self._label("recipe")
        return name if name in shipped_recipes() else None
