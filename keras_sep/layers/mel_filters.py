"""Triangular filters on the mel scale, in NumPy: they are constants of a layer."""

import numpy as np

MEL_SCALES = ("htk", "slaney")
MEL_AXES = ("hz", "mel")

# Slaney's scale: straight up to 1 kHz, 200/3 Hz a mel, and logarithmic above, 27 mels for 6.4.
_HZ_A_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_A_MEL
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: np.ndarray, scale: str) -> np.ndarray:
    """Frequencies in mel on the "htk" or "slaney" scale."""
    hz = np.asarray(hz, "float64")
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _HZ_A_MEL, above)


def mel_to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    mel = np.asarray(mel, "float64")
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(mel - _BREAK_MEL, 0.0))
    return np.where(mel < _BREAK_MEL, mel * _HZ_A_MEL, above)


def mel_filters(
    sample_rate: int,
    fft_size: int,
    num_mel_bands: int,
    min_frequency: float,
    max_frequency: float,
    mel_scale: str,
    mel_axis: str,
    mel_norm: str | None,
) -> np.ndarray:
    """Weights of the bins of an FFT in each band, float32 `(fft_size // 2 + 1, num_mel_bands)`.

    The arguments are those of `LogMelSpectrogram`.

    Raises:
        ValueError: A band lies between two bins and would always be empty.
    """
    ends = hz_to_mel([min_frequency, max_frequency], mel_scale)
    edges = np.linspace(*ends, num_mel_bands + 2)
    edges_hz = mel_to_hz(edges, mel_scale)
    bins = np.linspace(0.0, sample_rate / 2, fft_size // 2 + 1)
    if mel_axis == "mel":
        bins = hz_to_mel(bins, mel_scale)
    else:
        edges = edges_hz
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - low) / (center - low)
    falling = (high - bins[:, None]) / (high - center)
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if not filters.any(axis=0).all():
        empty = np.flatnonzero(~filters.any(axis=0))
        raise ValueError(
            f"num_mel_bands={num_mel_bands} leaves bands without a bin of the FFT, the first at "
            f"{edges_hz[empty[0] + 1]:.0f} Hz; take fewer, or a larger fft_size than {fft_size}"
        )
    if mel_norm == "slaney":
        filters *= 2.0 / (edges_hz[2:] - edges_hz[:-2])
    return filters.astype("float32")
