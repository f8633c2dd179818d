"""From the scopes that a converter records to the module paths of the checkpoint.

A trace records a module when it is *called*. A plain ``nn.ModuleList`` never is, so what the
checkpoint calls ``encoder.0.dconv.layers.0.3`` has the scopes ``encoder, 0, dconv, 0, 3``. Walking
the tree of modules with the scopes puts the skipped lists back, and an ``nn.Sequential`` whose
modules are called one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class ModuleTree:
    """Names of the modules of a network, as `torch.nn.Module.named_modules` spells them.

    Attributes:
        names: of every module, "" for the network itself.
        silent: those of modules that can't be called, and so never appear in a scope.
        lists: those that can be called, but are also walked through as a list.
    """

    names: frozenset[str]
    silent: frozenset[str]
    lists: frozenset[str] = frozenset()

    @classmethod
    def of(cls, module: nn.Module) -> ModuleTree:
        """Return the tree of ``module``."""
        modules = dict(module.named_modules(remove_duplicate=False))
        silent = {
            name
            for name, child in modules.items()
            if getattr(type(child).forward, "__name__", "") == "_forward_unimplemented"
        }
        lists = {name for name, child in modules.items() if isinstance(child, nn.Sequential)}
        return cls(frozenset(modules), frozenset(silent), frozenset(lists))

    def resolve(self, scopes: Sequence[str]) -> str | None:
        """Return the path of the module with these ``scopes``; None if there isn't exactly one."""
        for skipped in (self.silent, self.silent | self.lists):
            found = set(self._descend("", tuple(scopes), skipped))
            if found:
                return found.pop() if len(found) == 1 else None
        return None

    def _descend(
        self, path: str, scopes: tuple[str, ...], skipped: frozenset[str]
    ) -> Iterable[str]:
        if not scopes:
            yield path
            return
        child = f"{path}.{scopes[0]}" if path else scopes[0]
        if child in self.names:
            yield from self._descend(child, scopes[1:], skipped)
        for name in skipped:
            if name and name.rpartition(".")[0] == path:
                yield from self._descend(name, scopes, skipped)


def module_scopes(operation: Any) -> tuple[str, ...]:
    """Return the scopes of a coremltools ``Operation`` without the last, which names its value."""
    for source, scopes in operation.scopes.items():
        if source.name == "TORCHSCRIPT_MODULE_NAME":
            return tuple(scopes[:-1])
    return ()
