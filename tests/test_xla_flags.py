"""XLA's settings, each in a process of its own."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os
from importlib import metadata

metadata.version = lambda name: "{version}"
from keras_sep.xla_flags import without_ynnpack

without_ynnpack()
print(os.environ.get("XLA_FLAGS"))
"""
COMPILE = """
from keras_sep.xla_flags import without_ynnpack
import keras

without_ynnpack()
import jax
import numpy as np

x, kernel = np.ones((20, 128), "float32"), np.ones((128, 512), "float32")
print("ynn" in jax.jit(lambda x, kernel: x @ kernel).lower(x, kernel).compile().as_text())
"""


def output(script, backend, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    child = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "KERAS_BACKEND": backend, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return child.stdout.strip()


@pytest.mark.parametrize(
    ("backend", "version", "flags"),
    [
        ("jax", "0.10.2", "--xla_cpu_experimental_ynn_fusion_type="),
        ("jax", "0.11.2", "--xla_cpu_experimental_ynn_fusion_type="),
        ("jax", "0.100.2", "None"),
        ("jax", "0.9.2", "None"),
        ("tensorflow", "0.10.2", "None"),
    ],
)
def test_only_where_the_flag_is_known(backend, version, flags):
    assert output(SCRIPT.format(version=version), backend) == flags


def test_the_users_flags_stay():
    flags = "--xla_cpu_multi_thread_eigen=true"
    assert output(SCRIPT.format(version="0.10.2"), "jax", XLA_FLAGS=flags) == flags


def test_jax_computes_without():
    pytest.importorskip("jax")
    assert output(COMPILE, "jax") == "False"
