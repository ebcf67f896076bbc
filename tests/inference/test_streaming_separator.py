"""The stream against the whole recording."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numerics import run

from keras_sep.inference import StreamingSeparator
from keras_sep.models import ConvTasNet

CONFIGURATIONS = {
    "cumulative": {"kernel_size": 16, "normalization": "cumulative"},
    "batch": {"kernel_size": 7, "strides": 3, "normalization": "batch"},
    "valid": {"kernel_size": 10, "strides": 4, "normalization": "layer", "padding": "valid"},
    "own_windows": {"kernel_size": 4, "strides": 4, "normalization": "layer"},
    "no_skip": {"kernel_size": 12, "strides": 4, "normalization": "cumulative", "skip_dim": None},
}


def build(**arguments):
    sizes = {"filters": 8, "bottleneck_dim": 4, "hidden_dim": 8, "skip_dim": 4}
    model = ConvTasNet(**{**sizes, "num_blocks": 2, "num_repeats": 1, "causal": True, **arguments})
    model.build((None, None))
    rng = np.random.default_rng(0)
    # Away from the initial zeros and ones, which would hide mistakes.
    model.set_weights(
        [w + 0.1 * rng.random(w.shape).astype("float32") for w in model.get_weights()]
    )
    return model


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def separator(request):
    return StreamingSeparator(build(**CONFIGURATIONS[request.param]))


def whole(separator, mixture):
    return run(separator.model, mixture[None])[0]


@given(data=st.data(), length=st.sampled_from([0, 9, 100]))
def test_any_partition_equals_the_whole(separator, data, length):
    cuts = data.draw(st.lists(st.integers(0, length), max_size=5).map(sorted))
    mixture = np.random.default_rng(length).normal(size=length).astype("float32")
    fed_pieces, last = np.split(mixture, cuts), ()
    if data.draw(st.booleans(), "the last piece comes with the end"):
        *fed_pieces, last = fed_pieces
    pieces, fed, given = [], 0, 0
    for piece in fed_pieces:
        pieces.append(separator.feed(piece))
        fed += len(piece)
        given += pieces[-1].shape[-1]
        assert fed - separator.latency < given + 1 <= fed + 1
    if separator.model.padding == "valid" and 0 < len(mixture) < separator.model.kernel_size:
        with pytest.raises(ValueError, match="at least kernel_size=10 samples"):
            separator.flush(last)
        return
    pieces.append(separator.flush(last))
    stream = np.concatenate(pieces, axis=-1)
    assert stream.shape == (2, len(mixture))
    if len(mixture):
        np.testing.assert_allclose(stream, whole(separator, mixture), atol=1e-5)


def test_one_sample_at_a_time(separator):
    mixture = np.random.default_rng(1).normal(size=50).astype("float32")
    pieces = [separator.feed(sample[None]) for sample in mixture]
    stream = np.concatenate([*pieces, separator.flush()], axis=-1)
    np.testing.assert_allclose(stream, whole(separator, mixture), atol=1e-5)


def test_bad_samples_leave_the_stream_as_it_was(separator):
    mixture = np.random.default_rng(2).normal(size=40).astype("float32")
    first = separator.feed(mixture[:20])
    for bad in (np.array([0.0, np.nan]), np.zeros((1, 3))):
        for take in (separator.feed, separator.flush):
            with pytest.raises(ValueError, match="finite and of shape"):
                take(bad)
    stream = np.concatenate([first, separator.feed(mixture[20:]), separator.flush()], axis=-1)
    np.testing.assert_allclose(stream, whole(separator, mixture), atol=1e-5)


def test_from_a_file(separator, tmp_path):
    separator.model.save(tmp_path / "causal.keras")
    loaded = StreamingSeparator(tmp_path / "causal.keras")
    mixture = np.ones(30, "float32")
    stream = np.concatenate([loaded.feed(mixture), loaded.flush()], axis=-1)
    np.testing.assert_allclose(stream, whole(separator, mixture), atol=1e-5)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="only a model with causal=True"):
        StreamingSeparator(build(causal=False, normalization="global"))
    with pytest.raises(ValueError, match="must be a ConvTasNet"):
        StreamingSeparator(keras.layers.Dense(2))
    with pytest.raises(ValueError, match="chunk_seconds must be above 0, got 0"):
        StreamingSeparator(build(normalization="batch"), chunk_seconds=0)


@pytest.mark.parametrize(("chunk", "kernel"), [(1, 16), (20, 16), (42, 16), (80, 32), (1300, 8)])
def test_prepared_for_a_chunk(chunk, kernel):
    """One step a chunk if that has few hops, and only prepared ones, at the end too."""
    model = build(kernel_size=kernel, normalization="cumulative")
    separator = StreamingSeparator(model, chunk / 8000)
    step, shapes = separator._step, []

    def counted(mixture, state):
        shapes.append(tuple(mixture.shape))
        return step(mixture, state)

    separator._step = counted
    mixture = np.random.default_rng(3).normal(size=5 * chunk - chunk // 3).astype("float32")
    *chunks, last = np.split(mixture, range(chunk, 5 * chunk, chunk))
    pieces = [separator.feed(piece) for piece in chunks]
    assert len(shapes) <= 4 * (-(-chunk // (256 * model.strides)))
    stream = np.concatenate([*pieces, separator.flush(last)], axis=-1)
    assert len(set(shapes)) <= 2
    np.testing.assert_allclose(stream, whole(separator, mixture), atol=1e-5)
