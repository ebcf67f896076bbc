"""What all tests share: the order of imports, seeds, and few, repeatable hypothesis examples."""

import os

# Tests compile much and run it once or twice: XLA should not optimize, in child processes neither.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

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
