"""The codec with PixelCNNs: steps against full passes."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_sep.codec import ImageCodec
from keras_sep.codec.range_coding import SymbolEncoder
from keras_sep.codec.stream_format import unpack
from keras_sep.models import VQVAE, VQVAE2, PixelCNN

SIZES = {"embedding_dim": 4, "hidden_dim": 4, "residual_dim": 2, "num_residual_blocks": 1}


def test_codes_come_back_at_the_full_passes_cross_entropy(monkeypatch):
    model = VQVAE2(num_embeddings=8, strides=2, channels=1, **SIZES)
    small = {"filters": 8, "num_layers": 2, "kernel_size": 3, "num_heads": 2}
    priors = [
        PixelCNN(8, num_classes=3, num_attention_layers=1, **small),
        PixelCNN(8, condition_num_embeddings=8, **small),
    ]
    for prior in priors:  # logits far from all alike
        for weight in prior.trainable_weights:
            weight.assign(1.5 * ops.convert_to_numpy(weight))
        prior.logits.kernel.assign(8 * ops.convert_to_numpy(prior.logits.kernel))
    codec = ImageCodec(model, priors)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 15, 22, 1)).astype("float32")
    padded = np.pad(images, ((0, 0), (0, 1), (0, 2), (0, 0)), "edge")
    top, bottom = (ops.convert_to_numpy(codes) for codes in model.encode(padded))
    bits = 0.0
    for prior, codes, inputs in [
        (priors[0], top, {"codes": top, "labels": np.array([2, 0])}),
        (priors[1], bottom, {"codes": bottom, "condition": top}),
    ]:
        log_probabilities = ops.log_softmax(prior(inputs, training=False), axis=-1)
        log_probabilities = ops.convert_to_numpy(log_probabilities)
        bits -= np.take_along_axis(log_probabilities, codes[..., None], -1).sum() / np.log(2)

    encoder = SymbolEncoder()
    monkeypatch.setattr("keras_sep.codec.image_codec.SymbolEncoder", lambda: encoder)
    stream = codec.compress(images, labels=[2, 0])
    assert bits > 1.2 * 240 * 3
    assert encoder.bits == pytest.approx(bits, abs=1)
    assert bits - 1 <= 8 * len(unpack(stream)[1]) <= bits + 64
    expected = ops.convert_to_numpy(model.decode([top, bottom]))[:, :15, :22]
    np.testing.assert_allclose(codec.decompress(stream), expected, atol=1e-6)


DECOMPRESS = """
import sys
import keras, numpy
import keras_sep.models
from keras_sep.codec import decompress

model, prior = (keras.saving.load_model(path, compile=False) for path in sys.argv[1:3])
numpy.save(sys.argv[4], decompress(open(sys.argv[3], "rb").read(), model, [prior]))
"""


def test_another_process_decompresses(tmp_path):
    """From the files alone; a checksum in the stream tells that the codes are the same."""
    model = VQVAE(num_embeddings=8, strides=4, channels=1, **SIZES)
    prior = PixelCNN(8, filters=4, num_layers=1, kernel_size=3, first_kernel_size=3)
    codec = ImageCodec(model, [prior])
    image = np.random.default_rng(0).normal(size=(12, 16, 1)).astype("float32")
    stream = codec.compress(image)
    paths = [str(tmp_path / name) for name in ("model.keras", "prior.keras", "stream", "image.npy")]
    model.save(paths[0])
    prior.save(paths[1])
    (tmp_path / "stream").write_bytes(stream)
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    subprocess.run([sys.executable, "-c", DECOMPRESS, *paths], check=True, env=environment)
    np.testing.assert_allclose(np.load(paths[3]), codec.decompress(stream), atol=1e-6)
