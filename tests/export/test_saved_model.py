"""SavedModels against the models they were made from, read by TensorFlow's own loaders."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_sep
from keras_sep.convert import from_asteroid
from keras_sep.export import export_saved_model, load_saved_model
from keras_sep.export.folded_conv_tasnet import can_fold
from keras_sep.models import ConvTasNet, MobileNet

LENGTHS = (1, 15, 16, 17, 1000)

# What a server does: the TensorFlow 1 loader, without this package.
SERVE = """
import json, sys
import numpy as np
import tensorflow as tf
path, arrays = sys.argv[1:]
arrays = np.load(arrays)
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], path)
    signature = meta.signature_def["serving_default"]
    print(json.dumps({
        "inputs": {k: [v.dtype, [d.size for d in v.tensor_shape.dim]]
                   for k, v in signature.inputs.items()},
        "outputs": {k: [v.dtype, [d.size for d in v.tensor_shape.dim]]
                    for k, v in signature.outputs.items()},
        "operations": sorted({n.op for n in meta.graph_def.node}
                    | {n.op for f in meta.graph_def.library.function for n in f.node_def}),
        "compiled": [f.signature.name for f in meta.graph_def.library.function
                     if "_XlaMustCompile" in f.attr and f.attr["_XlaMustCompile"].b],
    }))
    feed, fetch = signature.inputs["mixture"].name, signature.outputs["sources"].name
    for name in arrays:
        if name.startswith("mixture"):
            sources = session.run(fetch, {feed: arrays[name]})
            expected = arrays[name.replace("mixture", "sources")]
            np.testing.assert_allclose(sources, expected, atol=1e-5)
assert "keras_sep" not in sys.modules
"""


def small_model(**arguments):
    model = ConvTasNet(
        filters=16,
        bottleneck_dim=8,
        hidden_dim=12,
        skip_dim=8,
        num_blocks=3,
        num_repeats=1,
        **arguments,
    )
    model.build((None, None))
    return model


@pytest.fixture(scope="module")
def model():
    return small_model(num_sources=3, sample_rate=16000)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved_models") / "small" / "1"
    assert export_saved_model(model, path) == path
    return path


def test_a_server_reads_the_same_sources_without_xla(model, exported, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"mixture{n}": rng.normal(size=(2, n)).astype("float32") for n in LENGTHS}
    arrays |= {
        name.replace("mixture", "sources"): keras.ops.convert_to_numpy(model(mixture))
        for name, mixture in arrays.items()
    }
    np.savez(tmp_path / "arrays.npz", **arrays)
    child = subprocess.run(
        [sys.executable, "-c", SERVE, exported, tmp_path / "arrays.npz"],
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    report = json.loads(child.stdout.splitlines()[-1])
    assert report["inputs"] == {"mixture": [1, [-1, -1]]}
    assert report["outputs"] == {"sources": [1, [-1, 3, -1]]}
    assert report["compiled"] == []
    assert not [name for name in report["operations"] if "xla" in name.lower()]


def test_only_the_finished_folder_is_left(exported):
    assert sorted(path.name for path in exported.parent.iterdir()) == ["1"]
    metadata = json.loads((exported / "assets.extra" / "keras_sep.json").read_text())
    assert metadata["class_name"] == "ConvTasNet"
    assert ConvTasNet.from_config(metadata["config"]).num_sources == 3


def test_loaded_separator(model, exported):
    loaded = load_saved_model(exported)
    assert (loaded.num_sources, loaded.sample_rate) == (3, 16000)
    mixture = np.random.default_rng(1).normal(size=(2, 321)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(mixture))
    np.testing.assert_allclose(loaded(mixture), expected, atol=1e-5)


def test_bfloat16(tmp_path):
    model = small_model(dtype="mixed_bfloat16")
    assert can_fold(model) == (keras.backend.backend() != "jax")
    loaded = load_saved_model(export_saved_model(model, tmp_path / "1"))
    mixture = np.random.default_rng(1).normal(size=(2, 321)).astype("float32")
    sources, expected = np.asarray(loaded(mixture)), keras.ops.convert_to_numpy(model(mixture))
    assert sources.dtype == "float32"
    np.testing.assert_allclose(sources, expected, atol=0.03 * np.abs(expected).max())


# Runs streams by the signatures alone, without this package.
STREAM = """
import sys
import numpy as np
import tensorflow as tf
for folder in sys.argv[1:]:
    signatures = tf.saved_model.load(folder).signatures
    mixture = np.load(folder + "/mixture.npy")
    state = signatures["initial_state"](batch_size=tf.constant(len(mixture)))
    lag = state["state_0"].shape[1]
    if folder.endswith("valid"):
        state["state_0"], mixture = tf.constant(mixture[:, :lag]), mixture[:, lag:]
    pieces = []
    for chunk in np.split(mixture, [16, 24, 64], axis=1):
        outputs = signatures["stream"](mixture=tf.constant(chunk), **state)
        pieces.append(outputs["sources"].numpy())
        state = {name: value for name, value in outputs.items() if name != "sources"}
    np.save(folder + "/sources.npy", np.concatenate(pieces, axis=-1))
assert "keras_sep" not in sys.modules
"""


def test_streams_of_causal_models(tmp_path):
    """Of one with "same" padding and of one from asteroid, which has "valid" padding."""
    fixtures = Path(__file__).parents[1] / "convert" / "fixtures"
    models = {
        "same": small_model(causal=True, normalization="cumulative"),
        "valid": from_asteroid(fixtures / "asteroid_cumulative_causal.pth"),
    }
    mixture = np.random.default_rng(2).normal(size=(2, 88)).astype("float32")
    for padding, causal in models.items():
        assert (causal.padding, causal.kernel_size, causal.strides) == (padding, 16, 8)
        export_saved_model(causal, tmp_path / padding)
        np.save(tmp_path / padding / "mixture.npy", mixture)
    folders = [tmp_path / padding for padding in models]
    child = subprocess.run([sys.executable, "-c", STREAM, *folders], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    for padding, causal in models.items():
        sources = np.load(tmp_path / padding / "sources.npy")
        whole = keras.ops.convert_to_numpy(causal(mixture))
        # The first samples of "same" padding lie before the mixture.
        sources = sources[..., 8:] if padding == "same" else sources
        assert sources.shape[-1] == 80
        np.testing.assert_allclose(sources, whole[..., :80], atol=1e-5)


def test_other_models_have_no_stream(exported):
    import tensorflow as tf

    assert list(tf.saved_model.load(exported).signatures) == ["serving_default"]


@pytest.mark.parametrize("include_top", [True, False])
def test_mobilenet(include_top, tmp_path):
    import tensorflow as tf

    classifier = MobileNet("v1", 0.1, num_classes=5, include_top=include_top)
    export_saved_model(classifier, tmp_path / "1")
    served = tf.saved_model.load(tmp_path / "1").signatures["serving_default"]
    images = np.random.default_rng(0).normal(size=(2, 33, 40, 3)).astype("float32")
    outputs = classifier(images)
    outputs = keras.ops.softmax(outputs) if include_top else outputs
    name = "probabilities" if include_top else "features"
    np.testing.assert_allclose(
        served(images=tf.constant(images))[name],
        keras.ops.convert_to_numpy(outputs),
        atol=1e-5,
    )


def test_an_existing_folder_is_left_alone(model, exported):
    before = (exported / "saved_model.pb").read_bytes()
    with pytest.raises(FileExistsError, match="exists; give a new folder"):
        export_saved_model(model, exported)
    assert (exported / "saved_model.pb").read_bytes() == before


def test_a_failed_export_leaves_nothing(model, tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    for name in ("_write", "_write_in_child"):
        monkeypatch.setattr(keras_sep.export.saved_model, name, fail)
    with pytest.raises(KeyboardInterrupt):
        export_saved_model(model, tmp_path / "base" / "1")
    assert list((tmp_path / "base").iterdir()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), "Sequential"),
        (ConvTasNet, "must be built"),
    ],
)
def test_other_models_are_refused(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_saved_model(make(), tmp_path / "1")
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no saved_model.pb"),
        ({"saved_model.pb": b""}, "keras_sep.json is missing or damaged"),
        (
            {
                "saved_model.pb": b"\x00nothing",
                "assets.extra/keras_sep.json": json.dumps(
                    {"num_sources": 2, "sample_rate": 8000, "config": {}}
                ).encode(),
            },
            "cannot be loaded",
        ),
    ],
)
def test_other_folders_are_refused(files, message, tmp_path):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_saved_model(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
