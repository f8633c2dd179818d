"""If these fail, time goes to fresh pages and to the collector of cycles again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGES = """
import resource, sys
import torch
from harness.allocation import keep_memory

def faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.empty(12_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

fresh = faults()
keep_memory()
faults()
print(fresh, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left alone")
def test_memory_of_a_freed_tensor_is_there_for_the_next() -> None:
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True)
    fresh, kept = map(int, done.stdout.split())
    assert kept * 10 < fresh


COLLECTIONS = """
import gc
from harness.allocation import seldom_collect

def looked() -> int:
    before = sum(generation["collections"] for generation in gc.get_stats())
    kept = [[] for _ in range(400_000)]
    return sum(generation["collections"] for generation in gc.get_stats()) - before

often = looked()
seldom_collect()
print(often, looked(), len(gc.get_objects()))
"""


def test_new_objects_are_seldom_looked_through_and_those_that_stay_never() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLLECTIONS], capture_output=True, text=True, check=True
    )
    often, seldom, seen = map(int, done.stdout.split())
    assert 0 < seldom * 10 < often
    assert seen < 1000
