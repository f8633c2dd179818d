"""The numbers of the packs, by a second path: an implementer must be able to believe them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ParityError
from harness.packs import BOOKS, Pack, answered, open_pack, write_pack
from harness.packs.manifest import CaseEntry
from harness.packs.problems import Book, Draw, Problem
from suites.selftest.packs.second_path import second_path

OPERATIONS = [(book.name, name) for book in BOOKS.values() for name in book.operations]
Arrays = dict[str, np.ndarray]


def _given(pack: Pack, case: CaseEntry) -> Arrays:
    """The given tensors of a case in float64 by their full names."""
    return {
        entry.name: _wide(pack.read(case, entry)) for entry in case.tensors if entry.file == "given"
    }


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def _computed(case: CaseEntry, given: Mapping[str, np.ndarray]) -> Arrays:
    function = second_path(case.operation)
    assert function is not None, f"suites/selftest/packs/second_path.py lacks {case.operation}"
    tensors = {
        name.partition("/")[2]: array
        for name, array in given.items()
        if not name.startswith("cotangent/")
    }
    attributes = {name: value for name, value in case.attributes.items() if name != "level_dbfs"}
    found = function(**tensors, **attributes)
    return dict(found) if isinstance(found, dict) else {"y": np.asarray(found)}


@pytest.mark.parametrize(("pack_name", "operation"), OPERATIONS)
def test_values_are_those_of_a_second_path(
    pack_name: str, operation: str, built: dict[str, Pack]
) -> None:
    """A golden that PyTorch alone vouches for would make a bug of PyTorch the law."""
    pack = built[pack_name]
    cases = [case for case in pack.manifest.cases if case.operation == operation]
    assert cases
    for case in cases:
        found = _computed(case, _given(pack, case))
        outputs = [entry for entry in case.expected if entry.name.startswith("out/")]
        assert {entry.name[4:] for entry in outputs} == set(found)
        for entry in outputs:
            expected, actual = _wide(pack.read(case, entry)), found[entry.name[4:]]
            assert actual.shape == expected.shape, (case.name, entry.name)
            if expected.size == 0:
                continue
            # Half a unit in the last place of float32, and what float64 leaves of cancelled sums.
            allowed = 6e-8 * np.abs(expected) + 2e-14 * np.max(np.abs(expected)) + 1e-44
            worst = np.max(np.abs(actual - expected) / allowed)
            assert worst <= _SLACK.get(case.operation, 1.0), (case.name, entry.name, worst)


_SLACK = {
    "softplus": 4.0,  # PyTorch says x itself above 20, where the rest is 2e-9
    "biquad": 2.0,  # another order of sums, and poles near the unit circle
}


DIFFERENTIABLE = list(BOOKS["ops"].operations)


@pytest.mark.parametrize("operation", DIFFERENTIABLE)
def test_gradients_are_central_differences_of_the_second_path(operation: str, ops: Pack) -> None:
    """Gradients are asked of people who write backward passes by hand: they must be true."""
    generator = np.random.Generator(np.random.PCG64(1))
    checked = 0
    for case in ops.manifest.cases:
        if case.operation != operation:
            continue
        given = _given(ops, case)
        for entry in case.expected:
            leaf = entry.name.removeprefix("grad/")
            if leaf == entry.name or given[leaf].size == 0:
                continue
            gradient = _wide(ops.read(case, entry))
            at = given[leaf]
            # Uphill by the gradient, so that nothing cancels; in proportion to each element, whose
            # sizes differ by 60 orders: so a kink at 0 stays one.
            weights = generator.uniform(0.5, 1.5, at.shape)
            step = 1e-8 if case.name == "softmax.large_logits" else 1e-6  # of 10,000: curved
            direction = weights * np.abs(at) * np.sign(gradient)
            losses = [
                _loss(case, given | {leaf: at + sign * step * direction}, given)
                for sign in (1.0, -1.0)
            ]
            found = (losses[0] - losses[1]) / (2 * step)
            expected = float(np.sum(gradient * direction))
            noise = 1e-15 * (abs(losses[0]) + _terms(case, given)) / step
            assert abs(found - expected) <= 1e-5 * expected + noise + 1e-30, (case.name, entry.name)
            checked += 1
    assert checked


def _loss(case: CaseEntry, given: Arrays, cotangents: Arrays) -> float:
    found = _computed(case, given)
    return float(sum(np.sum(found[name] * cotangents[f"cotangent/{name}"]) for name in found))


def _terms(case: CaseEntry, given: Arrays) -> float:
    """The size of what is added up in a loss: its rounding is relative to that."""
    found = _computed(case, given)
    return float(sum(np.sum(np.abs(found[name] * given[f"cotangent/{name}"])) for name in found))


def test_cotangents_are_stored_and_not_ones(ops: Pack) -> None:
    """The sum of a softmax is 1 whatever its input: against ones, any gradient of it would pass."""
    for case in ops.manifest.cases:
        for entry in case.tensors:
            if entry.name.startswith("cotangent/") and np.prod(entry.shape) > 8:
                assert np.std(ops.read(case, entry)) > 0.3, case.name


def test_inputs_come_at_three_levels(ops: Pack, dsp: Pack) -> None:
    """A wrong epsilon is invisible at full scale and 20 dB wrong at -96 dBFS."""
    for pack in (ops, dsp):
        for operation in ("group_norm", "layer_norm", "conv1d", "gelu", "stft", "biquad"):
            levels = {
                case.attributes["level_dbfs"]: case
                for case in pack.manifest.cases
                if case.operation == operation and "level_dbfs" in case.attributes
            }
            if not levels:
                assert operation not in {case.operation for case in pack.manifest.cases}
                continue
            assert set(levels) == {0, -60, -96}
            for level, case in levels.items():
                x = pack.read(case, next(t for t in case.tensors if t.name == "in/x"))
                measured = 20 * np.log10(np.sqrt(np.mean(x.astype(np.float64) ** 2)))
                assert measured == pytest.approx(level, abs=3), case.name


def test_the_edges_are_there(ops: Pack) -> None:
    shapes = [entry.shape for case in ops.manifest.cases for entry in case.tensors]
    assert () in shapes
    assert (1, 1) in shapes
    assert any(0 in shape for shape in shapes)
    assert any(np.prod(shape, dtype=int) >= 1 << 18 for shape in shapes)
    peaks = [
        float(np.max(np.abs(ops.read(case, entry)), initial=0))
        for case in ops.manifest.cases
        if case.operation in ("linear", "unary")
        for entry in case.tensors
        if entry.name == "in/x" and np.prod(entry.shape, dtype=int)
    ]
    assert max(peaks) > 1e14
    assert min(peaks) < 1e-14


def test_no_truth_value_can_be_taken_for_granted(ops: Pack) -> None:
    """A reader that ignores ceil_mode, and rounds down always, must fail a case."""
    cases = ops.manifest.cases
    told = {
        (case.operation, key): {c.attributes[key] for c in cases if c.operation == case.operation}
        for case in cases
        for key, value in case.attributes.items()
        if isinstance(value, bool)
    }
    either = {key: values for key, values in told.items() if len(values) == 2}
    assert either
    for (operation, key), values in either.items():
        for taken in values:
            others = [c for c in cases if c.operation == operation and c.attributes[key] != taken]
            assert any(_changes(ops, case, key, taken) for case in others), (operation, key, taken)


def _changes(pack: Pack, case: CaseEntry, key: str, value: bool) -> bool:
    """Whether another value of an attribute gives other outputs, or none."""
    given = _given(pack, case)
    other = replace(case, attributes={**case.attributes, key: value})
    try:
        found = _computed(other, given)
    except ValueError:
        return True  # shapes that don't fit
    return any(not np.array_equal(y, found[name]) for name, y in _computed(case, given).items())


def test_a_pack_that_is_built_again_has_the_same_numbers(ops: Pack) -> None:
    """Somebody must be able to say "I pass the pack with this hash"."""
    operations = BOOKS["ops"].operations
    for case in answered(BOOKS["ops"]):
        if case.operation not in ("lstm", "conv1d", "softmax"):
            continue
        entry = next(c for c in ops.manifest.cases if c.name == case.name)
        digest = hashlib.sha256()
        for array in (*case.given.values(), *case.expected.values()):
            digest.update(array.tobytes())
        assert digest.hexdigest() == entry.sha256
        assert entry.seed == operations[case.operation].seed


def test_a_new_operation_is_one_decorated_function(tmp_path: Path) -> None:
    """And it leaves the numbers of the others alone: seeds belong to names."""
    book = Book("own", layer="ops")

    @book.operation("cube", {"x": "any"}, exponent=3)
    def cube(draw: Draw) -> Iterator[Problem]:
        """x^3."""
        yield Problem("basic", lambda x: x**3, {"x": draw(5)}, levels=True)

    with pytest.raises(ParityError, match="cube"):
        book.operation("cube", {})(cube)
    write_pack(tmp_path / "own", "own", answered(book), {"cube": book.operations["cube"].summary})
    pack = open_pack(tmp_path / "own")
    assert [case.attributes for case in pack.manifest.cases] == [
        {"exponent": 3, "level_dbfs": level} for level in (0, -60, -96)
    ]
    case = pack.manifest.cases[0]
    x, cotangent, y, gradient = (pack.read(case, entry) for entry in case.tensors)
    assert y == pytest.approx(x.astype(np.float64) ** 3, rel=1e-7)
    assert gradient == pytest.approx(3.0 * x.astype(np.float64) ** 2 * cotangent, rel=1e-7)
    other = Book("own", layer="ops")
    other.operation("another", {"x": "any"})(cube)
    other.operation("cube", {"x": "any"})(cube)
    assert other.operations["cube"].seed == book.operations["cube"].seed
