"""All losses in `fit`: they train a small Conv-TasNet, in half precision too, and are saved."""

import keras
import numpy as np
import pytest

from keras_sep.losses import (
    SISNR,
    FixedOrder,
    MixtureInvariant,
    MultiScaleSpectral,
    PermutationInvariant,
    ThresholdSNR,
)
from keras_sep.metrics import SISNRImprovement
from keras_sep.models import ConvTasNet

LOSSES = {
    "si_snr": lambda: FixedOrder(SISNR()),
    "threshold_snr": lambda: PermutationInvariant(ThresholdSNR()),
    "spectral": lambda: PermutationInvariant(MultiScaleSpectral([32], [8], [24])),
    "mixtures": MixtureInvariant,
}


def tiny(num_sources):
    return ConvTasNet(
        num_sources=num_sources,
        filters=16,
        kernel_size=8,
        bottleneck_dim=8,
        hidden_dim=8,
        skip_dim=8,
        num_blocks=1,
        num_repeats=1,
    )


def tones(num_sources, batch=4, samples=128):
    """Sources of different pitch."""
    rng = np.random.default_rng(0)
    pitch = 0.1 * 2.0 ** np.arange(num_sources)[:, None] * rng.uniform(0.9, 1.1, (batch, 1, 1))
    phase = rng.uniform(0, 6, (batch, num_sources, 1))
    return np.sin(pitch * np.arange(samples) + phase).astype("float32")


def fit(model, loss, sources, epochs, **arguments):
    model.compile(keras.optimizers.Adam(1e-2, clipnorm=5.0), loss, **arguments)
    mixture = sources.sum(1)
    return model.fit(mixture, sources, batch_size=2, epochs=epochs, verbose=0, shuffle=False)


def test_silent_references():
    """Of three references one or two are silent, of one example all."""
    sources = tones(3)
    sources[0, 0] = sources[1, 1:] = sources[2] = 0
    model = tiny(3)
    criterion = PermutationInvariant(ThresholdSNR())
    history = fit(model, criterion, sources, 6, metrics=[SISNRImprovement()]).history
    assert np.all(np.isfinite(history["loss"]))
    assert history["loss"][-1] < history["loss"][0] - 1
    assert history["si_snr_improvement"][-1] > history["si_snr_improvement"][0]
    assert all(np.all(np.isfinite(weight)) for weight in model.get_weights())


def test_four_outputs_for_two_mixtures():
    sources = tones(4)
    mixtures = np.stack([sources[:, :2].sum(1), sources[:, 2:].sum(1)], axis=1)
    history = fit(tiny(4), MixtureInvariant(), mixtures, 6).history
    assert np.all(np.isfinite(history["loss"]))
    assert history["loss"][-1] < history["loss"][0] - 1


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_and_files(name, tmp_path):
    sources = tones(2)
    model = keras.Sequential(
        [keras.Input((2, 128)), keras.layers.Dense(128, dtype="mixed_float16")]
    )
    model.compile(keras.optimizers.Adam(1e-2), LOSSES[name]())
    history = model.fit(sources, sources, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.loss) is type(model.loss)
    assert again.loss.get_config() == model.loss.get_config()
