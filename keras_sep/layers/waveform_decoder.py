"""The learned synthesis filterbank of Conv-TasNet."""

import keras
from keras import ops

from keras_sep.layers.waveform_encoder import check_framing, pad_to_hops


@keras.saving.register_keras_serializable(package="keras_sep")
class WaveformDecoder(keras.layers.Layer):
    """Conv1DTranspose to one channel without bias, as a matrix product and overlap-add.

    Args:
        kernel_size: Filter length in samples (L).
        strides: Hop in samples, at most `kernel_size`.
        padding: "same" cuts `kernel_size - strides` samples off both ends, the zeros that
            `WaveformEncoder` added; "valid" cuts nothing.

    Call arguments:
        inputs: `(batch, …, frames, filters)`, any number of axes between.
        length: Samples of the waveform that was encoded, an int or an integer tensor: the output
            is cut, or with "valid" filled with zeros, at its end. By default all there are.

    Output: `(batch, …, samples)`. The kernel has the layout of `keras.layers.Conv1DTranspose`:
    `(kernel_size, 1, filters)`.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), section II-A, equation 5.
    """

    def __init__(self, kernel_size: int, strides: int, padding: str = "same", **kwargs):
        super().__init__(**kwargs)
        check_framing(kernel_size, strides, padding)
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, 1, input_shape[-1]),
            initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
        )

    def call(self, inputs, length=None):
        *lead, frames, _ = ops.shape(inputs)
        samples = (frames - 1) * self.strides + self.kernel_size
        waveform = self._overlap_add(inputs)
        if self.padding == "same":
            cut = self.kernel_size - self.strides
            return waveform[..., cut : samples - cut][..., :length]
        if length is None:
            return waveform[..., :samples]
        # The frames of a "valid" encoder may leave out less than a hop at the end.
        fill = [(0, 0)] * len(lead) + [(0, self.strides)]
        return ops.pad(waveform[..., :samples], fill)[..., :length]

    def initial_state(self, batch_shape):
        """State before the first frame: what earlier frames add to its samples, zeros.

        Args:
            batch_shape: The axes of the inputs before frames and filters, `(batch, …)`.
        """
        overlap = (-(-self.kernel_size // self.strides) - 1) * self.strides
        return [ops.zeros((*batch_shape, overlap), self.compute_dtype)]

    def step(self, inputs, state):
        """Decodes the next frames of a stream, one or more.

        Returns as many hops of samples as frames, and the state after them. The samples are
        those of "valid" padding.
        """
        waveform = self._overlap_add(ops.cast(inputs, self.compute_dtype))
        finished = ops.shape(inputs)[-2] * self.strides
        overlap = ops.shape(state[0])[-1]
        waveform = ops.concatenate(
            [waveform[..., :overlap] + state[0], waveform[..., overlap:]], axis=-1
        )
        return waveform[..., :finished], [waveform[..., finished:]]

    def _overlap_add(self, inputs):
        """All hops that the frames reach, `(batch, …, (frames + hops_per_frame - 1)·strides)`."""
        *lead, frames, filters = ops.shape(inputs)
        kernel = pad_to_hops(self.kernel[:, 0], self.strides)
        pieces = ops.matmul(ops.reshape(inputs, (-1, frames, filters)), ops.transpose(kernel))
        hops_per_frame = -(-self.kernel_size // self.strides)
        hops = sum(
            ops.pad(
                pieces[:, :, k * self.strides : (k + 1) * self.strides],
                ((0, 0), (k, hops_per_frame - 1 - k), (0, 0)),
            )
            for k in range(hops_per_frame)
        )
        return ops.reshape(hops, (*lead, (frames + hops_per_frame - 1) * self.strides))

    def compute_output_shape(self, input_shape, length=None):
        *lead, frames, _ = input_shape
        if frames is None:
            return (*lead, None)
        samples = (frames - 1) * self.strides + self.kernel_size
        if self.padding == "same":
            samples -= 2 * (self.kernel_size - self.strides)
        elif length is not None:
            samples += self.strides
        return (*lead, samples if length is None else min(samples, length))

    def compute_output_spec(self, inputs, length=None):
        shape = self.compute_output_shape(inputs.shape, length)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
        }
