"""Causal Conv-TasNet on a stream by LiteRT, TensorFlow's runtime for small devices."""

import os
import warnings
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sep.layers.backend_forms import on_cpu
from keras_sep.models import ConvTasNet

# A step has few frames to share among cores; more than two have not been tried.
_MOST_THREADS = 2


class LiteStream:
    """`model.step` for one stream on TensorFlow and a CPU, with the weights that it has now.

    LiteRT lays the weights out for its products ahead. A step of the paper's causal configuration,
    20 frames, took 4.6 ms (2 cores, AVX2), under XLA 17. And memory is passed over less often:

    - The frames that the depthwise convolutions look back on lie in rings, one a block, of which a
      step gets those that its taps see. A model's own state is copied whole, several times.
    - The mean over all frames up to each is a product of the new frames' means and the mean so far
      with weights that all cumulative norms share. The mean so far is moved outside, in float64.

    A program for a number of hops is made, in seconds, when that first comes; each keeps two
    copies of the weights, and weights of means that are the number of hops squared. States of
    several streams may take turns, but not from several threads.

    Args:
        model: A built model of which `takes` is true.

    Call arguments:
        mixture: `(1, n·strides)`, whole hops, one or more, float32, a NumPy array.
        state: From `initial_state` or the call before. The call writes to its rings: it is not to
            be used again.

    Returns: sources `(1, num_sources, n·strides)`, float32, a NumPy array, and the state after
        them.

    Raises:
        ValueError: `takes(model)` is false; in a call, `mixture` has another shape.

    Source: the model is that of Luo & Mesgarani 2019 (arXiv 1809.07454), section II.
    """

    def __init__(self, model: ConvTasNet):
        if not self.takes(model):
            raise ValueError(
                "LiteStream takes a causal ConvTasNet in float32 with conv_kernel_size above 1 and "
                "strides below kernel_size, on TensorFlow and a CPU, got "
                f"causal={model.causal}, dtype {model.compute_dtype}, "
                f"conv_kernel_size={model.conv_kernel_size}, kernel_size={model.kernel_size} and "
                f"strides={model.strides} on {keras.backend.backend()}"
            )
        self.model = model
        self._weights = [ops.convert_to_numpy(variable) for variable in model.variables]
        blocks = model.separator.blocks
        self._has_means = model.normalization == "cumulative"
        self._num_norms = 1 + 2 * len(blocks)
        self._reaches = [block.dilation_rate * (block.conv_kernel_size - 1) for block in blocks]
        self._programs = {}

    @staticmethod
    def takes(model: ConvTasNet) -> bool:
        """Whether the model is a causal one in float32, on TensorFlow and a CPU.

        And looks back, in its convolutions and between windows: LiteRT takes no empty tensors.
        """
        if keras.backend.backend() != "tensorflow" or not on_cpu():
            return False
        import tensorflow as tf

        # TensorFlow has announced that it will leave LiteRT to another package.
        has_runtime = hasattr(tf.lite, "Interpreter")
        looks_back = model.conv_kernel_size > 1 and model.strides < model.kernel_size
        of_stream = model.causal and model.compute_dtype == "float32"
        return has_runtime and looks_back and of_stream

    def initial_state(self) -> list:
        """State before the first sample.

        The encoder's; frames heard; the cumulative norms' means and mean squares, float64
        `(norms, 2)`; the rings, `(frames, hidden_dim)`; the decoder's.
        """
        encoder_state, *_, decoder_state = self.model.initial_state(1)
        return [
            ops.convert_to_numpy(encoder_state),
            0,
            np.zeros((self._num_norms, 2)),
            np.zeros((sum(self._reaches), self.model.hidden_dim), "float32"),
            ops.convert_to_numpy(decoder_state),
        ]

    def __call__(self, mixture: np.ndarray, state: list) -> tuple:
        encoder_state, heard, means, rings, decoder_state = state
        strides = self.model.strides
        if np.ndim(mixture) != 2 or len(mixture) != 1 or mixture.size % strides or not mixture.size:
            raise ValueError(
                f"mixture must have shape (1, n·strides), n at least 1, with strides={strides}, "
                f"got {np.shape(mixture)}"
            )
        frames = mixture.shape[1] // strides
        if frames not in self._programs:
            seen, kept = self._ring_rows(frames)
            self._programs[frames] = self._program(frames, len(seen.frame)), seen, kept
        program, seen, kept = self._programs[frames]
        program["mixture"][:] = mixture
        program["encoder_state"][:] = encoder_state
        program["decoder_state"][:] = decoder_state
        # Clipped, as `take` would copy once more to check; the rows are those of the rings.
        np.take(rings, seen.after(heard), axis=0, out=program["past"][0], mode="clip")
        if self._has_means:
            counts = heard + np.arange(1, frames + 1)[:, None]
            program["weights"][:, :-1] = np.tri(frames) / counts
            program["weights"][:, -1:] = heard / counts
            program["means"][:] = means
        program.run()
        rings[kept.after(heard)] = program["hidden"][0]
        heard += frames
        if self._has_means:
            means = means + (program["moments"].sum(1, "float64") - frames * means) / heard
        encoder_state = program["new_encoder_state"].copy()
        decoder_state = program["new_decoder_state"].copy()
        state = [encoder_state, heard, means, rings, decoder_state]
        return program["sources"].copy(), state

    def _ring_rows(self, frames):
        """The rows of the rings that a step of so many frames sees, and those that it writes."""
        seen, kept, first = [], [], 0
        for block, reach in zip(self.model.separator.blocks, self._reaches, strict=True):
            # The taps see so many frames each, or, if those of one touch the next's, all between.
            count = min(block.dilation_rate, frames)
            for delay in range(reach, 0, -block.dilation_rate):
                seen += [(first, reach, frame - delay) for frame in range(count)]
            kept += [(first, reach, frame) for frame in range(max(frames - reach, 0), frames)]
            first += reach
        return _RingRows(*np.transpose(seen)), _RingRows(*np.transpose(kept))

    def _program(self, frames, num_seen):
        """The program of a step of so many frames, which sees so many of those in the rings."""
        import tensorflow as tf

        model = self.model
        encoder_state, *_, decoder_state = model.initial_state(1)
        shapes = {
            "mixture": (1, frames * model.strides),
            "encoder_state": encoder_state.shape,
            "past": (1, num_seen, model.hidden_dim),
            "decoder_state": decoder_state.shape,
        }
        if self._has_means:
            shapes |= {"weights": (frames, frames + 1), "means": (self._num_norms, 2)}

        @tf.function(autograph=False)
        def step(**inputs):
            # As constants: variables take the converter several times as long.
            constants = zip(model.variables, map(tf.constant, self._weights), strict=True)
            with keras.StatelessScope(list(constants)):
                return self._step(**inputs)

        concrete = step.get_concrete_function(
            **{name: tf.TensorSpec(shape, name=name) for name, shape in shapes.items()}
        )
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
        # The latter for activations that LiteRT does not have.
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS,
            tf.lite.OpsSet.SELECT_TF_OPS,
        ]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated")
            interpreter = tf.lite.Interpreter(
                model_content=converter.convert(),
                num_threads=min(_MOST_THREADS, len(os.sched_getaffinity(0))),
            )
        return _Program(interpreter)

    def _step(self, mixture, encoder_state, past, decoder_state, weights=None, means=None):
        """`model.step` with what is not its business given and returned, by name."""
        import tensorflow as tf

        model, tcn = self.model, self.model.separator
        moments, hidden, start = [], [], 0

        def standardized(norm, x):
            """A cumulative norm before its scale and offset."""
            new = [ops.mean(x, -1, keepdims=True), ops.mean(ops.square(x), -1, keepdims=True)]
            moments.append(ops.reshape(ops.concatenate(new, axis=-1), (-1, 2)))
            index = len(moments) - 1
            heard = ops.concatenate([moments[-1], means[index : index + 1]], axis=0)
            running = ops.matmul(weights, heard)
            mean, mean_square = running[:, :1], running[:, 1:]
            variance = ops.maximum(mean_square - ops.square(mean), 0.0)
            return (x - mean) * ops.rsqrt(variance + norm.epsilon)

        def normalized_dense(norm, dense, x):
            if not self._has_means:
                return dense(norm(x))
            # Both constants: scale and offset cost nothing.
            kernel = norm.gamma[:, None] * dense.kernel
            bias = ops.matmul(norm.beta, dense.kernel) + dense.bias
            return ops.matmul(standardized(norm, x), kernel) + bias

        def prelu(layer, x):
            # Of a number it is one operation.
            return ops.leaky_relu(x, tf.get_static_value(layer.alpha.value).item())

        def through(block, x):
            nonlocal start
            conv, frames = block.separable_conv, x.shape[1]
            y = prelu(block.prelu, block.expand(x))
            if self._has_means:
                y = standardized(block.norm, y) * block.norm.gamma + block.norm.beta
            else:
                y = block.norm(y)
            # What `_ring_rows` keeps, and sees.
            hidden.append(y[:, -conv.dilation_rate * (conv.kernel_size - 1) :])
            spacing = min(conv.dilation_rate, frames)
            end = start + spacing * (conv.kernel_size - 1)
            seen = ops.concatenate([past[:, start:end], y], axis=1)
            start = end
            z = ops.depthwise_conv(
                seen, conv.depthwise.kernel, 1, "valid", "channels_last", spacing
            )
            z = prelu(conv.prelu, z + conv.depthwise.bias)
            return block._outputs(x, normalized_dense(conv.norm, conv.pointwise, z))

        features, (encoder_state,) = model.encoder.step(mixture, [encoder_state])
        x = normalized_dense(tcn.norm, tcn.bottleneck, features)
        masks = tcn._head(tcn._through_blocks(x, through))
        sources, (decoder_state,) = model.decoder.step(masks * features[:, None], [decoder_state])
        outputs = {
            "sources": sources,
            "new_encoder_state": encoder_state,
            "new_decoder_state": decoder_state,
            "hidden": ops.concatenate(hidden, axis=1),
        }
        return outputs | {"moments": ops.stack(moments)} if moments else outputs


class _Program:
    """Inputs and outputs of a LiteRT program by name: views, not to be kept while it runs."""

    def __init__(self, interpreter):
        interpreter.allocate_tensors()
        runner = interpreter.get_signature_runner()
        details = runner.get_input_details() | runner.get_output_details()
        self._indices = {name: detail["index"] for name, detail in details.items()}
        self._interpreter = interpreter

    def __getitem__(self, name) -> np.ndarray:
        return self._interpreter.tensor(self._indices[name])()

    def run(self):
        self._interpreter.invoke()


class _RingRows(NamedTuple):
    """Frames of the blocks, counted from the next one on, as rows of the rings.

    Attributes:
        first, length: Of the ring of each.
        frame: Its number; below 0 it was heard.
    """

    first: np.ndarray
    length: np.ndarray
    frame: np.ndarray

    def after(self, heard: int) -> np.ndarray:
        """Their rows, when so many frames have been heard."""
        return self.first + (heard + self.frame) % self.length
