"""What every layer of the package must do; a test file says with which arguments and inputs."""

import inspect
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import ops, tree
from numerics import run
from numpy_conv_tasnet import randomize

from keras_sep.layers import WaveformDecoder, WaveformEncoder

BATCH = 2


@dataclass
class Case:
    """A layer to check.

    Args:
        layer_class: The layer.
        arguments: Of its constructor.
        input_shape: Without the batch axis; None where the length is free.
        lengths: Two lengths to put there.
        half_inputs: Rounds the inputs to what half precision holds, where a rounding could tip the
            choice of a code.
    """

    layer_class: type
    arguments: dict
    input_shape: tuple
    lengths: tuple = field(default=(12, 17))
    half_inputs: bool = False

    def __str__(self):
        shown = [f"{value}" for value in self.arguments.values() if isinstance(value, str)]
        return "-".join([self.layer_class.__name__, *shown])

    def layer(self, **arguments):
        return self.layer_class(**self.arguments, **arguments)

    def inputs(self, length):
        shape = [length if size is None else size for size in self.input_shape]
        inputs = np.random.default_rng(length).normal(size=(BATCH, *shape)).astype("float32")
        return np.round(inputs * 32) / np.float32(32) if self.half_inputs else inputs

    def functional(self, layer):
        """A model of the layer alone, for any length."""
        inputs = keras.Input(self.input_shape)
        return keras.Model(inputs, layer(inputs))


def forward(layer, inputs):
    """Outputs in NumPy and float32, and the dtypes that they had."""
    dtypes = set()

    def function(x):
        outputs = tree.flatten(layer(x))
        dtypes.update(keras.backend.standardize_dtype(y.dtype) for y in outputs)
        return [ops.cast(y, "float32") for y in outputs]

    return run(function, inputs), dtypes


def numpy_of(layer, inputs):
    return forward(layer, inputs)[0]


def shapes_of(outputs):
    return [tuple(x.shape) for x in tree.flatten(outputs)]


def check_config(case, tmp_path):
    """Every constructor argument is a same-named attribute and a JSON value in the config."""
    names = set(inspect.signature(case.layer_class).parameters) - {"args", "kwargs"}
    layer = case.layer(name="mine", dtype="mixed_bfloat16")
    config = layer.get_config()
    assert json.loads(json.dumps(config)) == config
    for name in names:
        value = getattr(layer, name)
        if name == "activation":
            value = keras.activations.serialize(value)
        assert config[name] == value
    assert {name: config[name] for name in case.arguments} == case.arguments
    again = case.layer_class.from_config(config)
    assert (again.name, again.dtype_policy.name) == ("mine", "mixed_bfloat16")
    assert again.get_config() == config


def check_registered(case, tmp_path):
    name = f"keras_sep>{case.layer_class.__name__}"
    assert keras.saving.get_registered_name(case.layer_class) == name
    assert keras.saving.get_registered_object(name) is case.layer_class


def check_shapes(case, tmp_path):
    """Eager, symbolic and computed shapes agree, with free and with known lengths."""
    layer = case.layer()
    model = case.functional(layer)
    for length in case.lengths:
        inputs = case.inputs(length)
        outputs = layer(inputs)
        computed = tree.map_shape_structure(tuple, layer.compute_output_shape(inputs.shape))
        assert tree.flatten(computed) == tree.flatten(shapes_of(outputs))
        assert shapes_of(layer(keras.Input(inputs.shape[1:], BATCH))) == shapes_of(outputs)
        assert shapes_of(model(inputs)) == shapes_of(outputs)
    for free, *known in zip(
        shapes_of(model.output),
        *(shapes_of(model(case.inputs(length))) for length in case.lengths),
        strict=True,
    ):
        assert free == (None, *(n if n == m else None for n, m in list(zip(*known))[1:]))  # noqa: B905


def check_keras_file(case, tmp_path):
    model = case.functional(case.layer())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = case.inputs(case.lengths[0])
    for before, after in zip(numpy_of(model, inputs), numpy_of(again, inputs), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)


def check_fit(case, tmp_path):
    """A few steps: finite loss, no trainable weight left as it was, others only as they must."""
    model = case.functional(case.layer())
    inputs = case.inputs(case.lengths[0])
    targets = tree.map_structure(lambda x: ops.convert_to_numpy(x) + 1, model(inputs))
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_variables]
    model.compile(keras.optimizers.Adam(0.01), "mse")
    history = model.fit(inputs, targets, epochs=2, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    for weight, value in zip(model.trainable_variables, before, strict=True):
        assert np.any(ops.convert_to_numpy(weight) != value), weight.path


def check_mixed_precision(case, tmp_path):
    """Half-precision outputs near those of float32, weights in float32."""
    exact = case.layer()
    inputs = case.inputs(case.lengths[0])
    exact.build(inputs.shape)
    expected = numpy_of(exact, inputs)
    for policy in ("mixed_float16", "mixed_bfloat16"):
        layer = case.layer(dtype=policy)
        layer.build(inputs.shape)
        layer.set_weights(exact.get_weights())
        outputs, dtypes = forward(layer, inputs)
        assert dtypes == {policy.removeprefix("mixed_")}
        assert {weight.dtype for weight in layer.weights} <= {"float32"}
        for x, y in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(x, y, atol=0.05 * np.abs(y).max())


CHECKS = [
    check_config,
    check_registered,
    check_shapes,
    check_keras_file,
    check_fit,
    check_mixed_precision,
]


def check_stream(case):
    """The steps of a causal layer over a random partition give what it gives for the whole."""
    layer = case.layer()
    encodes, decodes = (isinstance(layer, kind) for kind in (WaveformEncoder, WaveformDecoder))
    hop, frames = layer.strides if encodes else 1, case.lengths[0]
    time = case.input_shape.index(None) + 1
    inputs = case.inputs(frames * hop)
    layer.build(inputs.shape)
    randomize(layer)

    def step(x, *state):
        return layer.step(x, list(state))

    # One frame first: less than the taps reach back to.
    cuts = np.random.default_rng(0).choice(np.arange(2, frames), 2, replace=False)
    state = layer.initial_state(inputs.shape[:time] if decodes else BATCH)
    pieces = []
    for piece in np.split(inputs, [hop, *(hop * np.sort(cuts))], axis=time):
        outputs, state = run(step, piece, *state)
        pieces.append(tree.flatten(outputs))
    axis = -1 if decodes else -2
    # The samples before the first one, which the decoder gives first, are not in the whole.
    early = layer.kernel_size - layer.strides if decodes else 0
    for outputs, whole in zip(zip(*pieces, strict=True), numpy_of(layer, inputs), strict=True):
        streamed = np.split(np.concatenate(outputs, axis), [early], axis)[1]
        # The encoder's whole has frames that zeros after its end complete.
        expected = np.split(whole, [streamed.shape[axis]], axis)[0]
        np.testing.assert_allclose(streamed, expected, atol=1e-5)


# TensorFlow alone writes SavedModels. It reads what the backend under test saved, exports that,
# and computes what `outputs` holds.
_EXPORT = """
import sys
import keras
import numpy as np
import tensorflow as tf
import keras_sep

for folder in sys.argv[1:]:
    model = keras.saving.load_model(folder + "/model.keras")
    model.export(folder + "/saved_model", verbose=False)
    served = tf.saved_model.load(folder + "/saved_model")
    with np.load(folder + "/inputs.npz") as inputs, np.load(folder + "/outputs.npz") as outputs:
        for length in inputs:
            values = tf.nest.flatten(served.serve(inputs[length]))
            for index, value in enumerate(values):
                expected = outputs[f"{length}_{index}"]
                np.testing.assert_allclose(value, expected, atol=1e-5, err_msg=folder)
"""


def check_exports(cases, tmp_path):
    """SavedModels, which TensorFlow alone writes, compute the same for any length."""
    folders = []
    for index, case in enumerate(cases):
        folder = tmp_path / f"{index}_{case}"
        folder.mkdir()
        model = case.functional(case.layer())
        model.save(folder / "model.keras")
        inputs = {str(length): case.inputs(length) for length in case.lengths}
        outputs = {
            f"{length}_{index}": value
            for length, x in inputs.items()
            for index, value in enumerate(numpy_of(model, x))
        }
        np.savez(folder / "inputs.npz", **inputs)
        np.savez(folder / "outputs.npz", **outputs)
        folders.append(str(folder))
    child = subprocess.run(
        [sys.executable, "-c", _EXPORT, *folders],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
