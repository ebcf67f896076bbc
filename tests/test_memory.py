"""The allocator's settings, in a process of their own."""

import platform
import subprocess
import sys

import pytest
from numerics import BACKEND

from keras_sep import cli

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


ARENAS = """
import ctypes, tempfile, threading
import keras
from keras_sep.memory import keep_freed_memory

keep_freed_memory()
import numpy as np

barrier = threading.Barrier(4)
def allocate():
    np.ones(2**20)
    barrier.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = (ctypes.c_int, ctypes.c_void_p)
libc.fclose.argtypes = (ctypes.c_void_p,)
with tempfile.NamedTemporaryFile("r") as file:
    stream = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count("<heap nr"))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a switch of glibc")
def test_freed_memory_stays():
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    held, kept = map(int, child.stdout.split())
    assert held >= 60 * 2**20
    assert kept >= 60 * 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a switch of glibc")
def test_threads_share_one_arena_on_jax():
    child = subprocess.run(
        [sys.executable, "-c", ARENAS], capture_output=True, text=True, check=True
    )
    assert (int(child.stdout.split()[-1]) == 1) == (BACKEND == "jax")


@pytest.mark.parametrize(("command", "on_jax"), [("train", True), ("separate", False)])
def test_which_commands_keep_it(monkeypatch, command, on_jax):
    calls = []
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: calls.append(command))
    monkeypatch.setattr(sys, "argv", ["keras-sep", command, "--help"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    assert bool(calls) == (on_jax or BACKEND != "jax")
