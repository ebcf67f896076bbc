"""MobileNets of keras.applications, torchvision and timm against what they give themselves."""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from mobilenet_weights import images, tensor
from numerics import run

from keras_sep import convert

FIXTURES = json.loads((Path(__file__).parent / "fixtures" / "mobilenets.json").read_text())
APPLICATIONS = keras.applications


@pytest.fixture(autouse=True, scope="module")
def no_random_kernels():
    """All weights are set anyway, and JAX compiles random numbers for each shape."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            keras.initializers.VarianceScaling,
            "__call__",
            lambda self, shape, dtype=None: np.zeros(shape, dtype),
        )
        yield


def state_dict(name):
    shapes = FIXTURES[name]["shapes"]
    return {key: tensor(key, tuple(shape)) for key, shape in shapes.items()}


def converted(name, state):
    if name.startswith("torchvision"):
        return convert.from_torchvision(state)
    if "/tf_" in name:
        return convert.from_timm(state, padding="same", epsilon=1e-3)
    return convert.from_timm(state)


def assert_equal_logits(model, expected, x):
    logits = run(lambda x: model(x), x)
    np.testing.assert_allclose(logits, expected, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("name", FIXTURES)
def test_torch_models_give_their_own_logits(name):
    model = converted(name, state_dict(name))
    assert_equal_logits(model, np.array([FIXTURES[name]["logits"]]), images())


def randomize(model):
    for weight in model.weights:
        weight.assign(_values(weight))
    return model


def _values(weight):
    rng = np.random.default_rng(len(weight.path) + int(np.prod(weight.shape)))
    if weight.name in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, weight.shape)
    if weight.name != "kernel":
        return rng.uniform(-0.5, 0.5, weight.shape)
    inputs = weight.shape[:2] if "depthwise" in weight.path or "_dw" in weight.path else None
    return rng.normal(size=weight.shape) * np.prod(inputs or weight.shape[:-1]) ** -0.5


KERAS = {
    "v1": (APPLICATIONS.MobileNet, 0.25, (75, 50, 3)),
    "v2": (APPLICATIONS.MobileNetV2, 0.35, (75, 50, 3)),
    "v3_small": (APPLICATIONS.MobileNetV3Small, 0.75, (None, None, 3)),
    "v3_large": (APPLICATIONS.MobileNetV3Large, 0.75, (None, None, 3)),
}


@pytest.fixture(scope="module")
def peers():
    """Models of keras.applications and their logits."""
    made = {}
    for version, (make, alpha, shape) in KERAS.items():
        model = randomize(make(shape, alpha, weights=None, classes=5, classifier_activation=None))
        made[version] = (model, run(lambda x, model=model: model(x, training=False), images()))
    return made


@pytest.mark.parametrize("version", KERAS)
def test_models_of_keras_give_their_own_logits(peers, version):
    theirs, expected = peers[version]
    ours = convert.load_keras_applications(theirs)
    assert (ours.version, ours.alpha) == (version, KERAS[version][1])
    assert ours.include_preprocessing == (version.startswith("v3"))
    assert_equal_logits(ours, expected, images())


@pytest.mark.parametrize(
    ("version", "suffix"), [("v1", ".h5"), ("v2", ".weights.h5"), ("v3_small", ".weights.h5")]
)
def test_files_of_keras(peers, version, suffix, tmp_path):
    theirs, expected = peers[version]
    path = tmp_path / f"theirs{suffix}"
    (theirs.save if suffix == ".h5" else theirs.save_weights)(path)
    assert_equal_logits(convert.load_keras_applications(path), expected, images())


def test_a_file_of_keras_2(peers, tmp_path):
    """Groups by layer, where a depthwise kernel is `depthwise_kernel:0`."""
    theirs, expected = peers["v1"]
    path = tmp_path / "theirs.h5"
    with h5py.File(path, "w") as file:
        for layer in theirs.layers:
            group = file.create_group(layer.name)
            is_depthwise, names = isinstance(layer, keras.layers.DepthwiseConv2D), []
            for weight in layer.weights:
                name = "depthwise_kernel" if is_depthwise else weight.name
                names.append(f"{layer.name}/{name}:0")
                group[names[-1]] = ops.convert_to_numpy(weight)
            group.attrs["weight_names"] = [name.encode() for name in names]
    assert_equal_logits(convert.load_keras_applications(path), expected, images())


def test_a_minimalistic_v3_is_named():
    theirs = APPLICATIONS.MobileNetV3Small((32, 32, 3), minimalistic=True, weights=None, classes=2)
    with pytest.raises(ValueError, match="V3 with minimalistic=True, which has no squeeze-excite"):
        convert.load_keras_applications(theirs)


def test_features_of_keras():
    theirs = APPLICATIONS.MobileNet(
        (32, 32, 1), 0.25, include_top=False, pooling="max", weights=None
    )
    ours = convert.load_keras_applications(theirs)
    assert (ours.pooling, ours.include_top, ours.input_shape) == ("max", False, (None, None, 1))


def test_an_unpublished_width_is_asked_for():
    theirs = APPLICATIONS.MobileNet((32, 32, 3), 0.125, weights=None, classes=2)
    with pytest.raises(ValueError, match="the widths of no published MobileNet v1"):
        convert.load_keras_applications(theirs)
    assert convert.load_keras_applications(theirs, alpha=0.125).alpha == 0.125


def test_problems_are_named(tmp_path):
    name = "timm/mobilenetv3_small_050"
    state = state_dict(name)
    state["classifier.bias"] = np.zeros(4, "float32")
    state["more"] = state.pop("bn1.weight")
    problems = (
        r"bn1.weight is missing; more is not part of the model; "
        r"classifier.bias has shape \(4,\), not \(5,\)"
    )
    with pytest.raises(ValueError, match=problems):
        convert.from_timm(state)
    with pytest.raises(ValueError, match="must be the state_dict of a MobileNet V2 or V3"):
        convert.from_timm({"a": np.zeros(1)})
    with pytest.raises(ValueError, match=r"of no MobileNet of keras\.applications"):
        convert.load_keras_applications(keras.Sequential([keras.Input((2,))]))
    with pytest.raises(ValueError, match="file that exists, got"):
        convert.load_keras_applications(tmp_path / "missing.h5")
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match="cannot be read as weights of Keras"):
        convert.load_keras_applications(tmp_path / "broken.h5")
