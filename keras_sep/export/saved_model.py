"""The SavedModel writer. TensorFlow writes; other backends hand the model to a child process."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import keras

from keras_sep.export.folded_batch_norm import fold_batch_norm
from keras_sep.export.folded_conv_tasnet import can_fold, fold_for_inference
from keras_sep.export.metadata import METADATA
from keras_sep.models import VQVAE2, ConvTasNet, MobileNet, SoundClassifier

_CHILD = """
import sys, keras, keras_sep
model = keras.saving.load_model(sys.argv[1], compile=False)
keras_sep.export.export_saved_model(model, sys.argv[2])
"""


def export_saved_model(
    model: ConvTasNet | MobileNet | SoundClassifier | VQVAE2, path: str | os.PathLike
) -> Path:
    """Writes a model as a SavedModel, beside and then renamed into place.

    A separator's signature `serving_default` maps `mixture`, float32 `[-1, -1]` (batch, samples),
    to `sources`, float32 `[-1, num_sources, -1]`. The graph has no XLA-compiled function, which
    TensorFlow Serving would refuse; a model with global normalization has its weights folded
    (`fold_for_inference`). The model's configuration lies in
    `assets.extra/keras_sep.json`.

    A MobileNet's maps `images`, float32 `[-1, height, width, channels]`, to `probabilities`,
    float32 `[-1, num_classes]`, or without the top to `features`. Its normalizations are folded.

    A SoundClassifier's maps `waveform`, float32 `[-1, -1]` (batch, samples), to `probabilities`,
    float32 `[-1, num_classes]`, and `class_names`, strings of the same shape. Its normalizations
    are folded.

    A causal model gets two more, to run on streams: `initial_state` maps `batch_size`, an int32
    scalar, to `state_0`, `state_1` …; `stream` maps `mixture` (a whole number of hops) and these
    to `sources` and the next `state_0`, `state_1` …, as `ConvTasNet.step` does. With
    `padding="valid"`, as models from asteroid have it, the first `kernel_size - strides` samples
    (the length of `state_0`) take the place of the first `state_0`, and the mixture goes on after
    them.

    A VQ-VAE's `encode` maps `images`, float32 `[-1, -1, -1, channels]` in -1 to 1 (for `rank=1`
    `waveforms`, `[-1, -1, channels]`), to its grids of codes, int32 `[-1, -1, -1]`, by the names of
    the levels, `top` and `bottom`; `decode` maps these to `images`; `reconstruct` and
    `serving_default` map `images` to `images`.

    Args:
        model: A built `ConvTasNet`, a `MobileNet`, `SoundClassifier`, `VQVAE` or `VQVAE2`, on any
            backend. From JAX or PyTorch a child process with TensorFlow writes it.
        path: The folder to make, for TensorFlow Serving `<base>/<name>/<version number>`.

    Returns: The path.

    Raises:
        ValueError: `model` is of another kind or not built.
        FileExistsError: `path` exists; it is left as it is.
        RuntimeError: The child process failed; the message ends with what it said.
    """
    path = Path(path)
    if not isinstance(model, ConvTasNet | MobileNet | SoundClassifier | VQVAE2):
        raise ValueError(
            "model must be a ConvTasNet, MobileNet, SoundClassifier or VQVAE2, "
            f"got {type(model).__name__}"
        )
    if not model.built:
        raise ValueError("model must be built, with model.build((None, None)) or a first call")
    if path.exists():
        raise FileExistsError(f"{path} exists; give a new folder, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not a number, so a server that watches the parent does not take it for a version.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as beside:
        written = Path(beside) / "saved_model"
        if keras.backend.backend() == "tensorflow":
            _write(model, written)
        else:
            _write_in_child(model, written, Path(beside))
        written.rename(path)
    return path


def _write(model, path):
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    metadata = {
        "class_name": type(model).__name__,
        "config": model.get_config(),
        "keras_version": keras.__version__,
        "tensorflow_version": tf.__version__,
    }
    if isinstance(model, MobileNet):
        _add_classifier(archive, fold_batch_norm(model))
    elif isinstance(model, VQVAE2):
        _add_autoencoder(archive, model)
    elif isinstance(model, SoundClassifier):
        _add_sound_classifier(archive, fold_batch_norm(model))
        metadata |= {
            "sample_rate": model.sample_rate,
            "patch_samples": model.patch_samples,
            "patch_hop_samples": model.patch_hop_samples,
        }
    else:
        _add_separator(archive, model)
        metadata |= {"sample_rate": model.sample_rate, "num_sources": model.num_sources}
    archive.write_out(os.fspath(path), verbose=False)
    (path / METADATA).parent.mkdir(exist_ok=True)
    (path / METADATA).write_text(json.dumps(metadata, indent=2) + "\n")


def _add_classifier(archive, model):
    import tensorflow as tf

    def serving_default(images):
        outputs = model(images, training=False)
        if model.include_top:
            return {"probabilities": tf.nn.softmax(outputs)}
        return {"features": outputs}

    archive.track(model)
    images = tf.TensorSpec((None, *model.input_shape), tf.float32, name="images")
    archive.add_endpoint("serving_default", serving_default, input_signature=[images])


def _add_autoencoder(archive, model):
    import tensorflow as tf

    name = {1: "waveforms", 2: "images"}[model.rank]
    lengths = (None,) * model.rank
    grids = {
        level: tf.TensorSpec((None, *lengths), tf.int32, name=level) for level in model.level_names
    }

    @tf.function
    def encode(inputs):
        return dict(zip(model.level_names, model.encode(inputs[name]), strict=True))

    @tf.function
    def decode(codes):
        return {name: model.decode([codes[level] for level in model.level_names])}

    @tf.function
    def reconstruct(inputs):
        return {name: model.reconstruct(inputs[name])}

    archive.track(model)
    inputs = {name: tf.TensorSpec((None, *lengths, model.channels), tf.float32, name=name)}
    archive.add_endpoint("serving_default", reconstruct, input_signature=[inputs])
    archive.add_endpoint("reconstruct", reconstruct, input_signature=[inputs])
    archive.add_endpoint("encode", encode, input_signature=[inputs])
    archive.add_endpoint("decode", decode, input_signature=[grids])


def _add_sound_classifier(archive, model):
    import tensorflow as tf

    def serving_default(waveform):
        probabilities = model(waveform, training=False)
        # With a batch axis, as a server needs it.
        names = tf.broadcast_to(tf.constant(model.class_names), tf.shape(probabilities))
        return {"probabilities": probabilities, "class_names": names}

    archive.track(model)
    waveform = tf.TensorSpec((None, None), tf.float32, name="waveform")
    archive.add_endpoint("serving_default", serving_default, input_signature=[waveform])


def _add_separator(archive, model):
    import tensorflow as tf

    folded = can_fold(model)
    separate = fold_for_inference(model) if folded else partial(model, training=False)

    def serving_default(mixture):
        return {"sources": separate(mixture)}

    # The other weights are constants of a folded graph and need not lie in the file twice.
    for part in (model.encoder, model.decoder) if folded else (model,):
        archive.track(part)
    mixture = tf.TensorSpec((None, None), tf.float32, name="mixture")
    archive.add_endpoint("serving_default", serving_default, input_signature=[mixture])
    if model.causal:
        _add_stream(archive, model, mixture)


def _add_stream(archive, model, mixture):
    import tensorflow as tf

    def named(state):
        return {f"state_{index}": values for index, values in enumerate(state)}

    @tf.function
    def initial_state(batch_size):
        return named(model.initial_state(batch_size))

    @tf.function
    def stream(mixture, **state):
        sources, state = model.step(mixture, [state[name] for name in names])
        return {"sources": sources, **named(state)}

    names = list(named(model.initial_state(1)))
    specs = {
        name: tf.TensorSpec((None, *values.shape[1:]), values.dtype, name=name)
        for name, values in named(model.initial_state(1)).items()
    }
    initial_state.get_concrete_function(tf.TensorSpec((), tf.int32, name="batch_size"))
    stream.get_concrete_function(mixture=mixture, **specs)
    archive.add_endpoint("initial_state", initial_state)
    archive.add_endpoint("stream", stream)


def _write_in_child(model, path, folder):
    archive = folder / "model.keras"
    model.save(archive)
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, archive, path],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    if child.returncode:
        shutil.rmtree(path, ignore_errors=True)
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        raise RuntimeError(f"the TensorFlow process that writes SavedModels failed: {lines[-1]}")
