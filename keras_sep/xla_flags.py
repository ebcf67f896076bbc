"""XLA's settings for training with JAX, for commands and training scripts."""

import os
from importlib import metadata

from keras_sep.backend_name import backend_name

# An unknown flag ends the process, so only for versions that have it.
_VERSIONS = ("0.10.", "0.11.")


def without_ynnpack() -> None:
    """Has XLA do products and sums itself, where JAX's version is known to be slower with YNNPACK.

    On 2 cores a training step of a small Conv-TasNet took 0.48 s with that library and 0.37 s
    without (AVX2, medians of 11 rounds; JAX 0.10), on two others 0.24 and 0.20 s (AVX-512, 0.11),
    since `sum_over_frames` is without a copy 0.147 and 0.127 s (AVX-512, 0.10, memory kept).
    What the user has in `XLA_FLAGS` stays as it is.

    For a process of our own, before JAX computes: it holds for all that the process does.
    """
    try:
        version = metadata.version("jaxlib")
    except metadata.PackageNotFoundError:
        return
    if backend_name() == "jax" and version.startswith(_VERSIONS):
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=")
