"""Operations in the form that is fastest on the running backend, and sums over its replicas.

With `backend_programs` the modules of the layers that look at the backend; those with "torch" in
their names are for PyTorch alone.
"""

import keras
from keras import ops

from keras_sep.layers import convolution_forms, frame_sums
from keras_sep.layers.backend_programs import on_cpu
from keras_sep.layers.depthwise_forms import fused, fused_2d, native, shifted_2d
from keras_sep.layers.padding import check_fits, named_padding, pad


def fastest(inputs, kernel, strides: int = 1, dilation: int = 1, padding: str = "valid"):
    """Depthwise convolution of frames.

    Measured on 2 cores (AVX2) with other programs beside, 3,999 frames of 512 channels, kernels of
    3 to 7, dilations 1 and 64, and stride 2; ms forward, and of the gradients by both arguments
    before `fused` and the gradient of PyTorch's (`tests/benchmarks/depthwise_conv.py`):

                            Keras's own         shifted             native              side by side
        TensorFlow, graph   3-7, 7-24           6-94, 64-184        3-7, 6-18
        TensorFlow, XLA     76-169, 276-533     2-5, 6-61           77-202, 294-517
        JAX, stride 1       110-241, 260-496    1-6, 62-183         128-190, 320-479
        PyTorch             7-15, 19-66         2-16, 20-85         7-12, 15-65         2-8, 11-80

    Gradients of 3 taps by JAX with `fused` take 11 ms of processor time, with `shifted` 52.
    With frames side by side PyTorch's took twice the time that `columns` takes.

    Whole layers, by how many times faster than Keras's, on 2 other cores, with AVX-512 (kernels 3,
    5 and 7 with dilations 1 to 128, and stride 2; without padding and with "same"; least and
    median): JAX forward 35, 65, gradients 16, 46; TensorFlow XLA 19, 39 and 17, 35; TensorFlow's
    graph, where the operation is Keras's own, 0.91, 1.0 and 0.81, 1.0; PyTorch 4.7, 6.5 and 1.4,
    2.7.

    On an H100, kernels of 3 and 7, dilations 1 and 128, and stride 2, ms alike:

                            Keras's own         fused               native              side by side
        JAX                 0.2-0.3, 0.3-1.4    0.1, 0.1-0.3        0.2, 0.3-1.3
        PyTorch             0.2-0.4, 0.7-1.1                        0.2-0.3, 0.6-1  0.2-0.4, 0.8-1.6

    Args:
        inputs: `(batch, frames, channels)`.
        kernel: `(taps, channels)`.
        strides: Frames from one output to the next.
        dilation: Frames from one tap to the next.
        padding: "valid", "same" or "causal", see `keras_sep.layers.padding`.

    Returns: `(batch, new_frames, channels)`.

    Raises:
        ValueError: The kernel reaches beyond the frames.
    """
    check_fits(inputs.shape[1:-1], kernel.shape[0], strides, dilation, padding)
    backend = keras.backend.backend()
    if backend == "jax" or compiler_fuses():
        padded = pad(inputs, kernel.shape[0], strides, dilation, padding)
        return fused(padded, kernel, strides, dilation)
    if backend == "torch" and on_cpu():
        from keras_sep.layers.convolutions_torch import columns

        return columns(inputs, kernel, strides, dilation, padding)
    return native(inputs, kernel, strides, dilation, padding)


def fastest_2d(inputs, kernel, strides: int = 1, dilation: int = 1, padding: str = "valid"):
    """Depthwise convolution of images.

    Measured on 2 cores (AVX2) with kernels of 3. JAX, MobileNet V1 at 224² in batches of 8, the
    form alone changed: inference 0.83 s native, 0.12 s shifted, training step 5.7 s and 1.4 s.

    On 2 other cores, with AVX-512, training steps of V1 and of V3 large on 8 pictures of 224²,
    before and after the gradient by the kernel was a loop over the taps: TensorFlow XLA 1.5 and
    0.55 to 0.82 s, 0.92 and 0.40; JAX 0.62 to 0.72 and 0.45 to 0.67 s, 0.68 and 0.59.

    Whole layers there, by how many times faster than Keras's (8 maps of 56×56×128, kernels of 3, 5
    and 7 with the dilations with which they fit, and stride 2; without padding and with "same";
    least and median): JAX forward 5.8, 22, gradients 6.4, 14; TensorFlow XLA 2.0, 33 and 10, 20.
    TensorFlow's graph has Keras's own operation. PyTorch, on 2 cores with AVX512-BF16: forward 1.6,
    2.6, gradients 0.97, 1.5, up to 5.6 with dilation.

    JAX's gradients of 3×3 taps without padding are those of `shifted_2d` for wide dilations and for
    strides: with taps 16 apart 4 to 9 ms, with `fused_2d` 6 to 21; with strides of 2 5 and 6 to 9.

    On an H100, 8 maps of 56×56×128, kernels of 3 and 7, ms forward and of the gradients:

                            native              shifted
        JAX                 0.1-0.2, 0.2-1.1    0.1-0.3, 0.2-0.7
        PyTorch             0.3-0.5, 0.6-1.4    0.6-1.8, 2-10

    There, in another run and without dilation, PyTorch's native takes 0.15-0.18, 0.7-1.8 ms through
    Keras, which copies the inputs twice, and 0.08-0.12, 0.5-1.7 without.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(taps, taps, channels)`.
        strides: Pixels from one output to the next.
        dilation: Pixels from one tap to the next.
        padding: "valid", "same", "torch" or "keras", see `keras_sep.layers.padding`.

    Returns: `(batch, new_height, new_width, channels)`.

    Raises:
        ValueError: The kernel reaches beyond the images.
    """
    check_fits(inputs.shape[1:-1], kernel.shape[0], strides, dilation, padding)
    if keras.backend.backend() == "torch":
        from keras_sep.layers.convolutions_torch import images

        return images(inputs, kernel, strides, dilation, padding)
    is_sparse = kernel.shape[0] == 3 and padding == "valid" and (strides > 1 or dilation >= 16)
    if not compiler_fuses():
        form = native
    elif keras.backend.backend() == "jax" and is_sparse:
        form = shifted_2d
    else:
        form = fused_2d
    return form(inputs, kernel, strides, dilation, padding)


def convolution_2d(inputs, kernel, strides: int = 1, dilation: int = 1, padding: str = "valid"):
    """Convolution of images.

    On 2 cores with AVX-512 PyTorch's takes 5 to 11 ms for 32 images of 32×32×64, 64 filters of 3×3,
    or of 4×4 with strides of 2, forward and 17 to 37 with gradients; through Keras, which copies
    the inputs twice, 9 to 15 and 33 to 44. On an H100 64 images of 56×56×128, 128 filters of 3×3,
    1.6 and 4.0 ms; through Keras 2.1 and 4.3.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(taps, taps, channels / groups, filters)`.
        strides: Pixels from one output to the next.
        dilation: Pixels from one tap to the next.
        padding: "valid", "same", "torch" or "keras", see `keras_sep.layers.padding`.

    Returns: `(batch, new_height, new_width, filters)`.
    """
    if keras.backend.backend() == "torch":
        from keras_sep.layers import convolutions_torch

        kernel = ops.convert_to_tensor(kernel)
        return convolutions_torch.convolution_2d(inputs, kernel, strides, dilation, padding)
    arguments = (kernel.shape[0], strides, dilation, padding)
    padding = named_padding(*arguments)
    if padding not in ("same", "valid"):
        inputs, padding = pad(inputs, *arguments), "valid"
    return ops.conv(inputs, kernel, strides, padding, "channels_last", dilation)


def halving_conv(inputs, kernel):
    """4×4 convolution of stride 2 with "same" padding.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(4, 4, channels, filters)`.

    Returns: `(batch, ceil(height / 2), ceil(width / 2), filters)`.
    """
    is_even = all(isinstance(size, int) and size % 2 == 0 for size in inputs.shape[1:3])
    if is_even and compiler_fuses():
        return convolution_forms.halving(inputs, kernel)
    return convolution_2d(inputs, kernel, 2, padding="same")


def doubling_conv(inputs, kernel):
    """Transposed 4×4 convolution of stride 2 with "same" padding.

    Measured on 2 cores (AVX2), value and gradients, 32 times 16×16 pixels, 64 channels to 32: JAX
    210 ms native, 32 ms by smaller convolutions, 19 ms by products; TensorFlow with XLA 21, 19, 20.
    On 2 cores with AVX-512 PyTorch's takes 9 ms, and through Keras, which copies the inputs, 20.

    Args:
        inputs: `(batch, height, width, channels)`.
        kernel: `(4, 4, filters, channels)`.

    Returns: `(batch, 2 · height, 2 · width, filters)`.
    """
    if keras.backend.backend() == "torch":
        from keras_sep.layers import convolutions_torch

        return convolutions_torch.doubling_conv(inputs, ops.convert_to_tensor(kernel))
    if not compiler_fuses():
        return ops.conv_transpose(inputs, kernel, 2, "same", data_format="channels_last")
    is_jax = keras.backend.backend() == "jax"
    convolve = convolution_forms.product if is_jax else convolution_forms.native
    return convolution_forms.doubling(inputs, kernel, convolve)


def product(inputs, kernel):
    """Matrix product over the last axis, `(..., channels)` by `(channels, filters)`.

    JAX's gradient by the kernel writes a transposed copy of inputs with several other axes: of the
    790 ms of processor time of a training step 70 (Conv-TasNet with 128 filters, 2 times 4 s).

    Nor does XLA on a CPU multiply bfloat16 well, unless the outputs are float32: on 2 cores that
    have AVX512-BF16, the products of 4 s by Conv-TasNet's best configuration took 0.28 s and 0.13
    to 0.19 so, and a training step of the small one 0.24 to 0.35 and 0.22 to 0.23.
    """
    if keras.backend.backend() != "jax":
        return ops.matmul(inputs, kernel)
    *lead, channels = inputs.shape
    outputs = _jax_product(ops.reshape(inputs, (-1, channels)), ops.convert_to_tensor(kernel))
    return ops.reshape(outputs, (*lead, kernel.shape[1]))


def _jax_product(inputs, kernel):
    if not inputs.dtype == kernel.dtype == "bfloat16" or not on_cpu():
        return ops.matmul(inputs, kernel)
    import jax

    outputs = jax.numpy.matmul(inputs, kernel, preferred_element_type="float32")
    return outputs.astype("bfloat16")


def biased(inputs, bias):
    """`(batch, frames, channels)` plus `(channels,)`."""
    if not compiler_fuses():
        return inputs + bias
    return frame_sums.biased(inputs, ops.convert_to_tensor(bias))


def affine(inputs, scale, shift):
    """inputs · scale + shift, float32.

    Args:
        inputs: `(batch, frames, channels)`.
        scale: `(batch, 1, channels)`, or of one channel.
        shift: `(batch, 1, channels)`.
    """
    if not compiler_fuses():
        return inputs * scale + shift
    return frame_sums.affine(inputs, ops.broadcast_to(scale, ops.shape(shift)), shift)


def prelu(inputs, slope):
    """max(0, x) + slope · min(0, x), for a slope of one value."""
    if keras.backend.backend() == "torch":
        from torch.nn import functional

        return functional.prelu(inputs, ops.reshape(slope, (1,)))
    if compiler_fuses() and len(inputs.shape) == 3:
        return frame_sums.prelu(inputs, ops.convert_to_tensor(slope))
    # The fewest operations, for runtimes that do not fuse them.
    return inputs + (slope - 1) * ops.minimum(inputs, 0)


def moments(inputs):
    """Mean and mean square of each example over frames and channels, float32.

    Args:
        inputs: float32 `(batch, frames, channels)`.

    Returns: two tensors `(batch, 1, 1)`.
    """
    if compiler_fuses():
        return ops.split(frame_sums.moments(inputs), 2, axis=-1)
    if not on_cpu():
        # Frames first, channels after: one pass for both, in sums that vectorize.
        mean, mean_square = (
            ops.mean(ops.mean(x, axis=1, keepdims=True), axis=2, keepdims=True)
            for x in (inputs, ops.square(inputs))
        )
        return mean, mean_square
    mean = ops.mean(inputs, (1, 2), keepdims=True)
    if keras.backend.backend() == "torch":
        return mean, ops.mean(ops.square(inputs), (1, 2), keepdims=True)
    # Frame by frame no squares are written to memory, and the gradient is one pass. One product
    # over all frames would add millions of squares one by one: 0.4 % too few of 4 s.
    squares = ops.einsum("btc,btc->bt", inputs, inputs) / inputs.shape[-1]
    return mean, ops.mean(squares, 1, keepdims=True)[:, :, None]


def training_forms():
    """The module of `normalized_depthwise` and `normalized_product`, which train a block faster.

    PyTorch has them on NVIDIA's GPUs too, where they take less memory. None where there is none, in
    TensorFlow's graph and under `torch.compile`, or where it was not measured, on other devices.
    """
    if keras.backend.backend() == "torch":
        import torch

        from keras_sep.layers import global_norm_torch

        is_measured = on_cpu() or torch.cuda.is_available()
        return global_norm_torch if is_measured and not torch.compiler.is_compiling() else None
    if compiler_fuses():
        from keras_sep.layers import global_norm_forms

        return global_norm_forms
    return None


def compiler_fuses() -> bool:
    """XLA on a CPU fuses shifted products and has a slow depthwise convolution; others do not."""
    backend = keras.backend.backend()
    compiles = backend == "jax" or (backend == "tensorflow" and _traced_for_xla())
    return compiles and on_cpu()


def _traced_for_xla() -> bool:
    """Whether TensorFlow is tracing a function that it will compile with XLA."""
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    graph = tf.compat.v1.get_default_graph()
    return control_flow_util.GraphOrParentsInXlaContext(graph)


def sum_over_replicas(values):
    """Sum of the values that the replicas of a `tf.distribute` strategy have.

    The values themselves elsewhere: under a Keras distribution, JAX computes them from the whole
    batch.
    """
    context = _replica_context()
    return values if context is None else context.all_reduce("SUM", values)


def mean_over_replicas(loss):
    """A loss for `add_loss`, whose list the replicas of `tf.distribute.MirroredStrategy` share.

    The mean over the replicas in the first of them and 0 in the others, each with its own gradient,
    so that every replica finds the mean in the list, however many have added theirs by then. The
    loss itself elsewhere.
    """
    context = _replica_context()
    if context is None:
        return loss
    mean = context.all_reduce("MEAN", ops.stop_gradient(loss))
    first = ops.cast(context.replica_id_in_sync_group == 0, loss.dtype)
    return first * mean + loss - ops.stop_gradient(loss)


def _replica_context():
    """That of the replica of a `tf.distribute` strategy which runs, if there are several."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    several = context is not None and context.num_replicas_in_sync > 1
    return context if several else None
