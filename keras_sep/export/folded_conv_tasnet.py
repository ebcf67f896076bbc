"""Conv-TasNet in few passes over memory, for inference where nothing is compiled."""

from collections.abc import Callable

import keras
from keras import ops

from keras_sep.models import ConvTasNet


def fold_for_inference(model: ConvTasNet, jit_compile: bool = False) -> Callable:
    """A function that gives what the model gives, with the weights that it has now.

    For a model with global normalization, on TensorFlow and PyTorch; on TensorFlow it is what
    `export_saved_model` writes. Without a compiler every operation's output is written to memory,
    so that the passes over the hidden features count. Here they are, in each block, the product
    with its bias; the PReLU; a sum and a sum of squares; the depthwise convolution with its bias;
    its PReLU; the two sums again; and the second product. Each example goes by itself, so that
    what differs between them, as that bias, is one vector to the operations.

    - The slopes are constants, so the PReLU is a leaky ReLU: one operation, in place, or where
      TensorFlow uses oneDNN none beside the product.
    - No norm is applied to hidden features. With mean m, reciprocal deviation s, γ, β and the
      depthwise kernel k, of which K is the sum over the taps,

          k * (γ s (y - m) + β) + bias = s (kγ * y + (Kβ + bias) / s - m Kγ)

      and the PReLU and the next norm have nothing to do with a factor s > 0, but for ε, which
      becomes ε / s². That norm's factor goes into the kernel of the second product, and what it
      adds is added after it.
    - A zero beside the normalized features is m - β / (γ s) beside y, written in place.
    - In TensorFlow d frames side by side are one row of an image, so that a convolution of dilation
      d is one without.
    - PyTorch's second product adds to features and skips in place, so that none but products pass
      over them; what the norms add, the same for all frames, is a vector kept apart.
    - With `jit_compile` two passes remain between the products: one in place for bias, PReLU and
      sums, and one for the convolution and what follows it; the masks are applied in one pass.
    - A model in bfloat16 has its features, products and convolutions in bfloat16, and the sums over
      each frame too where nothing is compiled; the sums of these, and what is computed of them, are
      float32.

    Args:
        model: A built `ConvTasNet` in float32 or with the policy "mixed_bfloat16", and
            `normalization="global"`.
        jit_compile: With PyTorch, compile what lies between the products by `torch.compile`, which
            on a CPU needs a C++ compiler (`g++`, or what `CXX` names). It takes about ten seconds
            at the first call, and again at the first of another length; not at later ones. On a
            GPU a shape that comes again is recorded, and runs without Python, of the last four:
            on an H200 the paper's best took 2.2 ms for 4 s, and 15 otherwise. Each recording holds
            the memory that it computes in.

    Returns: a function from mixture `(batch, samples)`, one example at least, to sources `(batch,
        num_sources, samples)`, tensors. It gives no gradients. With TensorFlow it is to be called
        within a `tf.function`.

    Raises:
        ValueError: `model` is of another kind, or the backend is JAX, which compiles; or
            `jit_compile` on TensorFlow, or without a compiler.
    """
    if not can_fold(model):
        raise ValueError(
            'model must be a ConvTasNet in float32 or mixed_bfloat16 with normalization="global", '
            f"on TensorFlow or PyTorch, got {type(model).__name__} with dtype "
            f"{getattr(getattr(model, 'dtype_policy', None), 'name', None)} and normalization "
            f"{getattr(model, 'normalization', None)!r} on {keras.backend.backend()}"
        )
    if jit_compile and keras.backend.backend() != "torch":
        raise ValueError("jit_compile is of PyTorch; on TensorFlow the graph is faster")
    if keras.backend.backend() == "torch":
        from keras_sep.export.folded_torch import folded

        separate = folded(model, jit_compile)
    else:
        from keras_sep.export.folded_tensorflow import folded

        separate = folded(model)
    # The encoder and the decoder are called as they are.
    weights = [
        (variable, ops.convert_to_numpy(variable).copy())
        for layer in (model.encoder, model.decoder)
        for variable in layer.variables
    ]
    if keras.backend.backend() == "torch":
        # Once, and outside of what a GPU records; TensorFlow has them as constants of its graph.
        weights = [(variable, ops.convert_to_tensor(value)) for variable, value in weights]

    def with_weights(mixture):
        constants = [(variable, ops.convert_to_tensor(value)) for variable, value in weights]
        with keras.StatelessScope(constants):
            return separate(mixture)

    return with_weights


def can_fold(model) -> bool:
    """Whether `fold_for_inference` takes the model."""
    return (
        keras.backend.backend() in ("tensorflow", "torch")
        and isinstance(model, ConvTasNet)
        and model.normalization == "global"
        and model.variable_dtype == "float32"
        and model.compute_dtype in ("float32", "bfloat16")
    )
