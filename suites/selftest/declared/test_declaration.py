"""If these fail, a parity.toml means something else than it says, or a wrong one is not refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from torch import nn

from harness.cli import main
from harness.errors import DeclarationError, ParityError, UnknownNameError
from harness.golden import GoldenStore, load_cases
from harness.golden.builder import case_inputs
from harness.golden.status import GoldenStatus
from harness.subjects import load_subject, own_network
from harness.subjects.declared import DeclaredNetwork, read_declaration
from harness.subjects.declared.factory import automatic_taps, build_model, run_once
from harness.subjects.declared.inputs import read_example
from suites.selftest.declared.fading import DECLARATION, declare

HERE = Path("parity.toml")


@pytest.fixture
def fading(tmp_path: Path) -> DeclaredNetwork:
    return DeclaredNetwork(read_declaration(declare(tmp_path, "fading_of_declarations")))


def test_shapes_types_states_and_blocks_are_those_of_the_model(fading: DeclaredNetwork) -> None:
    found = fading.interface
    assert found.arguments == {"token": (1,), "level": (1, 32)}
    assert found.integers == {"token"}
    assert found.states == {"held": "held"}
    assert found.outputs == {"scores": (1, 8), "state.held": (1, 32)}
    assert found.returned == {"scores": (1, 8)}
    assert list(found.taps) == ["embed", "shape.0", "shape.1"]


def test_a_state_is_what_the_model_held_before_and_after(fading: DeclaredNetwork) -> None:
    case = load_cases(fading.declaration.path)["ordinary"]
    inputs = case_inputs(case, fading)
    assert inputs["token"].dtype == np.int32
    made = fading.observe([fading.build()], {n: torch.from_numpy(a) for n, a in inputs.items()},
                          taps=True)  # fmt: skip
    np.testing.assert_array_equal(made["state.held"].numpy(), inputs["held"] / 2)
    assert set(made) == {"scores", "state.held", "tap.embed", "tap.shape.0", "tap.shape.1"}


def test_a_louder_case_has_louder_arguments_and_nothing_else(fading: DeclaredNetwork) -> None:
    quiet, loud = fading.example(5), fading.example(5, gain_db=20.0)
    torch.testing.assert_close(loud["level"], 10 * quiet["level"])
    assert torch.equal(loud["token"], quiet["token"])
    assert torch.equal(loud["held"], quiet["held"])


@given(seed=st.integers(0, 2**31), low=st.integers(-50, 50), width=st.integers(1, 50))
def test_integers_are_within_their_bounds_and_those_of_a_seed(
    seed: int, low: int, width: int
) -> None:
    table = {"shape": [40], "integers": [low, low + width]}
    example = read_example(HERE, "inputs.x", table)
    drawn = example.draw("x", seed, 1.0)
    assert drawn.dtype == torch.int32
    assert low <= int(drawn.min()) <= int(drawn.max()) < low + width
    assert torch.equal(drawn, example.draw("x", seed, 1.0))


def test_inputs_are_drawn_apart_by_name_and_seed() -> None:
    example = read_example(HERE, "inputs.x", {"shape": [64]})
    first = example.draw("x", 1, 1.0)
    assert not torch.equal(first, example.draw("y", 1, 1.0))
    assert not torch.equal(first, example.draw("x", 2, 1.0))


def test_inputs_come_from_files(tmp_path: Path) -> None:
    file = declare(tmp_path, "fading_of_files")
    level = np.linspace(-1, 1, 32, dtype=np.float32)[None]
    np.save(tmp_path / "level.npy", level)
    save_file({"token": np.array([7], np.int32)}, tmp_path / "case.safetensors")
    text = file.read_text("utf-8")
    text = text.replace("{ shape = [1, 32], uniform = [0.5, 2.0] }", '{ file = "level.npy" }')
    file.write_text(text + 'told = { file = "case.safetensors" }\n', "utf-8")
    network = DeclaredNetwork(read_declaration(file))
    made = case_inputs(load_cases(file)["told"], network)
    np.testing.assert_array_equal(made["level"], level)
    assert made["token"].tolist() == [7]
    save_file({"token": np.zeros((2, 2), np.int32)}, tmp_path / "case.safetensors")
    with pytest.raises(DeclarationError, match=r"'token' has shape \[2, 2\], expected \[1\]"):
        case_inputs(load_cases(file)["told"], network)


class _Blocks(nn.Module):
    """Every kind of child that a tap may be looked for in."""

    def __init__(self) -> None:
        super().__init__()
        self.listed = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.row = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))
        self.twice = nn.Linear(4, 4)
        self.recurrent = nn.LSTM(4, 4)
        self.never = nn.Linear(4, 4)
        self.last = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.listed:
            x = layer(x)
        x = self.twice(self.twice(self.row(x)))
        return self.last(self.recurrent(x)[0])


def test_taps_are_the_blocks_that_are_called_once() -> None:
    model = _Blocks()
    outputs, seen = run_once(HERE, model, {"x": torch.ones(3, 4)})
    assert list(automatic_taps(model, seen, outputs)) == [
        "listed.0", "listed.1", "row.0", "row.1", "recurrent",
    ]  # fmt: skip


def test_a_golden_of_other_inputs_or_blocks_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = declare(tmp_path, "fading_of_goldens")
    monkeypatch.chdir(tmp_path)
    store: GoldenStore = GoldenStore(file)
    store.build(load_subject("fading"), "ordinary")
    assert store.status(load_subject("fading"), "ordinary").status is GoldenStatus.UNRECORDED
    assert (tmp_path / "golden" / "tensors" / "fading" / "ordinary.safetensors").is_file()
    text = file.read_text("utf-8")
    for change in (('outputs = ["scores"]', 'taps = ["mix"]'), ("[0, 12]", "[0, 11]")):
        file.write_text(text.replace(*change), "utf-8")
        found = store.status(load_subject("fading"), "ordinary")
        assert found.status is GoldenStatus.STALE, change
    file.write_text(text.replace("seed = 1", "seed = 4"), "utf-8")
    found = GoldenStore(file).status(load_subject("fading"), "ordinary")
    assert found.status is GoldenStatus.STALE


def test_the_name_is_a_subject_in_its_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = declare(tmp_path / "inside", "fading_of_folders")
    monkeypatch.chdir(file.parent)
    found = own_network("fading")
    assert found is not None
    assert found.home is not None
    assert found.home.resolve() == file.resolve()
    with pytest.raises(ParityError, match="weights of its own"):
        own_network("fading@seeded")
    monkeypatch.chdir(tmp_path)
    assert own_network("mini") is None
    monkeypatch.setenv("PARITY_PLUGINS", str(file))
    assert own_network("fading") is not None


WRONG = {
    "key": ('name = "fading"', 'name = "fading"\nfactry = "x"', "did you mean 'factory'?"),
    "name": ('name = "fading"', 'name = "a b"', "expected letters, digits and underscores"),
    "taken": ('name = "fading"', 'name = "mini"', "as another one is called already"),
    "factory": (":make", "", "expected a module and a function in it"),
    "module": ("fading_of_errors", "nowhere_at_all", "can't be imported (ModuleNotFoundError"),
    "function": (":make", ":mke", "did you mean 'make'?"),
    "failing": (":make", ":refuse", "failed (RuntimeError: no weights here)"),
    "no module": (":make", ":number", "returned int, expected a torch.nn.Module"),
    "shape": ("[1, 32]", "[1, 31]", "level [1, 31] float32 (RuntimeError: The size of tensor"),
    "value": ("[0, 12]", "[16, 20]", "doesn't take token [1] int32 = "),
    "no shape": ("shape = [1, 32], ", "", "expected a shape, or a file"),
    "size": ("[1, 32]", "[1, -32]", "expected a list of sizes"),
    "bounds": ("[0, 12]", "[12, 0]", "expected [first, behind the last], whole numbers"),
    "two kinds": ("uniform", "normal = 1.0, uniform", "says normal and uniform; expected one"),
    "missing file": ("shape = [1], integers = [0, 12], step = 1", 'file = "a.npy"',
                     "a.npy can't be read"),
    "step": ("step = 1", "step = 0.5", "step is 0.5; expected a whole number beside integers"),
    "step of others": ("normal = 2.0", "step = 1", "expected a whole number beside integers"),
    "calls": ("calls = 4", "calls = 0", "calls is 0, expected 1 to 1000"),
    "calls of a signal": ("seed = 3, calls", 'kind = "silence", calls', "has 'calls'; drop it"),
    "calls without states": ('[states]\nheld = { normal = 2.0 }\n', "", "has no states"),
    "later call": ("calls = 4", "calls = 20", "doesn't take token [1] int32 = 16"),
    "kind": ("uniform", "unform", "did you mean 'uniform'?"),
    "outputs": ('["scores"]', '["a", "b"]', "names 2 outputs (a, b), but the network returns 1"),
    "tap": ("[inputs]", 'taps = ["shap.0"]\n[inputs]', "did you mean 'shape.0'?"),
    "state": ("held =", "hold =", "did you mean 'held'?"),
    "case": ("seed = 1", "sed = 1", "did you mean 'seed'?"),
    "signal": ("seed = 1", 'kind = "silence"', "which is no input of fading"),
    "gate": ("[inputs]", "gates.conversion.min_snr = 3\n[inputs]", "did you mean 'min_snr_db'?"),
    "no bound": ("[inputs]", "gates.conversion.min_snr_db = nan\n[inputs]",
                 "expected a number from 0"),
    "recipe": ("[inputs]", 'recipes = ["fp61"]\n[inputs]', "did you mean 'fp16'?"),
    "audio": ("[inputs]", 'audio = { sources = ["a"], sample_rate = 8000 }\n[inputs]',
              "takes one input [1, channels, samples]"),
    "toml": ("[inputs]", "[inputs", "is no TOML file"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_in_one_sentence(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, said = WRONG[what]
    file = declare(tmp_path, "fading_of_errors")
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["run"]) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert said in message
    assert len(message.partition("error: ")[2]) < 500
    assert not (tmp_path / "reports").exists()


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run"]) == 2
    assert "parity.toml is no file: name the parity.toml that declares your network" in " ".join(
        capsys.readouterr().err.split()
    )


def test_an_unknown_tap_suggests_the_nearest(tmp_path: Path) -> None:
    file = declare(tmp_path, "fading_of_taps")
    text = DECLARATION.format(module="fading_of_taps").replace(
        "[inputs]", 'taps = { mixed = "mx" }\n[inputs]'
    )
    file.write_text(text, "utf-8")
    with pytest.raises(UnknownNameError, match="did you mean 'mix'"):
        _ = DeclaredNetwork(read_declaration(file)).interface


def test_a_module_of_the_same_name_in_another_folder_is_another_network(tmp_path: Path) -> None:
    """One process may load both: the second would be the first, by its own weights."""
    for width in (2, 3):
        folder = tmp_path / str(width)
        folder.mkdir()
        code = f"from torch import nn\ndef make():\n    return nn.Linear({width}, 1)\n"
        (folder / "network_of_a_name.py").write_text(code, "utf-8")
        made = build_model(folder / "x.toml", "network_of_a_name:make")
        assert made.in_features == width
