"""Packages that ask for what no machine has, or for what this program doesn't know.

What damaged and malicious files in general do is tried in `suites.selftest.readers`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness import mil
from harness.cli import main
from harness.errors import PackageError
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import MODEL, make_program, rewrite_model, small_network
from suites.selftest.mil.printing import write_compiled
from suites.selftest.mil.test_mil_control_flow import (
    SHAPE,
    nested,
    stateful_program,
)

WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sound")
    programs = {
        "network": make_program(small_network, {"x": (3, 6)}, np.float32),
        "nested": make_program(nested, {"x": SHAPE}, np.float32),
        "states": stateful_program(),
    }
    written = {
        name: write_package(program, folder / f"{name}.mlpackage")
        for name, program in programs.items()
    }
    written["compiled nested"] = write_compiled(written["nested"], folder / "nested.mlmodelc")
    return written


def remade(packages, name: str, folder: Path) -> Path:
    copy = folder / packages[name].name
    shutil.copytree(packages[name], copy, dirs_exist_ok=True)
    return copy


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
