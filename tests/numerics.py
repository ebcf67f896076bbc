"""Values and gradients in NumPy, on whichever backend runs."""

import keras
import numpy as np
from keras import ops, tree

BACKEND = keras.backend.backend()


def gradients(function, *arrays):
    """Gradients of a scalar function of tensors, by each of its arguments."""
    arrays = [np.asarray(array, "float32") for array in arrays]
    if BACKEND == "jax":
        import jax

        gradient = jax.grad(function, argnums=tuple(range(len(arrays))))
        grads = jax.jit(gradient)(*arrays)  # One compilation, not one an operation.
    elif BACKEND == "torch":
        tensors = [ops.convert_to_tensor(array).requires_grad_() for array in arrays]
        function(*tensors).backward()
        grads = [tensor.grad for tensor in tensors]
    else:
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        grads = tape.gradient(value, tensors)
    return [ops.convert_to_numpy(grad) for grad in grads]


def compiled_gradients(function, *arrays):
    """`gradients` as the backend's compiler runs them."""
    if BACKEND != "tensorflow":
        return gradients(function, *arrays)
    import tensorflow as tf

    tensors = [tf.constant(np.asarray(array, "float32")) for array in arrays]

    @tf.function(jit_compile=True)
    def by_tensors(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return tape.gradient(value, tensors)

    return [ops.convert_to_numpy(gradient) for gradient in by_tensors(*tensors)]


def run(function, *arrays):
    """Outputs in NumPy. JAX compiles the whole function, not each of its operations."""
    if isinstance(function, keras.Layer) and not function.built:
        function.build(arrays[0].shape)
    function = compiled(function) if BACKEND == "jax" else function
    outputs = function(*map(ops.convert_to_tensor, arrays))
    return tree.map_structure(ops.convert_to_numpy, outputs)


def layer_gradients(layer, inputs, cotangent):
    """Gradients of `sum(layer(inputs) · cotangent)`, by inputs and by each trainable weight."""

    def function(x, *weights):
        fixed = layer.non_trainable_variables
        outputs, _ = layer.stateless_call(list(weights), fixed, x)
        return ops.sum(ops.multiply(outputs, cotangent))

    weights = [ops.convert_to_numpy(weight) for weight in layer.trainable_variables]
    return gradients(function, inputs, *weights)


def compiled(function):
    """The function as the backend's compiler runs it; as it is on PyTorch."""
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    return function
