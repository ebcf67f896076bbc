"""The sound classifier: patches, probabilities, files, SavedModels."""

import json
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_sep.export import LoadedClassifier, export_saved_model, fold_batch_norm, load_saved_model
from keras_sep.models import MobileNet, SoundClassifier

NAMES = ["ja", "nein", "vielleicht"]


def noise(*shape, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=shape).astype("float32")


def small(**arguments):
    """A narrow classifier with weights and statistics that tell inputs apart."""
    model = SoundClassifier(NAMES, alpha=1 / 16, **arguments)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        values = ops.convert_to_numpy(weight)
        if np.issubdtype(values.dtype, np.floating):
            weight.assign(values + 0.3 * np.abs(rng.normal(size=values.shape)))
    return model


def numpy_of(model, waveforms):
    return ops.convert_to_numpy(model(waveforms))


@pytest.fixture(scope="module")
def model():
    return small()


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return export_saved_model(model, tmp_path_factory.mktemp("saved") / "1")


@given(st.sampled_from([1, 15599, 15600, 15601, 23280, 23281, 40000]))
@settings(max_examples=4)
def test_the_mean_over_patches_of_any_length(model, samples):
    waveforms = noise(2, samples, seed=samples)
    num_patches = 1 + max(0, -(-(samples - 15600) // 7680))
    padded = np.pad(waveforms, ((0, 0), (0, 15600 + (num_patches - 1) * 7680 - samples)))
    patches = [padded[:, n * 7680 : n * 7680 + 15600] for n in range(num_patches)]
    images = [ops.convert_to_numpy(model.front_end(patch))[:, 0, :, :, None] for patch in patches]
    logits = [ops.convert_to_numpy(model.network(image)) for image in images]
    odds = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    expected = np.mean(odds / odds.sum(axis=-1, keepdims=True), axis=0)
    probabilities = numpy_of(model, waveforms)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_shapes_and_config(model):
    assert model(keras.Input((None,))).shape == (None, 3)
    assert (model.sample_rate, model.patch_samples, model.patch_hop_samples) == (16000, 15600, 7680)
    config = model.get_config()
    assert json.loads(json.dumps(config)) == config
    again = SoundClassifier.from_config(config)
    assert again.get_config() == config
    network = MobileNet("v1", 1 / 16, (96, 64, 1), num_classes=3)
    assert model.count_params() == network.count_params()


def test_mixed_precision_gives_float32_near_float32(model):
    half = SoundClassifier(NAMES, alpha=1 / 16, dtype="mixed_bfloat16")
    half.set_weights(model.get_weights())
    waveforms = noise(2, 16000)
    outputs = half(waveforms)
    assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), numpy_of(model, waveforms), atol=0.05)


def test_keras_file_here_and_on_the_other_backends(model, tmp_path):
    waveforms = noise(2, 24000)
    expected = numpy_of(model, waveforms)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(numpy_of(again, waveforms), expected, atol=1e-6)
    np.savez(tmp_path / "arrays.npz", waveforms=waveforms, expected=expected)
    code = (
        "import sys, keras, keras_sep, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "arrays = np.load(sys.argv[2])\n"
        "outputs = keras.ops.convert_to_numpy(model(arrays['waveforms']))\n"
        "np.testing.assert_allclose(outputs, arrays['expected'], atol=1e-5)\n"
    )
    for backend in {"tensorflow", "jax", "torch"} - {keras.backend.backend()}:
        child = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "model.keras", tmp_path / "arrays.npz"],
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
        )
        assert child.returncode == 0, (backend, child.stderr)


def test_folding_keeps_the_probabilities(model):
    waveforms = noise(2, 16000)
    folded = fold_batch_norm(model)
    np.testing.assert_allclose(numpy_of(folded, waveforms), numpy_of(model, waveforms), atol=1e-4)
    assert folded.normalization is None


# What a server does: the TensorFlow 1 loader, without this package.
SERVE = """
import sys
import numpy as np
import tensorflow as tf
path, arrays = sys.argv[1:]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
    signature = meta.signature_def["serving_default"]
    assert not {n.op for n in meta.graph_def.node} & {"XlaCallModule"}
    for function in meta.graph_def.library.function:
        assert not {n.op for n in function.node_def} & {"XlaCallModule"}
        assert not ("_XlaMustCompile" in function.attr and function.attr["_XlaMustCompile"].b)
    assert list(signature.inputs) == ["waveform"]
    assert sorted(signature.outputs) == ["class_names", "probabilities"]
    for k in signature.inputs, signature.outputs:
        assert all(t.tensor_shape.dim[0].size == -1 for t in k.values())
    fetch = [signature.outputs[name].name for name in ("probabilities", "class_names")]
    arrays = np.load(arrays)
    for length in ("1", "24000"):
        feed = {signature.inputs["waveform"].name: arrays["in" + length]}
        probabilities, names = session.run(fetch, feed)
        np.testing.assert_allclose(probabilities, arrays["out" + length], atol=1e-4)
        assert names.tolist() == 2 * [[b"ja", b"nein", b"vielleicht"]]
assert "keras_sep" not in sys.modules
"""


def test_saved_model_in_tensorflows_own_loader(model, saved, tmp_path):
    waveforms = {length: noise(2, length) for length in (1, 24000)}
    arrays = {f"in{length}": waveform for length, waveform in waveforms.items()}
    arrays |= {f"out{length}": numpy_of(model, waveform) for length, waveform in waveforms.items()}
    np.savez(tmp_path / "arrays.npz", **arrays)
    child = subprocess.run(
        [sys.executable, "-c", SERVE, saved, tmp_path / "arrays.npz"],
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr


def test_loaded_classifier(model, saved):
    loaded = LoadedClassifier(saved)
    assert loaded.class_names == NAMES
    assert (loaded.sample_rate, loaded.patch_samples, loaded.patch_hop_samples) == (
        model.sample_rate,
        model.patch_samples,
        model.patch_hop_samples,
    )
    waveforms = noise(2, 24000)
    np.testing.assert_allclose(loaded(waveforms), numpy_of(model, waveforms), atol=1e-4)
    with pytest.raises(ValueError, match="is not a SavedModel of a separator"):
        load_saved_model(saved)


@pytest.mark.parametrize("names", [[], ["one"], ["a", "b", "a"]])
def test_errors_name_the_classes(names):
    message = f"class_names must be two or more different names, got {names}"
    with pytest.raises(ValueError, match=re.escape(message)):
        SoundClassifier(names)
