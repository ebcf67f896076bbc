"""Functions and loops as the running backend's compiler runs them."""

import warnings
from collections.abc import Callable
from functools import cache, partial

import keras
from keras import ops


def compiled(model: keras.Model, function: Callable, record: bool = False) -> Callable:
    """A function that calls a built model, as the running backend's compiler runs it (XLA).

    Each new shape is compiled when it first comes. On PyTorch the function runs as it is, without
    gradients, or recorded as TorchScript: deprecated, but `torch.compile` takes minutes and a C++
    compiler, and what `torch.export` gives goes through Python for each operation. PyTorch keeps
    each recording until the process ends.

    Args:
        model: The model, whose weights may change between calls, but not their number.
        function: Of tensors, or lists of tensors, that returns such. The result takes NumPy arrays
            for tensors too, unless PyTorch runs it unrecorded: JAX is faster with them.
        record: Whether PyTorch records it. For functions that take the same way whatever the
            values, and where the last bits may differ from call to call.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # For a stream thrice as fast as the graph, which spends the time between the operations.
        return tf.function(function, jit_compile=True)
    if backend == "torch":
        import torch

        if not record:
            return torch.inference_mode()(function)
        return _run_by_shape(
            model, lambda weights, *arguments: _record(model, function, weights, *arguments)
        )
    import jax

    # Once: a model goes through all its layers for them, for half a millisecond.
    variables = model.variables
    # In bfloat16 4 s by the paper's best take 0.21 s as JAX does it by itself, and 0.36 with our
    # options (2 cores with AVX512-BF16).
    options = None if model.compute_dtype == "bfloat16" else _jax_options()

    @partial(jax.jit, compiler_options=options)
    def with_weights(weights, *arguments):
        # As arguments: XLA would take minutes to fold the weights as constants.
        with keras.StatelessScope(list(zip(variables, weights, strict=True))):
            return function(*arguments)

    def of_arguments(*arguments):
        # Not `value`, which looks for scopes: of 300 variables that too takes so long.
        return with_weights([variable._value for variable in variables], *arguments)

    return of_arguments


@cache
def _jax_options():
    """Sums, but not products, by the library that XLA has for CPUs (YNNPACK).

    Its products lose on 2 cores (AVX2): a chunk of 20 ms by the paper's causal Conv-TasNet takes
    11.4 ms with them and 7.4 without, 4 s by the paper's best 0.52 s and 0.47.
    """
    import jax

    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except RuntimeError:  # Another version, which does not know it.
        return None
    return options


def program(function: Callable, *arguments):
    """`function(*arguments)`, traced once for all calls with such shapes, dtypes and numbers.

    Of the time until a step of training first runs much is Python's, which traces it, and the
    blocks of a network are alike. JAX moreover compiles a loop at each call outside of a program,
    unless the loop is in one of its own. PyTorch traces nothing, and calls the function.

    Args:
        function: One of a module, or it would be new at each call. Traces are kept with it until
            the process ends.
        arguments: Tensors, then numbers of Python.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        return function(*arguments)
    if backend == "jax":
        import jax

        numbers = [place for place, x in enumerate(arguments) if isinstance(x, int | float)]
        return jax.jit(function, static_argnums=numbers)(*arguments)
    tensors = [x for x in arguments if not isinstance(x, int | float)]
    signature = tuple((tuple(x.shape), x.dtype) for x in tensors)
    return _traced(function, signature, arguments[len(tensors) :])(*tensors)


@cache
def _traced(function, signature, numbers):
    import tensorflow as tf

    # A function for each signature: of one for all TensorFlow warns that it is traced often.
    return tf.function(
        lambda *tensors: function(*tensors, *numbers),
        input_signature=[tf.TensorSpec(*spec) for spec in signature],
        autograph=False,
    )


def barrier(inputs):
    """The inputs, which XLA neither simplifies nor moves together with what comes after."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.lax.optimization_barrier(inputs)
    from tensorflow.compiler.tf2xla.python import xla

    # TensorFlow knows no gradient of it.
    return ops.custom_gradient(lambda x: (xla.optimization_barrier(x)[0], lambda by_x: by_x))(
        inputs
    )


def on_cpu() -> bool:
    """Whether the running backend computes on a CPU."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() == "cpu"
    if backend == "torch":
        return keras.src.backend.torch.core.get_device() == "cpu"
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


def filled(build: Callable, fill: Callable) -> keras.Model:
    """The model that `build()` makes, with the values that `fill(model)` assigns.

    JAX would compile the initializers for every shape, for seconds, and `fill` replaces what they
    give. So there `build` is traced only, and done again where `fill` leaves a variable as it was.
    """
    if keras.backend.backend() == "jax":
        import jax

        traced = []
        jax.eval_shape(lambda: traced.append(build()))
        (model,) = traced
        fill(model)
        if not any(isinstance(variable.value, jax.core.Tracer) for variable in model.variables):
            return model
    model = build()
    fill(model)
    return model


def raster_loop(model: keras.Model, start_row: Callable, draw: Callable) -> Callable:
    """A function that fills rows of grids from left to right, compiled as one loop.

    On PyTorch both arguments are recorded as TorchScript, and its interpreter runs the loop.

    Args:
        model: A built model, whose weights may change between calls, but not their number.
        start_row: `start_row(codes, row, state)` returns the state at the row's first column.
        draw: `draw(codes, row, column, state, others)` returns grids with the codes of that column
            and the state after it. `row` and `column` are int32 scalars, `state` and `others` lists
            of tensors.

    Returns: a function of `bounds`, the first row and the one after the last, int32 `(2,)`; of
        `codes`, `(batch, rows, columns)`; of `state` and `others`; it returns codes and state.
    """
    if keras.backend.backend() == "torch":
        return _scripted_raster_loop(model, start_row, draw)

    def through_rows(bounds, codes, state, others):
        columns = codes.shape[2]

        def through_columns(row, codes, *state):
            state = start_row(codes, row, list(state))

            def step(column, codes, *state):
                codes, state = draw(codes, row, column, list(state), others)
                return column + 1, codes, *state

            _, codes, *state = ops.while_loop(
                lambda column, *_: column < columns,
                step,
                (ops.zeros((), "int32"), codes, *state),
            )
            return row + 1, codes, *state

        _, codes, *state = ops.while_loop(
            lambda row, *_: row < bounds[1], through_columns, (bounds[0], codes, *state)
        )
        return codes, state

    return compiled(model, through_rows)


def _scripted_raster_loop(model, start_row, draw):
    import torch

    class Loop(torch.nn.Module):
        def __init__(self, start_row, draw):
            super().__init__()
            self.start_row = start_row
            self.draw = draw

        def forward(
            self,
            weights: list[torch.Tensor],
            bounds: torch.Tensor,
            codes: torch.Tensor,
            state: list[torch.Tensor],
            others: list[torch.Tensor],
        ) -> tuple[torch.Tensor, list[torch.Tensor]]:
            for i in range(int(bounds[0]), int(bounds[1])):
                row = torch.full_like(bounds[0], i)
                state = self.start_row(weights, codes, row, state)
                for j in range(codes.shape[2]):
                    column = torch.full_like(row, j)
                    codes, state = self.draw(weights, codes, row, column, state, others)
            return codes, state

    def script(weights, bounds, codes, state, others):
        row = torch.zeros_like(bounds[0])
        return torch.jit.script(
            Loop(
                _record(model, start_row, weights, codes, row, state),
                _record(model, draw, weights, codes, row, row, state, others),
            )
        )

    return _run_by_shape(model, script)


def _record(model, function, weights, *arguments):
    """TorchScript of `function`, called with the weights first."""
    import torch

    variables = model.variables

    def with_weights(weights, *arguments):
        with keras.StatelessScope(list(zip(variables, weights, strict=True))):
            return function(*arguments)

    return torch.jit.trace(with_weights, (weights, *arguments), check_trace=False, strict=False)


def _run_by_shape(model, compile_for):
    """A function of tensors and lists of them that runs what `compile_for` made for their shapes.

    `compile_for` gets the weights first, and so does what it returns.
    """
    import torch

    variables, programs = model.variables, {}

    @torch.no_grad()
    def run(*arguments):
        weights = [variable.value.detach() for variable in variables]
        arguments = [x if isinstance(x, list) else ops.convert_to_tensor(x) for x in arguments]
        tensors = [x for part in arguments for x in (part if isinstance(part, list) else [part])]
        key = tuple((str(x.device), *x.shape) for x in tensors)
        if key not in programs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                # Of each shape that the recording takes as a constant, which it is.
                warnings.simplefilter("ignore", torch.jit.TracerWarning)
                programs[key] = compile_for(weights, *arguments)
        return programs[key](weights, *arguments)

    return run
