"""Spectral loss at several resolutions."""

import keras
from keras import ops

from keras_sep.losses.sources import check_lengths

MIN_POWER = 1e-7  # Of a bin, as in the implementations of the field.
MIN_NORM = 1e-20  # Of a squared norm: keeps the gradient of its root finite.


@keras.saving.register_keras_serializable(package="keras_sep")
class MultiScaleSpectral(keras.losses.Loss):
    """Differences of magnitude spectrograms at several resolutions.

    The mean over resolutions of the spectral convergence `‖|Y| − |Ŷ|‖ / ‖|Y|‖` (Frobenius norms)
    plus the mean absolute difference of `log|Y|` and `log|Ŷ|`. Each waveform is compared by
    itself. Often added to a loss of waveforms.

    Of the common multi-scale losses this is the one that enhancement and vocoders use most
    (Parallel WaveGAN, denoiser), with the default resolutions; the other, of DDSP, compares
    magnitudes without the norm. Magnitudes are at least `10^-3.5`: waveforms are expected between
    about -1 and 1, and for a silent reference the spectral convergence is large, though finite.

    Args:
        fft_sizes: Length of the FFT in samples, for each resolution.
        hop_sizes: Distance of frames in samples, for each resolution.
        win_lengths: Length of the Hann window in samples, for each resolution.

    Call arguments: reference and estimate `(batch, …, samples)`, more samples than half the largest
    FFT, whose shapes may broadcast. Before reduction the loss has the shape `(batch, …)`. Computed
    in float32.

    Raises:
        ValueError: Not as many hop sizes or window lengths as FFT sizes, or none; a size below 1;
            a window longer than its FFT. In a call, lengths that differ, or too few samples.

    Source: Yamamoto et al. 2020, "Parallel WaveGAN" (arXiv 1910.11480); as a loss of
    enhancement Défossez et al. 2020 (arXiv 2006.12847).
    """

    def __init__(
        self,
        fft_sizes: tuple[int, ...] = (512, 1024, 2048),
        hop_sizes: tuple[int, ...] = (50, 120, 240),
        win_lengths: tuple[int, ...] = (240, 600, 1200),
        name: str = "multi_scale_spectral",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        _check_sizes(fft_sizes, hop_sizes, win_lengths)
        self.fft_sizes = list(fft_sizes)
        self.hop_sizes = list(hop_sizes)
        self.win_lengths = list(win_lengths)

    def call(self, y_true, y_pred):
        check_lengths(y_true, y_pred)
        samples = y_true.shape[-1]
        if samples is not None and samples <= max(self.fft_sizes) // 2:
            raise ValueError(
                f"more samples than half of fft_sizes are needed, got {samples} samples for an "
                f"FFT of {max(self.fft_sizes)}"
            )
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        resolutions = zip(self.fft_sizes, self.hop_sizes, self.win_lengths, strict=True)
        losses = [spectral_loss(y_true, y_pred, *resolution) for resolution in resolutions]
        return sum(losses) / len(losses)

    def get_config(self):
        sizes = {name: getattr(self, name) for name in ("fft_sizes", "hop_sizes", "win_lengths")}
        return {**super().get_config(), **sizes}


def spectral_loss(references, estimates, fft_size, hop_size, win_length):
    """Spectral convergence plus log-magnitude difference at one resolution: `(batch, …)`."""
    references, estimates = (
        magnitudes(waveforms, fft_size, hop_size, win_length)
        for waveforms in (references, estimates)
    )
    convergence = _norm(references - estimates) / _norm(references)
    return convergence + ops.mean(ops.abs(ops.log(references) - ops.log(estimates)), axis=(-2, -1))


def magnitudes(waveforms, fft_size, hop_size, win_length):
    """Of the STFT: `(batch, …, samples)` to `(batch, …, frames, bins)`."""
    real, imaginary = ops.stft(waveforms, win_length, hop_size, fft_size)
    return ops.sqrt(ops.maximum(ops.square(real) + ops.square(imaginary), MIN_POWER))


def _norm(spectrograms):
    return ops.sqrt(ops.maximum(ops.sum(ops.square(spectrograms), axis=(-2, -1)), MIN_NORM))


def _check_sizes(fft_sizes, hop_sizes, win_lengths):
    sizes = {"fft_sizes": fft_sizes, "hop_sizes": hop_sizes, "win_lengths": win_lengths}
    for name, values in sizes.items():
        if len(values) == 0 or len(values) != len(fft_sizes):
            raise ValueError(f"{name} must have {len(fft_sizes) or 'some'} sizes, got {values}")
        if min(values) < 1:
            raise ValueError(f"{name} must be at least 1, got {values}")
    if any(win > fft for win, fft in zip(win_lengths, fft_sizes, strict=True)):
        raise ValueError(
            f"win_lengths must be at most fft_sizes, got {win_lengths} for {fft_sizes}"
        )
