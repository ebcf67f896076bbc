"""Log-mel spectrograms, what networks that hear are usually given."""

import keras
import numpy as np
from keras import ops

from keras_sep.layers.arguments import check_at_least_one
from keras_sep.layers.mel_filters import MEL_AXES, MEL_SCALES, mel_filters

# Of a squared magnitude: keeps the gradient of its root finite in silence.
_MIN_POWER = 1e-20

PRESETS = {
    "yamnet": {
        "sample_rate": 16000,
        "window_size": 400,
        "hop_size": 160,
        "fft_size": 512,
        "num_mel_bands": 64,
        "min_frequency": 125.0,
        "max_frequency": 7500.0,
        "mel_scale": "htk",
        "mel_axis": "mel",
        "mel_norm": None,
        "power": 1.0,
        "log_offset": 0.001,
        "patch_frames": 96,
        "patch_hop": 48,
    }
}


@keras.saving.register_keras_serializable(package="keras_sep")
class LogMelSpectrogram(keras.layers.Layer):
    """`log(mel bands of the magnitude spectrum + offset)` of a waveform, frame by frame.

    Frames lie wholly inside the waveform, the first at its first sample, under a periodic Hann
    window. Computed in float32 under any dtype policy.

    `keras.layers.MelSpectrogram` pads the waveform by reflection and gives decibels, cut off
    `top_db` below the loudest value of the whole batch, bands before frames, on the HTK scale
    only: there the output of one sound depends on the others beside it and on what comes later.
    Here it depends on the frame alone, so that patches of a long recording are those of its parts;
    the bands are librosa's or TensorFlow's, and may be cut into patches for a network.

    Args:
        sample_rate: In Hz.
        window_size: Samples of a frame.
        hop_size: Samples from one frame to the next.
        fft_size: Of the FFT, at least `window_size`; zeros fill it up.
        num_mel_bands: Bands.
        min_frequency: Lower end of the first band in Hz.
        max_frequency: Upper end of the last band in Hz; None for half of `sample_rate`.
        mel_scale: "htk" or "slaney".
        mel_axis: The axis over which the bands are triangles: "hz", as in librosa and Slaney's
            Auditory Toolbox, or "mel", as in HTK and TensorFlow.
        mel_norm: "slaney" for bands of equal area, None for peaks of 1.
        power: Exponent of the magnitudes: 1, or 2 for powers.
        log_offset: Added before the logarithm.
        patch_frames: Frames of a patch; None for no patches.
        patch_hop: Frames from one patch to the next; None with no patches.

    Input: `(batch, samples)`. Output: `(batch, frames, num_mel_bands)`, or
    `(batch, patches, patch_frames, num_mel_bands)` of the patches that are complete.

    Raises:
        ValueError: An argument is out of range; an input has too few samples for one frame, or
            one patch.

    Source: the bands are those of `librosa.filters.mel` and of
    `tf.signal.linear_to_mel_weight_matrix`; the preset "yamnet" is `params.py` of YAMNet in
    TensorFlow's model garden, after Hershey et al. 2017 (arXiv 1609.09430).
    """

    def __init__(
        self,
        sample_rate: int = 16000,
        window_size: int = 400,
        hop_size: int = 160,
        fft_size: int = 512,
        num_mel_bands: int = 64,
        min_frequency: float = 0.0,
        max_frequency: float | None = None,
        mel_scale: str = "slaney",
        mel_axis: str = "hz",
        mel_norm: str | None = None,
        power: float = 1.0,
        log_offset: float = 1e-3,
        patch_frames: int | None = None,
        patch_hop: int | None = None,
        **kwargs,
    ):
        # A waveform in half precision would have lost what is quiet in it.
        super().__init__(autocast=False, **kwargs)
        check_at_least_one(
            sample_rate=sample_rate,
            window_size=window_size,
            hop_size=hop_size,
            num_mel_bands=num_mel_bands,
            patch_frames=1 if patch_frames is None else patch_frames,
            patch_hop=1 if patch_hop is None else patch_hop,
        )
        if fft_size < window_size:
            raise ValueError(f"fft_size must be at least window_size={window_size}, got {fft_size}")
        top = sample_rate / 2 if max_frequency is None else max_frequency
        if not 0 <= min_frequency < top <= sample_rate / 2:
            raise ValueError(
                "min_frequency and max_frequency must be from 0 to half of "
                f"sample_rate={sample_rate}, the first below the second, got {min_frequency} and "
                f"{max_frequency}"
            )
        for name, value, choices in [
            ("mel_scale", mel_scale, MEL_SCALES),
            ("mel_axis", mel_axis, MEL_AXES),
            ("mel_norm", mel_norm, ("slaney", None)),
            ("power", power, (1, 2)),
        ]:
            if value not in choices:
                raise ValueError(f"{name} must be {choices[0]!r} or {choices[1]!r}, got {value!r}")
        if not log_offset > 0:
            raise ValueError(f"log_offset must be above 0, got {log_offset}")
        if (patch_frames is None) != (patch_hop is None):
            raise ValueError(
                "patch_frames and patch_hop must be given together, got "
                f"{patch_frames} and {patch_hop}"
            )
        self.sample_rate = sample_rate
        self.window_size = window_size
        self.hop_size = hop_size
        self.fft_size = fft_size
        self.num_mel_bands = num_mel_bands
        self.min_frequency = min_frequency
        self.max_frequency = max_frequency
        self.mel_scale = mel_scale
        self.mel_axis = mel_axis
        self.mel_norm = mel_norm
        self.power = power
        self.log_offset = log_offset
        self.patch_frames = patch_frames
        self.patch_hop = patch_hop
        self._window = (
            0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_size) / window_size)
        ).astype("float32")
        self._filters = mel_filters(
            sample_rate,
            fft_size,
            num_mel_bands,
            min_frequency,
            top,
            mel_scale,
            mel_axis,
            mel_norm,
        )

    @classmethod
    def from_preset(cls, preset: str, **arguments) -> "LogMelSpectrogram":
        """A layer with known settings: "yamnet". `arguments` replace some of them.

        Raises:
            ValueError: There is no such preset.
        """
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        return cls(**{**PRESETS[preset], **arguments})

    @property
    def min_samples(self) -> int:
        """Samples of the shortest input: one frame, or one patch."""
        return self.window_size + ((self.patch_frames or 1) - 1) * self.hop_size

    def call(self, inputs):
        self._check_samples(inputs.shape[1])
        frames = _sliding(ops.cast(inputs, "float32"), self.window_size, self.hop_size)
        real, imaginary = ops.rfft(ops.multiply(frames, self._window), self.fft_size)
        spectrum = ops.square(real) + ops.square(imaginary)
        if self.power == 1:
            spectrum = ops.sqrt(ops.maximum(spectrum, _MIN_POWER))
        outputs = ops.log(ops.matmul(spectrum, self._filters) + self.log_offset)
        if self.patch_frames is not None:
            outputs = _sliding(outputs, self.patch_frames, self.patch_hop)
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        batch, samples = input_shape
        self._check_samples(samples)
        frames = None if samples is None else _num_windows(samples, self.window_size, self.hop_size)
        if self.patch_frames is None:
            return (batch, frames, self.num_mel_bands)
        patches = None
        if frames is not None:
            patches = _num_windows(frames, self.patch_frames, self.patch_hop)
        return (batch, patches, self.patch_frames, self.num_mel_bands)

    def _check_samples(self, samples):
        if samples is not None and samples < self.min_samples:
            what = "frame" if self.patch_frames is None else "patch"
            raise ValueError(
                f"inputs must have at least {self.min_samples} samples, one {what}, got {samples}; "
                "append zeros"
            )

    def get_config(self):
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "window_size": self.window_size,
            "hop_size": self.hop_size,
            "fft_size": self.fft_size,
            "num_mel_bands": self.num_mel_bands,
            "min_frequency": self.min_frequency,
            "max_frequency": self.max_frequency,
            "mel_scale": self.mel_scale,
            "mel_axis": self.mel_axis,
            "mel_norm": self.mel_norm,
            "power": self.power,
            "log_offset": self.log_offset,
            "patch_frames": self.patch_frames,
            "patch_hop": self.patch_hop,
        }


def _num_windows(length, size, hop):
    return (length - size) // hop + 1


def _sliding(x, size, hop):
    """Windows along axis 1: `(batch, length, …)` to `(batch, windows, size, …)`."""
    num_windows = _num_windows(ops.shape(x)[1], size, hop)
    per_window = -(-size // hop)
    num_hops = num_windows + per_window - 1
    rest = tuple(x.shape[2:])
    padded = ops.pad(x, ((0, 0), (0, hop), *[(0, 0)] * len(rest)))
    hops = ops.reshape(padded[:, : num_hops * hop], (-1, num_hops, hop, *rest))
    windows = [hops[:, k : k + num_windows] for k in range(per_window)]
    return ops.concatenate(windows, axis=2)[:, :, :size]
