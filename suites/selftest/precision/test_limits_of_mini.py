"""If these fail, `docs/devices.md` is wrong about what keeps `mini` under 60 dB on a device."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness import mil
from harness.conversion import load_recipe
from harness.mil import Model, get_numerics
from harness.mil.numerics import Numerics
from harness.mil.numerics.device import device_numerics, device_of
from harness.places import GOLDEN_ROOT
from harness.precision.sensitivity import output_measure, snr_of
from harness.precision.tuning.forms import SUPPOSITIONS
from harness.subjects import load_subject
from harness.workbench.packages import Packages
from harness.workbench.sources import SubjectSource

pytestmark = pytest.mark.exhaustive

ASKED_DB = 60.0
CHOSEN = ("group_norm_in_one", "gelu_over_exp_short", "sigmoid_over_exp", "attention_in_steps")
"""What ``parity tune mini --device ane-m1 --approximate --case song`` ends with, but one."""
GAINED = (*CHOSEN, "weights_with_gain")
"""All of it; sums that are not cut have nothing of that one."""
FAST = "cuda" if torch.cuda.is_available() else "cpu"
"""Where the device as it is is computed: a segment takes seconds on a GPU, and minutes without."""


class Segment:
    """``mini`` on a segment, beside itself in FP32."""

    def __init__(self, packages: Packages, case: str, where: str = "cpu") -> None:
        self._packages = packages
        self._inputs = SubjectSource("mini", (case,), GOLDEN_ROOT).inputs(where)[case]
        self._expected = mil.load(packages.fp32("mini")).run(self._inputs)

    def written(self, *forms: str) -> Model:
        recipe = replace(load_recipe("fp16"), rewrites=forms)
        return mil.load(self._packages.path("mini", recipe))

    def levels_db(self, model: Model, numerics: Numerics) -> dict[str, float]:
        made = model.run(self._inputs, numerics=numerics)
        measures = {output.name: output_measure(output.name) for output in model.outputs}
        return {name: snr_of(each.of(self._expected, made)) for name, each in measures.items()}

    def worst_db(self, model: Model, numerics: Numerics) -> float:
        return min(self.levels_db(model, numerics).values())


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return Packages(tmp_path_factory.mktemp("mini"), load_subject)


@pytest.fixture(scope="module")
def song(packages: Packages) -> Segment:
    return Segment(packages, "song")


def test_what_a_rewriting_may_add_to_one_rounding_of_each_result_is_a_tenth_of_a_decibel(
    song: Segment,
) -> None:
    ideal = song.worst_db(song.written(), get_numerics("storage"))
    assert ASKED_DB < ideal < ASKED_DB + 0.2


def test_no_property_of_the_device_that_could_be_better_is_what_is_missing(song: Segment) -> None:
    better = {key: value for each in SUPPOSITIONS.values() for key, value in each.items()}
    device = device_numerics(device_of("ane-m1").supposing(**better))
    assert 58.5 < song.worst_db(song.written(*CHOSEN), device) < ASKED_DB


def test_wide_accumulators_alone_leave_it_between_56_and_60_whatever_the_tables(
    song: Segment,
) -> None:
    model, device = song.written(*CHOSEN), device_of("ane-m1")
    wide = device.supposing(**SUPPOSITIONS["accumulators wide"])
    exact = wide.supposing(**SUPPOSITIONS["tables exact"])
    levels = [song.worst_db(model, device_numerics(unit)) for unit in (wide, exact)]
    assert min(levels) > 56
    assert max(levels) < ASKED_DB


def test_what_truncation_takes_is_most_of_what_accumulators_lose(packages: Packages) -> None:
    """The time branch has 6 dB more for it."""
    song, device = Segment(packages, "song", FAST), device_numerics(device_of("ane-m1"))
    plain = song.levels_db(song.written(*CHOSEN), device)
    gained = song.levels_db(song.written(*GAINED), device)
    assert gained["time"] > plain["time"] + 6
    assert gained["freq"] > plain["freq"] - 0.5
    assert 56 < min(gained.values()) < ASKED_DB


def test_it_is_lost_where_sums_are_rounded_to_nearest(song: Segment) -> None:
    nearest = device_numerics(device_of("ane-m1").supposing(tile_alignment="nearest"))
    assert song.worst_db(song.written(*GAINED), nearest) < 53


@pytest.mark.parametrize("case", ["impulse", "anti_phase"])
def test_cases_that_nothing_was_chosen_by_lose_no_more_to_the_device_than_music(
    packages: Packages, case: str
) -> None:
    """Both have no more than 56 dB in the time branch if each result is rounded once."""
    device = device_numerics(device_of("ane-m1"))

    def lost(segment: Segment) -> dict[str, float]:
        ideal = segment.levels_db(segment.written(), get_numerics("storage"))
        made = segment.levels_db(segment.written(*GAINED), device)
        return {name: ideal[name] - made[name] for name in ideal}

    music, other = (lost(Segment(packages, name, FAST)) for name in ("song", case))
    assert all(other[name] < music[name] + 2 for name in music)
