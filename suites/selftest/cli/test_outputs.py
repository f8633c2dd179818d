"""What can't be written is refused before anything is opened: if these fail, work is lost at its
end.

Every command gets inputs that don't exist, so one that opens them first says so instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer

from harness.arrayfiles import read_arrays
from harness.atomic.products import ASSET, PACK, RECORDING, REDUCTION, RESULTS
from harness.atomic.products import PACKAGE as PACKAGE_KIND
from harness.cli.app import app, main
from harness.cli.outputs import check_room
from harness.cli.tensors import write_tensors
from harness.errors import ParityError
from suites.selftest.lint.building import F32, Made

Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Output:
    """An option that names what a command writes, and the command with all else that it needs."""

    command: str
    option: str
    suffix: str = ""
    folder: bool = False

    @property
    def words(self) -> list[str]:
        return self.command.split()

    def __str__(self) -> str:
        named = [word for word in self.words[:2] if word.isalpha()]
        return f"{' '.join(named)} {self.option}"


PACKAGE = "nowhere.mlpackage"
OUTPUTS = (
    Output(f"predict {PACKAGE} --inputs nowhere.npz", "--out", ".npz"),
    Output("convert nothing", "--out", ".mlpackage"),
    Output(f"export {PACKAGE}", "--onnx", ".onnx"),
    Output("kit", "--out", folder=True),
    Output(f"capture {PACKAGE} --inputs nowhere.npz", "--out", folder=True),
    Output("calibrate nowhere.safetensors", "--out", ".toml"),
    Output(f"check {PACKAGE} --subject nothing", "--report", folder=True),
    Output(f"check {PACKAGE} --subject nothing", "--history", folder=True),
    Output("compare nowhere.npz nowhere.npz", "--report", folder=True),
    Output("separate nowhere.wav --subject nothing", "--out", folder=True),
    Output("sensitivity nothing", "--out"),
    Output("tune nothing", "--out", ".toml"),
    Output("tune nothing --out good.toml", "--package", ".mlpackage"),
    Output("sweep run nothing --precisions fp16", "--out"),
    Output("sweep run nothing --precisions fp16", "--cache", folder=True),
    Output("sweep merge nowhere.json", "--out"),
    Output("run nowhere.toml", "--out", folder=True),
    Output("run nowhere.toml", "--history", folder=True),
    Output(f"adapt {PACKAGE} --subject nothing", "--out", ".toml"),
    Output(f"adapt {PACKAGE} --subject nothing", "--inputs-out", ".safetensors"),
    Output(f"attest make nowhere.json {PACKAGE}", "--out"),
    Output(f"reduce {PACKAGE} --inputs nowhere.npz --fails-when nan", "--out", folder=True),
    Output("faults --fault nothing", "--out", folder=True),
    Output("report nowhere.json", "--out", folder=True),
    Output("figures nowhere.json", "--out", folder=True),
    Output("conformance --front-end nothing", "--out", folder=True),
    Output("pack build nothing", "--out", folder=True),
    Output("pack run nowhere --command nothing", "--out", folder=True),
    Output("pack run nowhere --command nothing", "--report", folder=True),
    Output("weights map nowhere.th --to metal", "--out", ".safetensors"),
    Output(f"weights extract {PACKAGE}", "--out", ".safetensors"),
    Output("baseline accept nowhere.json --reason x", "--baseline"),
    Output("inventory accept nowhere.json", "--inventory"),
)
READ = {
    ("report", "--baseline"),
    ("report", "--history"),
    ("baseline diff", "--baseline"),
    ("inventory diff", "--inventory"),
    ("check", "--baseline"),
    ("run", "--baseline"),
    ("separate", "--package"),
    ("explain", "--package"),
}
"""Options with the name of an output that commands only read."""


def options(command: typer.core.TyperCommand, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every option of every command that leads to a file."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from options(inner, f"{path} {name}".strip())
    if not hasattr(command, "commands"):
        for parameter in command.params:
            yield from ((path, word) for word in parameter.opts if word.startswith("--"))


def test_every_option_that_names_an_output_is_looked_at() -> None:
    names = {output.option for output in OUTPUTS}
    known = {(" ".join(o.words[: 2 if o.words[0] in GROUPS else 1]), o.option) for o in OUTPUTS}
    found = {pair for pair in options(typer.main.get_command(app)) if pair[1] in names}
    assert found - READ == known


GROUPS = ("attest", "sweep", "weights", "pack", "baseline", "inventory", "golden")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a file and a folder in it, as the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    Path("sealed").mkdir()
    return tmp_path


def refused(output: Output, value: str, capsys: Captured) -> str:
    code = main([*output.words, output.option, value])
    said = capsys.readouterr().err
    assert code == 2, said
    assert value in said
    assert "can't write" in said
    assert len(said) < 500
    return said


@pytest.mark.parametrize("output", OUTPUTS, ids=str)
def test_a_place_that_takes_no_file_is_refused_at_once(
    output: Output, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    before = sorted(here.rglob("*"))
    assert "is a file" in refused(output, f"file/below/it{output.suffix}", capsys)
    if output.folder:
        assert "name a folder" in refused(output, "file", capsys)
    elif output.suffix not in ("", ".mlpackage"):
        Path(f"held{output.suffix}").mkdir()
        assert "it is a folder" in refused(output, f"held{output.suffix}", capsys)
        Path(f"held{output.suffix}").rmdir()
    if not output.folder:
        os.mkfifo(f"pipe{output.suffix}")
        assert "a device or a pipe" in refused(output, f"pipe{output.suffix}", capsys)
        Path(f"pipe{output.suffix}").unlink()
    if output.suffix:
        said = refused(output, "name.else", capsys)
        assert output.suffix in said.partition("must end in ")[2]
    # Who runs the tests may be root, who may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "sealed")
    assert "can't be written to" in refused(output, f"sealed/new/one{output.suffix}", capsys)
    assert sorted(here.rglob("*")) == before


KINDS = {
    "convert nothing": PACKAGE_KIND,
    "convert nothing --target coreai": ASSET,
    "tune nothing --out good.toml": PACKAGE_KIND,
    "kit": RECORDING,
    f"capture {PACKAGE} --inputs nowhere.npz": RECORDING,
    f"reduce {PACKAGE} --inputs nowhere.npz --fails-when nan": REDUCTION,
    "pack build nothing": PACK,
    "pack run nowhere --command nothing": RESULTS,
}


@pytest.mark.parametrize("mine", ["thesis.txt", "capture-ALL.safetensors", "Data/song/bass.wav"])
@pytest.mark.parametrize("command", KINDS)
def test_nothing_of_the_user_is_lost_to_a_folder_that_is_replaced(
    command: str, mine: str, here: Path, capsys: Captured
) -> None:
    """A thesis, separated stems, and a recording from a Mac, which nobody makes twice."""
    kind = KINDS[command]
    option = "--package" if "tune" in command else "--out"
    suffix = {PACKAGE_KIND: ".mlpackage", ASSET: ".aimodel"}.get(kind, "")
    place = here / f"held{suffix}"
    (place / mine).parent.mkdir(parents=True)
    (place / mine).write_text("mine")
    assert main([*command.split(), option, place.name]) == 2
    assert f"{place.name} " in capsys.readouterr().err
    (place / (kind.marker or ".DS_Store")).write_text("an earlier one")
    assert main([*command.split(), option, place.name]) == 2
    assert f"{place.name} holds {mine}, which would be lost" in capsys.readouterr().err
    assert (place / mine).read_text() == "mine"


@pytest.mark.parametrize("command", [c for c, k in KINDS.items() if k not in (PACKAGE_KIND, ASSET)])
def test_the_folder_that_one_is_in_is_not_replaced(
    command: str, here: Path, capsys: Captured
) -> None:
    assert main([*command.split(), "--out", "."]) == 2
    assert "name a new folder" in capsys.readouterr().err
    assert Path("file").read_text() == "mine"


def test_a_kit_and_a_pack_are_replaced_by_the_next(here: Path) -> None:
    """What this program wrote is no stranger to it, and Finder's droppings are nothing to lose."""
    for words in (["kit", "--out", "it"], ["pack", "build", "dsp", "--out", "pack"]):
        assert main(words) == 0
        Path(words[-1], ".DS_Store").write_text("")
        assert main(words) == 0
        assert not Path(words[-1], ".DS_Store").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that takes no file: /proc")
def test_a_folder_that_only_says_that_it_takes_files_is_refused_at_once(capsys: Captured) -> None:
    """To root /proc can be written to: a conversion was lost, and a name of ours was told."""
    assert main(["convert", "nothing", "--out", "/proc/x.mlpackage"]) == 2
    assert "can't write /proc/x.mlpackage: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "output", [o for o in OUTPUTS if o.words[0] not in ("sweep", "kit")], ids=str
)
def test_a_folder_that_is_not_there_yet_is_no_error(
    output: Output, here: Path, capsys: Captured
) -> None:
    """What is refused next is the input, which doesn't exist; a kit has none."""
    assert main([*output.words, output.option, f"new/one{output.suffix}"]) in (2, 3)
    said = capsys.readouterr().err
    assert "can't write" not in said
    assert any(word in said for word in ("nothing", "nowhere", "golden recipes"))


@pytest.mark.parametrize("name", [".my.toml", "My.toml", "my recipe.toml"])
def test_a_recipe_that_may_not_be_called_so_is_refused_at_once(
    name: str, here: Path, capsys: Captured
) -> None:
    assert main(["tune", "nothing", "--out", name]) == 2
    assert f"can't be called {Path(name).stem!r}" in capsys.readouterr().err


def test_what_lies_beside_a_recipe_is_looked_at_too(here: Path, capsys: Captured) -> None:
    Path("mine.py").mkdir()
    assert main(["tune", "nothing", "--out", "mine.toml"]) == 2
    assert "mine.py: it is a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("check nowhere.mlpackage --subject mini --case sing", "did you mean 'song'"),
        ("check nowhere.mlpackage --subject mini --recipe fp23", "precision recipe 'fp23'"),
        ("convert mini --out x.mlpackage --target iOS9", "deployment target 'iOS9'"),
        ("convert mini --out x.mlpackage --compute-units NPU", "compute units 'NPU'"),
        ("sensitivity mini --case sing", "case 'sing'"),
        ("tune mini --case sing --out x.toml", "case 'sing'"),
        ("sweep mini --precisions fp16 --case sing", "case 'sing'"),
        ("sweep mini --precisions fp23", "precision recipe 'fp23'"),
        ("sweep mini --precisions htdemucs_6s_60db", "none of the recipes"),
        ("headroom mini --case sing", "case 'sing'"),
        ("adapt nowhere.mlpackage --subject mini --case sing", "case 'sing'"),
        ("predict nowhere.mlpackage --inputs random:1", "--out"),
    ],
)
def test_a_name_that_nothing_has_is_refused_before_a_model_is_loaded(
    command: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def loading(*_: object) -> None:
        raise AssertionError("a model was loaded first")

    for room in ("subjects", "workbench.sources.subject", "workbench.goldens"):
        monkeypatch.setattr(f"harness.{room}.load_subject", loading)
    assert main(command.split()) == 2
    assert words in capsys.readouterr().err


def test_a_disk_without_room_is_told_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    package = Made(lambda mb, x: mb.exp(x=x, name="y"), {"x": ((4,), F32)})
    path = package.write(tmp_path / "x.mlpackage")
    np.savez(tmp_path / "in.npz", x=np.zeros(4, F32))
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    command = ["predict", str(path), "--inputs", str(tmp_path / "in.npz")]
    assert main([*command, "--out", str(tmp_path / "out.npz")]) == 2
    assert "make room" in capsys.readouterr().err
    with pytest.raises(ParityError, match=r"about 2\.00 GB"):
        check_room(tmp_path, 2 * 10**9)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_of_arrays_keeps_their_shapes(suffix: str, tmp_path: Path) -> None:
    """A scalar came back as (1,) from one of the two formats, and compared as another shape."""
    arrays = {"scalar": np.float32(3.0).reshape(()), "turned": np.ones((2, 3), np.float32).T}
    write_tensors(tmp_path / f"made{suffix}", arrays)
    found = read_arrays(tmp_path / f"made{suffix}", ParityError)
    assert {name: found[name].shape for name in arrays} == {"scalar": (), "turned": (3, 2)}
