"""The learned analysis filterbank of Conv-TasNet."""

import keras
from keras import ops

from keras_sep.layers import backend_forms
from keras_sep.layers.arguments import check_at_least_one


@keras.saving.register_keras_serializable(package="keras_sep")
class WaveformEncoder(keras.layers.Layer):
    """Conv1D without bias from a waveform to features, as one matrix product over hops.

    Args:
        filters: Number of filters (N).
        kernel_size: Filter length in samples (L).
        strides: Hop in samples, at most `kernel_size`.
        activation: Keras activation of the features, or None.
        padding: "same" puts `kernel_size - strides` zeros at both ends, and as many more at the
            end as complete the last hop, so that every sample lies in equally many frames and
            any length from 1 sample works. "valid" takes only the frames that lie wholly inside,
            at least one; shorter inputs are an error.

    Input: `(batch, samples)`. Output: `(batch, frames, filters)`. The kernel has the layout of
    `keras.layers.Conv1D`: `(kernel_size, 1, filters)`.

    Source: Luo & Mesgarani 2019 (arXiv 1809.07454), section II-A, equation 4.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int,
        activation=None,
        padding: str = "same",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_framing(kernel_size, strides, padding)
        check_at_least_one(filters=filters)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.activation = keras.activations.get(activation)
        self.padding = padding

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, 1, self.filters),
            initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
        )

    def call(self, inputs):
        before = self.kernel_size - self.strides if self.padding == "same" else 0
        # More zeros than the last frame can need, cut to whole hops: the amount stays static.
        padded = ops.pad(inputs, ((0, 0), (before, self.kernel_size + self.strides)))
        return self._encode(padded, self.num_frames(ops.shape(inputs)[1]))

    def initial_state(self, batch_size):
        """State before the first sample: what "same" padding puts before it, zeros."""
        return [ops.zeros((batch_size, self.kernel_size - self.strides), self.compute_dtype)]

    def step(self, inputs, state):
        """Encodes the next samples of a stream, a whole number of hops, one or more.

        Returns as many frames as hops and the state after them. The frames are those of "same"
        padding.
        """
        samples = ops.shape(inputs)[1]
        x = ops.concatenate([state[0], ops.cast(inputs, self.compute_dtype)], axis=1)
        # The last frame may end within a hop.
        padded = ops.pad(x, ((0, 0), (0, self.strides)))
        return self._encode(padded, samples // self.strides), [x[:, samples:]]

    def _encode(self, waveform, frames):
        """The first frames of a waveform that is at least as many hops long as they reach."""
        hops_per_frame = -(-self.kernel_size // self.strides)
        num_hops = frames + hops_per_frame - 1
        hops = ops.reshape(waveform[:, : num_hops * self.strides], (-1, num_hops, self.strides))
        framed = ops.concatenate([hops[:, k : k + frames] for k in range(hops_per_frame)], axis=-1)
        return self.activation(
            backend_forms.product(framed, pad_to_hops(self.kernel[:, 0], self.strides))
        )

    def num_frames(self, num_samples):
        """Frames of an input of `num_samples` (an int or an integer tensor)."""
        if self.padding == "valid":
            if isinstance(num_samples, int) and num_samples < self.kernel_size:
                raise ValueError(
                    f"inputs must have at least kernel_size={self.kernel_size} samples with "
                    f'padding="valid", got {num_samples}'
                )
            return (num_samples - self.kernel_size) // self.strides + 1
        return (num_samples + self.kernel_size - 1) // self.strides

    def compute_output_shape(self, input_shape):
        batch, samples = input_shape
        return (batch, None if samples is None else self.num_frames(samples), self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "activation": keras.activations.serialize(self.activation),
            "padding": self.padding,
        }


def check_framing(kernel_size: int, strides: int, padding: str) -> None:
    """Raises ValueError unless frames of `kernel_size` every `strides` samples cover the input."""
    check_at_least_one(kernel_size=kernel_size)
    if not 1 <= strides <= kernel_size:
        raise ValueError(
            f"strides must be between 1 and kernel_size={kernel_size} so that no sample is "
            f"skipped, got {strides}"
        )
    if padding not in ("same", "valid"):
        raise ValueError(f'padding must be "same" or "valid", got {padding!r}')


def pad_to_hops(filters, strides: int):
    """Zeros after filters `(kernel_size, N)`, so that they are a whole number of hops long."""
    missing = -filters.shape[0] % strides
    return ops.pad(filters, ((0, missing), (0, 0))) if missing else filters
