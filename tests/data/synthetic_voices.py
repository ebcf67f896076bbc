"""Recordings of voices that are noise or tones, and short mixtures of them."""

import numpy as np
import soundfile

from keras_sep.data import SpeechMixtures

RATE = 8000


def noise(seconds, seed, rate=RATE):
    waveform = 0.1 * np.random.default_rng(seed).normal(size=int(seconds * rate))
    return waveform.astype("float32")


def tone(seconds, frequency, rate=RATE):
    return 0.1 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def write(path, waveform, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform, rate)
    return path


def mixtures(folder, **arguments):
    defaults = {"segment_seconds": 0.5, "batch_size": 3, "num_batches": 4}
    return SpeechMixtures(folder, **(defaults | arguments))


def decibels(ratio):
    return 20 * np.log10(ratio)
