"""SavedModels of VQ-VAEs, read by TensorFlow's loader in a process without this package."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_sep.export import export_saved_model
from keras_sep.models import VQVAE, VQVAE2

SIZES = {"embedding_dim": 4, "hidden_dim": 4, "residual_dim": 2, "num_residual_blocks": 1}

SERVE = """
import json, sys
import numpy as np
import tensorflow as tf
path, arrays = sys.argv[1:]
model = tf.saved_model.load(path)
results, report = {}, {}
for name, signature in model.signatures.items():
    report[name] = {
        kind: {k: [s.dtype.name, s.shape.as_list()] for k, s in specs.items()}
        for kind, specs in (("inputs", signature.structured_input_signature[1]),
                            ("outputs", signature.structured_outputs))
    }
for name, inputs in np.load(arrays).items():
    data = report["encode"]["inputs"]
    inputs = {next(iter(data)): tf.constant(inputs)}
    codes = model.signatures["encode"](**inputs)
    outputs = {
        **codes,
        "decoded": next(iter(model.signatures["decode"](**codes).values())),
        "reconstruction": next(iter(model.signatures["reconstruct"](**inputs).values())),
    }
    results |= {f"{name}_{key}": value.numpy() for key, value in outputs.items()}
np.savez(arrays, **results)
assert "keras_sep" not in sys.modules
print(json.dumps(report))
"""


def serve(path, inputs, folder):
    """The signatures, and for each input its codes by level and what is decoded from them."""
    np.savez(folder / "arrays.npz", **{str(i): values for i, values in enumerate(inputs)})
    command = [sys.executable, "-c", SERVE, path, folder / "arrays.npz"]
    child = subprocess.run(command, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout.splitlines()[-1]), np.load(folder / "arrays.npz")


def test_images(tmp_path):
    model = VQVAE2(num_embeddings=20, strides=2, **SIZES)
    export_saved_model(model, tmp_path / "1")
    rng = np.random.default_rng(0)
    # The last has more vectors than one chunk of the search.
    shapes = [(2, 8, 12, 3), (1, 4, 4, 3), (1, 256, 512, 3)]
    inputs = [rng.normal(size=shape).astype("float32") for shape in shapes]
    signatures, served = serve(tmp_path / "1", inputs, tmp_path)
    images = {"images": ["float32", [None, None, None, 3]]}
    codes = {name: ["int32", [None, None, None]] for name in ("top", "bottom")}
    assert signatures == {
        "encode": {"inputs": images, "outputs": codes},
        "decode": {"inputs": codes, "outputs": images},
        "reconstruct": {"inputs": images, "outputs": images},
        "serving_default": {"inputs": images, "outputs": images},
    }
    for index, values in enumerate(inputs):
        grids = {name: served[f"{index}_{name}"] for name in model.level_names}
        for grid, expected in zip(grids.values(), model.encode(values), strict=True):
            expected = keras.ops.convert_to_numpy(expected)
            # Another backend rounds otherwise, so that a code can change where two are as near.
            assert grid.shape == expected.shape
            assert np.mean(grid != expected) < 0.001
        decoded = keras.ops.convert_to_numpy(model.decode(list(grids.values())))
        for kind in ("decoded", "reconstruction"):
            np.testing.assert_allclose(served[f"{index}_{kind}"], decoded, atol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the same writer's child")
def test_waveforms(tmp_path):
    model = VQVAE(num_embeddings=20, strides=4, channels=1, rank=1, **SIZES)
    export_saved_model(model, tmp_path / "1")
    waveform = np.random.default_rng(0).normal(size=(2, 64, 1)).astype("float32")
    signatures, served = serve(tmp_path / "1", [waveform], tmp_path)
    assert signatures["encode"] == {
        "inputs": {"waveforms": ["float32", [None, None, 1]]},
        "outputs": {"codebook": ["int32", [None, None]]},
    }
    expected = keras.ops.convert_to_numpy(model.encode(waveform)[0])
    np.testing.assert_array_equal(served["0_codebook"], expected)
