"""If these fail, a file of many arrays takes hours: its list is read again for each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from harness import arrayfiles
from harness.comparison import load_all, read_file

OPEN_FILES = Path("/proc/self/fd")
ARRAYS = {f"x{number}": np.float32([number]) for number in range(1000)}


def write_npz(arrays: dict[str, np.ndarray], path: Path) -> None:
    np.savez(path, **arrays)


@pytest.mark.parametrize(("suffix", "write"), [(".safetensors", save_file), (".npz", write_npz)])
def test_a_file_of_many_arrays_is_opened_once(
    suffix: str, write: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"many{suffix}"
    write(ARRAYS, path)  # type: ignore[operator]
    opened = []
    regular = arrayfiles.open_regular
    monkeypatch.setattr(
        arrayfiles, "open_regular", lambda *words: (opened.append(1), regular(*words))[1]
    )
    found = load_all(read_file(path))
    assert len(opened) == 1
    assert {name: value.item() for name, value in found.items()} == {
        name: value.item() for name, value in ARRAYS.items()
    }


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="no list of open files on this system")
def test_a_file_that_nobody_holds_any_more_is_closed(tmp_path: Path) -> None:
    write_npz(ARRAYS, tmp_path / "many.npz")
    held = read_file(tmp_path / "many.npz")
    assert "many.npz" in {link.resolve().name for link in OPEN_FILES.iterdir()}
    del held
    assert "many.npz" not in {link.resolve().name for link in OPEN_FILES.iterdir()}
