"""Rules and taps address the modules of the checkpoint, though traces leave some of them out."""

from __future__ import annotations

import pytest
from torch import nn

from harness.conversion.scopes import ModuleTree
from harness.subjects.surgery import FullHybridHTDemucs


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.ReLU(), nn.ReLU()), nn.ReLU()])
        self.conv = nn.ReLU()


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList([Block(), Block()])
        self.decoder = nn.ModuleList([nn.ReLU()])
        self.head = Block()


@pytest.mark.parametrize(
    ("scopes", "path"),
    [
        ([], ""),
        (["head"], "head"),
        (["head", "0", "1"], "head.layers.0.1"),
        (["head", "conv"], "head.conv"),
        (["1", "conv"], "encoder.1.conv"),
        (["1", "0", "1"], "encoder.1.layers.0.1"),
        (["0"], None),  # encoder.0 or decoder.0
        (["head", "7"], None),
        (["UNKNOWN_SCOPE_NAME"], None),
    ],
)
def test_lists_that_are_never_called_are_put_back(scopes: list[str], path: str | None) -> None:
    assert ModuleTree.of(Network()).resolve(scopes) == path


def test_every_module_of_the_network_has_its_own_scopes(inner: FullHybridHTDemucs) -> None:
    tree = ModuleTree.of(inner)
    for path in tree.names - tree.silent:
        parts = path.split(".") if path else []
        scopes = [
            part for end, part in enumerate(parts, 1) if ".".join(parts[:end]) not in tree.silent
        ]
        assert tree.resolve(scopes) == path
