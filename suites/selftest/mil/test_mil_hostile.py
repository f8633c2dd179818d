"""Packages from strangers: they load and run, or they are refused by name. Nothing else happens.

No foreign exception, no crash, no endless loop, no memory without bound, no file outside.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness import mil
from harness.cli import main
from harness.errors import PackageError, ParityError
from harness.mil import timing
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import MODEL, make_program, rewrite_model, small_network
from suites.selftest.mil.mutating import mutate
from suites.selftest.mil.printing import write_compiled
from suites.selftest.mil.test_mil_control_flow import (
    SHAPE,
    branches,
    listing,
    nested,
    powers,
    stateful_program,
)

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
FAST = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sound")
    bodies = {
        "network": (small_network, (3, 6)),
        "branches": (branches, SHAPE),
        "loop": (powers, SHAPE),
        "nested": (nested, SHAPE),
        "lists": (listing, (4, 3)),
    }
    written = {
        name: write_package(
            make_program(body, {"x": shape}, np.float32), folder / f"{name}.mlpackage"
        )
        for name, (body, shape) in bodies.items()
    }
    written["states"] = write_package(stateful_program(), folder / "states.mlpackage")
    for name in ("nested", "states"):
        written[f"compiled {name}"] = write_compiled(written[name], folder / f"{name}.mlmodelc")
    return written


@pytest.fixture(autouse=True)
def short_loops(monkeypatch):
    monkeypatch.setattr(timing, "MAX_BLOCK_RUNS", 200)


def load_and_run(path: Path) -> str:
    """Return how it ended; any exception that is not ours goes through."""
    try:
        model = mil.load(path)
        inputs = {
            feature.name: np.ones([size or 1 for size in feature.shape or ()], feature.dtype.numpy)
            for feature in model.inputs
            if all((size or 1) < 1000 for size in feature.shape or ())
        }
        state = model.new_state() if model.states else None
        results = model.predict(inputs, state=state, taps="all")
    except ParityError as error:
        return type(error).__name__
    assert {feature.name for feature in model.outputs} <= set(results)
    return "ran"


def remade(packages, name: str, folder: Path) -> Path:
    copy = folder / packages[name].name
    shutil.copytree(packages[name], copy, dirs_exist_ok=True)
    return copy


@FAST
@given(
    seed=st.integers(0, 2**32),
    name=st.sampled_from(["network", "branches", "loop", "nested", "lists", "states"]),
)
def test_programs_that_say_something_else(packages, tmp_path, seed, name):
    copy = remade(packages, name, tmp_path)
    load_and_run(rewrite_model(copy, lambda message: mutate(message, random.Random(seed))))


@FAST
@given(
    name=st.sampled_from(["loop", "states", "compiled nested", "compiled states"]),
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3), st.binary(max_size=3)),
        min_size=1,
        max_size=3,
    ),
    which=st.integers(0, 9),
)
def test_damaged_files(packages, tmp_path, name, edits, which):
    """Bytes are cut out and put in, in every file of the folder."""
    copy = remade(packages, name, tmp_path)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    file = files[which % len(files)]
    data = file.read_bytes()
    for place, length, new in edits:
        start = int(place * len(data))
        data = data[:start] + new + data[start + length :]
    file.write_bytes(data)
    load_and_run(copy)


def test_sound_packages_run(packages):
    """Else the tests above would prove nothing."""
    assert {name: load_and_run(path) for name, path in packages.items()} == dict.fromkeys(
        packages, "ran"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.mlProgram, "version", 2), "has version 2; only version 1"),
        (
            lambda m: setattr(m.mlProgram.functions["main"], "opset", "CoreML77"),
            r"unknown operation set 'CoreML77' \(known: CoreML5, ",
        ),
    ],
)
def test_unknown_versions(packages, tmp_path, change, message):
    copy = remade(packages, "network", tmp_path)
    with pytest.raises(PackageError, match=message):
        mil.load(rewrite_model(copy, change))


def test_deep_nesting_is_refused(packages, tmp_path):
    def bury(message):
        block = next(iter(message.mlProgram.functions["main"].block_specializations.values()))
        for _ in range(60):
            inner = block.operations.add(type="cond")
            block = inner.blocks.add()

    copy = remade(packages, "network", tmp_path)
    with pytest.raises(PackageError, match="truncated or no Core ML model"):
        mil.load(rewrite_model(copy, bury))


def huge_bodies(mb, x):
    """Operations whose results would not fit into any machine, by constants and by values."""
    many = np.int32(2**31 - 1)
    total = mb.cast(x=mb.reduce_sum(x=x, keep_dims=True, axes=[0, 1]), dtype="int32")
    number = mb.mul(x=mb.reshape(x=total, shape=[1]), y=np.int32([2**28]))
    return {
        "fill": lambda: mb.fill(shape=number, value=1.0),
        "fill in two": lambda: mb.fill(shape=mb.concat(values=[number, number], axis=0), value=1.0),
        "tile": lambda: mb.tile(x=mb.reshape(x=x, shape=[6]), reps=number),
        "range": lambda: mb.range_1d(start=np.int32(0), end=mb.squeeze(x=number), step=np.int32(1)),
        "one_hot": lambda: mb.one_hot(
            indices=mb.range_1d(start=np.int32(0), end=np.int32(60), step=np.int32(1)),
            one_hot_vector_size=mb.squeeze(x=number),
        ),
        "doubling": lambda: mb.while_loop(
            _cond=lambda n, v: mb.less(x=n, y=many),
            _body=lambda n, v: (
                mb.add(x=n, y=np.int32(1)),
                mb.concat(values=[v, v], axis=0),
            ),
            loop_vars=(np.int32(0), x),
        )[1],
        "list": lambda: mb.list_gather(
            ls=mb.make_list(init_length=2, elem_shape=(1 << 14, 1 << 14), dtype="fp32"),
            indices=np.int32([0, 1]),
        ),
    }


HUGE = ["fill", "fill in two", "tile", "range", "one_hot", "doubling", "list"]

LIMITED = """
    import json, resource, sys
    from pathlib import Path
    import numpy as np
    import torch
    from harness import mil
    from harness.errors import ParityError

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + (1 << 29)
    ends = {}
    for path in map(Path, sys.argv[1:]):
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        try:
            model = mil.load(path)
            state = model.new_state() if model.states else None
            shape, dtype = model.inputs[0].shape, model.inputs[0].dtype.numpy
            model.predict({"x": np.ones(shape, dtype)}, state=state)
            ends[path.stem] = "ran"
        except ParityError as error:
            ends[path.stem] = str(error)
    print(json.dumps(ends))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="address space is read on Linux")
def test_memory_is_bounded(packages, tmp_path):
    """Each of these asks for far more than the half gigabyte that the process may have."""
    hostile = [sparse(packages, tmp_path, name) for name in ("model", "weights", "text")]
    hostile.append(declared_huge(packages, tmp_path))
    for name in HUGE:
        program = make_program(
            lambda mb, x, name=name: huge_bodies(mb, x)[name](), {"x": SHAPE}, np.float32
        )
        hostile.append(write_package(program, tmp_path / f"{name}.mlpackage"))
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), *map(str, hostile)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    ends = json.loads(ended.stdout)
    assert len(ends) == len(hostile)
    assert "ran" not in ends.values(), ends


def sparse(packages, tmp_path, which: str) -> Path:
    """A file that claims to be a terabyte long, and takes no place on the disk."""
    source = "compiled nested" if which == "text" else "network"
    copy = tmp_path / f"sparse {which}{packages[source].suffix}"
    shutil.copytree(packages[source], copy)
    file = {"model": MODEL, "weights": WEIGHTS, "text": "model.mil"}[which]
    with (copy / file).open("r+b") as handle:
        handle.truncate(1 << 40)
    return copy


def declared_huge(packages, tmp_path) -> Path:
    copy = tmp_path / "declared.mlpackage"
    shutil.copytree(packages["states"], copy)

    def grow(message):
        state = message.mlProgram.functions["main"].inputs
        for entry in state:
            if entry.type.HasField("stateType"):
                entry.type.stateType.wrappedType.tensorType.dimensions[0].constant.size = 2**32

    return rewrite_model(copy, grow)


def test_the_command_line_refuses_with_one_sentence(packages, tmp_path, capsys):
    copy = remade(packages, "network", tmp_path)
    (copy / WEIGHTS).write_bytes((copy / WEIGHTS).read_bytes()[:100])
    save_file({"x": np.ones((3, 6), np.float32)}, tmp_path / "in.safetensors")
    arguments = ["predict", str(copy), "--inputs", str(tmp_path / "in.safetensors")]
    assert main([*arguments, "--out", str(tmp_path / "out.safetensors")]) == 2
    shown = capsys.readouterr().err
    assert "no blob can lie at offset" in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out.safetensors").exists()
