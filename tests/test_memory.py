"""The allocator's settings, in a process of their own."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
from keras_sep.memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

keep_freed_memory()
before = resident()
features = np.ones(64 * 2**20, "uint8")
held = resident()
del features
print(held - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a switch of glibc")
def test_freed_memory_stays():
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    held, kept = map(int, child.stdout.split())
    assert held >= 60 * 2**20
    assert kept >= 60 * 2**20
