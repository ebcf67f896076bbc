"""Log-mel spectrograms against librosa, and the YAMNet preset against tf.signal."""

import re

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from numerics import gradients, run

from keras_sep.layers import LogMelSpectrogram
from keras_sep.layers.mel_filters import mel_filters

SMALL = {
    "sample_rate": 800,
    "window_size": 10,
    "hop_size": 4,
    "fft_size": 16,
    "num_mel_bands": 3,
}


def noise(*shape, seed=0):
    return 0.1 * np.random.default_rng(seed).normal(size=shape).astype("float32")


def numpy_of(layer, waveforms):
    return ops.convert_to_numpy(layer(waveforms))


@pytest.mark.parametrize("mel_scale", ["htk", "slaney"])
@pytest.mark.parametrize("mel_norm", ["slaney", None])
@pytest.mark.parametrize("rate", [8000, 22050])
def test_filters_are_librosas(mel_scale, mel_norm, rate):
    filters = mel_filters(rate, 1024, 40, 50.0, rate / 2.5, mel_scale, "hz", mel_norm)
    expected = librosa.filters.mel(
        sr=rate,
        n_fft=1024,
        n_mels=40,
        fmin=50.0,
        fmax=rate / 2.5,
        htk=mel_scale == "htk",
        norm=mel_norm,
    )
    np.testing.assert_allclose(filters, expected.T, atol=1e-6)


@pytest.mark.parametrize(("mel_scale", "power"), [("htk", 2), ("slaney", 1)])
def test_spectrogram_is_librosas(mel_scale, power):
    waveform = noise(8000)
    layer = LogMelSpectrogram(
        window_size=512, hop_size=200, mel_scale=mel_scale, mel_norm="slaney", power=power
    )
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=16000,
        n_fft=512,
        hop_length=200,
        center=False,
        power=power,
        n_mels=64,
        htk=mel_scale == "htk",
    )
    spectrogram = numpy_of(layer, waveform[None])[0]
    np.testing.assert_allclose(spectrogram, np.log(mel + 1e-3).T, atol=1e-3)


def test_yamnet_is_what_yamnet_computes():
    waveform = noise(1, 40000)
    spectrum = tf.abs(tf.signal.stft(waveform, 400, 160, 512))
    filters = tf.signal.linear_to_mel_weight_matrix(64, 257, 16000, 125.0, 7500.0)
    spectrogram = tf.math.log(tf.matmul(spectrum, filters) + 0.001)
    patches = tf.signal.frame(spectrogram, 96, 48, axis=1)
    layer = LogMelSpectrogram.from_preset("yamnet")
    np.testing.assert_allclose(numpy_of(layer, waveform), patches, atol=1e-3)
    assert layer.min_samples == 15600


def test_a_tone_is_loudest_in_its_band():
    time = np.arange(16000) / 16000
    tone = np.sin(2 * np.pi * 1000 * time)[None].astype("float32")
    layer = LogMelSpectrogram(mel_scale="htk")
    centers = librosa.mel_frequencies(66, fmin=0, fmax=8000, htk=True)[1:-1]
    loudest = numpy_of(layer, tone)[0].argmax(axis=-1)
    np.testing.assert_array_equal(loudest, np.abs(centers - 1000).argmin())


@given(st.integers(26, 90), st.integers(1, 5), st.integers(1, 4))
def test_patches_are_frames_and_frames_are_of_their_samples_alone(samples, patch_frames, patch_hop):
    waveform = noise(2, samples, seed=samples)
    layer = LogMelSpectrogram(**SMALL)
    frames = run(layer, waveform)
    assert frames.shape == (2, (samples - 10) // 4 + 1, 3)
    np.testing.assert_allclose(run(layer, waveform[:1, 4:]), frames[:1, 1:], atol=1e-5)
    patches = run(
        LogMelSpectrogram(patch_frames=patch_frames, patch_hop=patch_hop, **SMALL), waveform
    )
    starts = range(0, frames.shape[1] - patch_frames + 1, patch_hop)
    expected = np.stack([frames[:, n : n + patch_frames] for n in starts], axis=1)
    np.testing.assert_allclose(patches, expected, atol=1e-5)


def test_float32_inside_half_precision():
    # float16 knows nothing between 0 and 6e-8.
    waveform = noise(1, 400) * 1e-7
    exact = LogMelSpectrogram(log_offset=1e-9)
    half = LogMelSpectrogram(log_offset=1e-9, dtype="mixed_float16")
    np.testing.assert_allclose(numpy_of(half, waveform), numpy_of(exact, waveform), rtol=1e-3)


def test_silence_has_a_floor_and_finite_gradients():
    layer = LogMelSpectrogram(**SMALL)
    silence = np.zeros((1, 30), "float32")
    np.testing.assert_allclose(numpy_of(layer, silence), np.log(1e-3), rtol=1e-5)
    (gradient,) = gradients(lambda x: ops.sum(layer(x)), silence)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fft_size": 399}, "fft_size must be at least window_size=400, got 399"),
        ({"min_frequency": 9000.0}, "min_frequency and max_frequency must be from 0 to half"),
        ({"mel_scale": "bark"}, "mel_scale must be 'htk' or 'slaney', got 'bark'"),
        ({"power": 3}, "power must be 1 or 2, got 3"),
        ({"log_offset": 0}, "log_offset must be above 0, got 0"),
        ({"patch_frames": 4}, "patch_frames and patch_hop must be given together"),
        ({"hop_size": 0}, "hop_size must be at least 1, got 0"),
        ({"num_mel_bands": 200}, "num_mel_bands=200 leaves bands without a bin"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LogMelSpectrogram(**arguments)


def test_errors_name_the_input():
    with pytest.raises(ValueError, match="inputs must have at least 400 samples, one frame, got 9"):
        LogMelSpectrogram()(np.zeros((1, 9), "float32"))
    layer = LogMelSpectrogram.from_preset("yamnet")
    with pytest.raises(ValueError, match="at least 15600 samples, one patch, got 15599"):
        layer(keras.Input((15599,)))
    with pytest.raises(ValueError, match="preset must be one of yamnet, got 'vggish'"):
        LogMelSpectrogram.from_preset("vggish")
