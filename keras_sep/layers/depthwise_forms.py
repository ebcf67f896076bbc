"""Depthwise convolution in the form that is fastest on the running backend, and sums over replicas.

The one module of the layers that looks at the backend. Both forms compute

    output[b, t, c] = sum over k of kernel[k, c] · inputs[b, strides·t + dilation·k, c]
"""

import keras
from keras import ops


def shifted(inputs, kernel, strides: int, dilation: int):
    """Sum of shifted multiply-adds, one per tap, that a compiler fuses into one pass."""
    taps = kernel.shape[0]
    frames = (ops.shape(inputs)[1] - dilation * (taps - 1) - 1) // strides + 1
    span = strides * (frames - 1) + 1
    return sum(
        inputs[:, k * dilation : k * dilation + span : strides] * kernel[k] for k in range(taps)
    )


def native(inputs, kernel, strides: int, dilation: int):
    """The backend's own depthwise convolution."""
    return ops.depthwise_conv(
        inputs, kernel[..., None], strides, "valid", "channels_last", dilation
    )


def fastest(inputs, kernel, strides: int = 1, dilation: int = 1):
    """Depthwise convolution without padding.

    Args:
        inputs: `(batch, frames, channels)`.
        kernel: `(taps, channels)`.
        strides: Frames from one output to the next.
        dilation: Frames from one tap to the next.

    Returns: `(batch, (frames - dilation·(taps - 1) - 1) // strides + 1, channels)`.
    """
    return (shifted if _compiler_fuses() else native)(inputs, kernel, strides, dilation)


def _compiler_fuses() -> bool:
    """XLA on a CPU fuses shifted products and has a slow depthwise convolution; others do not."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() == "cpu"
    if backend == "tensorflow":
        import tensorflow as tf

        return _traced_for_xla() and not tf.config.list_physical_devices("GPU")
    return False


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
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            return context.all_reduce("SUM", values)
    return values
