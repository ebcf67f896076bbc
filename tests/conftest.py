"""What all tests share: the order of imports, seeds, and few, repeatable hypothesis examples."""

import torch  # noqa: F401, I001  PyTorch must come before TensorFlow, and fast_bss_eval needs it.

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
