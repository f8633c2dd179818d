"""If these fail, people with a network of their own are turned away, or get another one's verdict.

Twelve variants of HTDemucs, each in two of eleven containers: every one is loaded, converted in
FP32 and checked through a song. And eight checkpoints of something else, each told what it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from containing import CONTAINERS
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file
from variants import BASE, VARIANTS, live_model

from harness.cli import main
from harness.conversion import load_recipe
from harness.metrics import snr_db
from harness.mil import load
from harness.places import GOLDEN_ROOT
from harness.verdicts import Verdict
from harness.workbench import Workbench
from harness.workbench.check import Inquiry, check_package

GOLDEN = Path(__file__).parents[3] / "golden"
SAMPLE = {"depth": 2, "dconv_depth": 1, "nfft": 512, "segment": 0.5, "samplerate": 8000}
"""A network of a second, for the default tests."""
PAIRS = [
    (variant, list(CONTAINERS)[(index + 5 * again) % len(CONTAINERS)])
    for again in (0, 1)
    for index, variant in enumerate(VARIANTS)
]


def checked(folder: Path, arguments: dict[str, Any], container: str) -> None:
    """Load, convert and check a network through a song."""
    (folder / "own").mkdir(parents=True)
    state = live_model(arguments).state_dict()
    name = f"htdemucs@{CONTAINERS[container](folder / 'own', state, arguments)}"
    root = folder / "golden"
    root.mkdir()
    for file in ("recipes.toml", "manifest.json"):
        shutil.copy(GOLDEN / file, root)
    bench = Workbench(root, folder / "packages")
    subject = bench.goldens.subject(name)
    assert list(subject.sources) == arguments["sources"]
    assert subject.warnings == ()
    half = {"half_export": torch.float16, "brain_floats": torch.bfloat16}.get(container)
    for key, tensor in subject.model.state_dict().items():
        assert torch.equal(tensor, state[key].to(half or torch.float32).float()), key

    package = bench.packages.path(name, "fp32")
    inquiry = Inquiry(package, name, ("song",), recipe=load_recipe("fp32"))
    run = check_package(bench, inquiry, lambda what, done, total: None).finish({})
    assert run.verdict is Verdict.PASS, run.sentence()
    golden = bench.goldens.fetch(name, "song").require()
    made = load(package).predict(bench.goldens.inputs(name, "song"))
    for output in ("freq", "time"):
        assert snr_db(golden[output], made[output]) > 110, output
    shutil.rmtree(folder)  # hundreds of megabytes


def test_a_network_of_ones_own_passes_check(tmp_path: Path) -> None:
    arguments = BASE | {"sources": ["vocals", "other"], "audio_channels": 1} | SAMPLE
    checked(tmp_path / "cell", arguments, "lightning")


@pytest.mark.exhaustive
@pytest.mark.parametrize(("variant", "container"), PAIRS)
def test_every_variant_in_two_containers_passes_check(
    tmp_path: Path, variant: str, container: str
) -> None:
    checked(tmp_path / "cell", BASE | VARIANTS[variant], container)


# --- something else -------------------------------------------------------------------------------


def _class(model: Any) -> dict[str, Any]:
    return {"klass": type(model), "args": (["a", "b"],), "kwargs": {}, "state": model.state_dict()}


def _names(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.ones(2) for name in names}


OTHERS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "Demucs v2 by its class": (
        lambda: _class(Demucs(["a", "b"], channels=8, depth=2)), "Demucs (v1 or v2"
    ),
    "Demucs v2 by its tensors": (
        lambda: Demucs(["a", "b"], channels=8, depth=2).state_dict(), "Demucs (v1 or v2"
    ),
    "HDemucs by its class": (
        lambda: _class(HDemucs(["a", "b"], channels=8, depth=5)), "Hybrid Demucs (v3"
    ),
    "HDemucs by its tensors": (
        lambda: HDemucs(["a", "b"], channels=8, depth=5).state_dict(), "Hybrid Demucs (v3"
    ),
    "Open-Unmix": (lambda: _names("fc1.weight", "bn1.weight", "lstm.weight_ih_l0"), "Open-Unmix"),
    "a Roformer": (
        lambda: _names("band_split.to_features.0.0.gamma", "mask_estimators.0.x"), "Roformer"
    ),
    "Conv-TasNet": (
        lambda: _names("encoder.conv1d_U.weight", "separator.network.0.gamma"), "Conv-TasNet"
    ),
    "nobody's": (lambda: _names("layer.weight"), "not those of an HTDemucs"),
}  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_something_else_is_told_so_and_how_to_go_on(
    other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    golden = str(GOLDEN_ROOT.absolute())
    monkeypatch.chdir(tmp_path)
    content, what = OTHERS[other]
    if "klass" in (saved := content()):
        torch.save(saved, "other.th")
    else:
        save_file({key: value.clone() for key, value in saved.items()}, "other.safetensors")
    (file,) = Path().iterdir()
    assert main(["check", "x.mlpackage", "--weights", str(file), "--golden-root", golden]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert what in said
    assert "parity run" in said
    assert len(said) < 510


def test_what_a_checkpoint_leaves_open_is_asked_for_by_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bare.th"
    torch.save(live_model(BASE).state_dict(), file)
    assert main(["check", "x.mlpackage", "--weights", str(file)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--set segment=39/5 --set samplerate=44100" in said
    words = ["--set", "segment=1/2", "--set", "samplerate=44100", "--set", "t_heads=2"]
    words += ["--set", "sources=drums,bass,other,vocals"]
    assert main(["check", "x.mlpackage", "--weights", str(file), *words]) == 2
    assert "x.mlpackage" in capsys.readouterr().err, "the checkpoint is understood"
    assert main(["check", "x.mlpackage"]) == 2
    assert "--weights model.th" in capsys.readouterr().err


def test_masks_and_networks_without_a_transformer_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are HTDemucs, and can't be cut out of their STFT."""
    arguments = BASE | {"cac": False}
    model = HTDemucs(**arguments)
    file = tmp_path / "masks.th"
    torch.save(
        {"klass": HTDemucs, "args": (), "kwargs": arguments, "state": model.state_dict()}, file
    )
    assert main(["convert", f"htdemucs@{file}", "--out", str(tmp_path / "x.mlpackage")]) == 2
    assert "cac" in capsys.readouterr().err
