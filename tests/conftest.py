"""What all tests share: the order of imports, seeds, and few, repeatable hypothesis examples."""

import atexit
import os
import shutil
import tempfile

# Tests compile much and run it once or twice: XLA should not optimize, in child processes neither,
# nor take its newer emitters, which need a third more time for that.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)
# What one process compiles others take from here; workers have the folder of who started them.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

# isort: split
import torch  # noqa: F401  PyTorch must come before TensorFlow, and fast_bss_eval needs it.

# isort: split
import keras
import pytest
from hypothesis import settings

# JAX compiles each new shape.
examples = 8 if keras.backend.backend() == "jax" else 25
settings.register_profile("keras_sep", deadline=None, derandomize=True, max_examples=examples)
settings.load_profile("keras_sep")


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)
