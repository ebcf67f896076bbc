"""Images through the codec with table priors: exact codes, the ideal length, and bad streams."""

import sys
import zlib

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from table_prior import TablePrior

from keras_sep.codec import ImageCodec, compress, decompress
from keras_sep.codec.stream_format import unpack
from keras_sep.models import VQVAE, VQVAE2

SIZES = {"embedding_dim": 4, "hidden_dim": 4, "residual_dim": 2, "num_residual_blocks": 1}


def make_codec(num_levels=2, num_classes=None):
    keras.utils.set_random_seed(num_levels)
    model = VQVAE2(num_embeddings=9, num_levels=num_levels, strides=2, channels=1, **SIZES)
    priors = [TablePrior(9, num_classes)]
    priors += [TablePrior(9, None, 9, seed=level) for level in range(1, num_levels)]
    return ImageCodec(model, priors)


@pytest.fixture(scope="module")
def codec():
    return make_codec()


@pytest.fixture(scope="module")
def stream(codec):
    return codec.compress(pictures(2, 7, 10))


def pictures(*shape):
    return np.random.default_rng(0).normal(size=(*shape, 1)).astype("float32")


def reconstruct(model, images, unit):
    """The reconstruction of images padded to whole codes."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (0, -height % unit), (0, -width % unit), (0, 0)), "edge")
    codes = model.encode(ops.convert_to_tensor(padded))
    return ops.convert_to_numpy(model.decode(codes))[:, :height, :width], [
        ops.convert_to_numpy(level) for level in codes
    ]


@pytest.mark.parametrize("num_levels", [1, 2, 3])
def test_images_come_back_as_the_model_reconstructs_them(num_levels):
    codec, images = make_codec(num_levels), pictures(3, 9, 14)
    expected, _ = reconstruct(codec.model, images, 2**num_levels)
    seen = []
    stream = codec.compress(images, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_allclose(codec.decompress(stream), expected, atol=1e-6)
    assert seen == [(row + 1, len(seen)) for row in range(len(seen))]
    assert len(seen) == sum(-(-9 // 2**num_levels) * 2**level for level in range(num_levels))


def test_the_length_is_the_information_in_the_codes(codec):
    images = pictures(4, 16, 24)
    _, (top, bottom) = reconstruct(codec.model, images, 4)
    ideal = codec.priors[0].bits(top) + codec.priors[1].bits(bottom, condition=top)
    header, payload = unpack(codec.compress(images))
    assert (header.num_images, header.height, header.width) == (4, 16, 24)
    assert header.grids == (top.shape[1:], bottom.shape[1:])
    # The header's frequencies have 24 bits, and the coder ends within two words.
    assert ideal - 1 <= 8 * len(payload) <= ideal + 64


def test_one_image_and_a_model_of_one_level():
    model = VQVAE(num_embeddings=9, strides=4, channels=1, **SIZES)
    priors = [TablePrior(9)]
    image = pictures(8, 5)
    stream = compress(image, model, priors)
    expected, _ = reconstruct(model, image[None], 4)
    np.testing.assert_allclose(decompress(stream, model, priors), expected[0], atol=1e-6)


def test_labels_choose_the_distribution():
    codec, images = make_codec(num_classes=3), pictures(2, 8, 8)
    expected, (top, bottom) = reconstruct(codec.model, images, 4)
    stream = codec.compress(images, labels=[2, 2])
    header, payload = unpack(stream)
    ideal = codec.priors[0].bits(top, 2) + codec.priors[1].bits(bottom, condition=top)
    assert header.labels == (2, 2)
    assert ideal - 1 <= 8 * len(payload) <= ideal + 64
    np.testing.assert_allclose(codec.decompress(stream), expected, atol=1e-6)
    assert unpack(codec.compress(images[0], labels=1))[0].labels == (1,)
    for labels, message in [
        (None, "know 3 classes; got none"),
        ([0], "must be 2 integers"),
        ([0, 3], "from 0 to 2"),
        ([0.5, 1], "must be 2 integers"),
    ]:
        with pytest.raises(ValueError, match=message):
            codec.compress(images, labels=labels)


def test_bad_images(codec):
    for images, message in [
        (pictures(2, 8)[..., 0], "must be of shape"),
        (np.zeros((1, 8, 8, 3)), "must be of shape"),
        (np.zeros((0, 8, 8, 1)), "must be of shape"),
        (np.zeros((8, 8, 1), "uint8"), "uint8 are by pixels / 127.5 - 1"),
        (np.full((8, 8, 1), np.nan), "must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            codec.compress(images)
    with pytest.raises(ValueError, match="know no class; got some"):
        codec.compress(pictures(8, 8), labels=[0])


def test_bad_models_and_priors(codec, monkeypatch):
    model, (top, bottom) = codec.model, codec.priors
    for arguments, message in [
        ((keras.Sequential(), []), "must be a VQVAE or VQVAE2, got Sequential"),
        ((VQVAE(rank=1, **SIZES), [top]), "of images, of rank 2"),
        ((model, top), "must be a list of 2"),
        ((model, [top]), "must be a list of 2, one for each level from top to bottom, got 1"),
        ((model, [top, keras.Sequential()]), "got a Sequential for bottom"),
        ((model, [TablePrior(8), bottom]), "9 codes, the one for top knows 8"),
        ((model, [bottom, bottom]), "the one for top is on 9"),
        ((model, [top, TablePrior(9, None, 5)]), "the one for bottom is on 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            ImageCodec(*arguments)
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ImportError, match=r"keras-sep\[codec\]"):
        codec.compress(pictures(8, 8))


def test_other_weights_and_other_backends(codec, stream, monkeypatch):
    before = codec.fingerprint
    table = codec.priors[1].tables[2]
    values = ops.convert_to_numpy(table)
    table.assign(values + np.eye(9) * 1e-6)
    try:
        assert codec.fingerprint != before
        with pytest.raises(ValueError, match="another model or other priors"):
            codec.decompress(stream)
    finally:
        table.assign(values)
    assert codec.fingerprint == before
    mine = keras.backend.backend()
    other = "jax" if mine != "jax" else "torch"
    monkeypatch.setattr(keras.backend, "backend", lambda: other)
    with pytest.raises(ValueError, match=f"made with {mine}, this is {other}.*KERAS_BACKEND"):
        codec.decompress(stream)


def test_foreign_streams(codec, stream):
    for foreign, message in [
        (b"", "begin with b'KSVQ', got b''"),
        (b"\x89PNG\r\n", "begin with b'KSVQ', got b'.x89PNG'"),
        (stream[:4] + b"\x02" + stream[5:], "of format version 1, got 2"),
        ("text", "must be bytes, got str"),
        (stream + b"\0", "truncated or corrupted"),
    ]:
        with pytest.raises(ValueError, match=message):
            codec.decompress(foreign)
    with pytest.raises(ValueError, match="140 pixels, max_pixels is 100"):
        codec.decompress(stream, max_pixels=100)
    assert codec.decompress(bytearray(stream), max_pixels=140).shape == (2, 7, 10, 1)


@given(data=st.data())
def test_flipped_and_cut_streams_are_refused(codec, stream, data):
    cut = stream[: data.draw(st.integers(0, len(stream) - 1))]
    with pytest.raises(ValueError, match="stream"):
        codec.decompress(cut)
    flipped = bytearray(stream)
    bits = data.draw(st.sets(st.integers(0, 8 * len(stream) - 1), min_size=1, max_size=8))
    for bit in bits:
        flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="stream"):
        codec.decompress(flipped)


@given(data=st.data())
def test_forged_streams_are_refused_too(codec, stream, data):
    """With a checksum that is right; a label or an image's size that lies is no danger."""
    forged = bytearray(stream[:-4])
    place = data.draw(st.integers(4, len(forged) - 1))
    forged[place] ^= data.draw(st.integers(1, 255))
    forged += zlib.crc32(forged).to_bytes(4, "little")
    with pytest.raises(ValueError, match="stream"):
        codec.decompress(forged, max_pixels=10_000)


@given(st.binary(max_size=200))
def test_noise_is_refused(codec, noise):
    for stream in (noise, b"KSVQ\x01" + noise):
        with pytest.raises(ValueError, match="stream"):
            codec.decompress(stream)
