"""The codec with PixelCNNs: steps against full passes."""

import numpy as np
import pytest
from keras import ops

from keras_sep.codec import ImageCodec
from keras_sep.codec.range_coding import SymbolEncoder
from keras_sep.codec.stream_format import unpack
from keras_sep.models import VQVAE2, PixelCNN

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
