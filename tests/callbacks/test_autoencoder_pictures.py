"""The pictures that callbacks draw of an autoencoder while it trains."""

import keras
import numpy as np
import pytest
from matplotlib.image import imread

from keras_sep.callbacks import CodebookHistogram, ReconstructionImages
from keras_sep.callbacks.reconstruction_images import draw_pairs
from keras_sep.models import VQVAE2


def pixels(path):
    return np.round(imread(path)[..., :3] * 255).astype(int)


def test_while_training(tmp_path):
    images = np.random.default_rng(0).uniform(-1, 1, (5, 8, 12, 1)).astype("float32")
    sizes = {"embedding_dim": 4, "hidden_dim": 4, "residual_dim": 2, "num_residual_blocks": 1}
    model = VQVAE2(num_embeddings=16, strides=2, channels=1, **sizes)
    model.compile("adam", "mse")
    counts = []
    counter = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: counts.append(
            [np.sum(keras.ops.convert_to_numpy(q.usage.counts)) for q in model.quantizers]
        )
    )
    callbacks = [
        ReconstructionImages(images, tmp_path / "pictures", columns=3),
        CodebookHistogram(tmp_path / "codes.png"),
        counter,
    ]
    model.fit(images, validation_data=(images[:2],), epochs=2, callbacks=callbacks, verbose=0)
    assert counts == [[2 * 6, 2 * 24]] * 2, "those of the validation data"
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == [
        "epoch_0001.png",
        "epoch_0002.png",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes.png", "pictures"]
    picture = pixels(tmp_path / "pictures" / "epoch_0002.png")
    assert picture.shape == (4 * 10, 3 * 14, 3)
    reconstructions = keras.ops.convert_to_numpy(model.reconstruct(images))
    for index in range(5):
        top, left = index // 3 * 20 + 1, index % 3 * 14 + 1
        for shown, values in ((0, images), (10, reconstructions)):
            part = picture[top + shown : top + shown + 8, left : left + 12]
            levels = np.clip(values[index] / 2 + 0.5, 0, 1) * 255
            np.testing.assert_allclose(part, np.broadcast_to(levels, (8, 12, 3)), atol=1)
    assert imread(tmp_path / "codes.png").std() > 0.01


def test_fewer_images_than_columns(tmp_path):
    images = np.zeros((2, 4, 4, 3))
    draw_pairs(images, images, tmp_path / "pairs.png", columns=8)
    assert pixels(tmp_path / "pairs.png").shape == (12, 12, 3)


def test_frequencies_are_drawn_upwards(tmp_path):
    spectrogram = np.array([[1.0, 0.6, 0.2], [-0.2, -0.6, -3.0]])[None, ..., None]
    draw_pairs(spectrogram, spectrogram, tmp_path / "pairs.png", spectrograms=True)
    picture = pixels(tmp_path / "pairs.png")[..., 0]
    levels = (np.array([[0.2, -1.0], [0.6, -0.6], [1.0, -0.2]]) / 2 + 0.5) * 255
    for top in (1, 6):
        np.testing.assert_allclose(picture[top : top + 3, 1:3], levels, atol=1)


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="columns must be at least 1, got 0"):
        ReconstructionImages(np.zeros((2, 4, 4, 1)), tmp_path, columns=0)
    with pytest.raises(ValueError, match=r"1 or 3 channels, got shape \(2, 4, 4, 2\)"):
        ReconstructionImages(np.zeros((2, 4, 4, 2)), tmp_path)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must have quantizers, as VQVAE and VQVAE2 do, got Seq"):
        model.fit(np.ones((1, 1)), np.ones((1, 1)), callbacks=[CodebookHistogram(tmp_path / "p")])
