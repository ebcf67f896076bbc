"""The model that `keras-sep train --init` starts from."""

from inspect import signature
from pathlib import Path

import typer

from keras_sep.cli._backend import import_keras
from keras_sep.cli._errors import UserError


def load_initial_model(path: Path, dtype: str, context: typer.Context) -> tuple:
    """Loads the model of a file, and its architecture by the names of the command's options.

    Args:
        path: A `.keras` file of a `ConvTasNet`, or the folder of a run.
        dtype: Of the computation, "float32" or "bfloat16".
        context: Of the command; its options say nothing where they have their defaults.

    Returns: The model, and the arguments of `ConvTasNet` that it has.

    Raises:
        UserError: There is no such model, or an option was given that says otherwise.
    """
    import_keras()
    from keras_sep.inference.loading import load_separator
    from keras_sep.models import ConvTasNet

    try:
        model = load_separator(path, dtype)
    except ValueError as error:
        raise UserError(f"cannot start from {path}: {error}") from None
    config = model.get_config()
    names = [name for name in signature(ConvTasNet.__init__).parameters if name in config]
    architecture = {name: config[name] for name in names}
    # As the option has it.
    architecture["skip_dim"] = architecture["skip_dim"] or 0
    for name, value in architecture.items():
        if was_given(context, name) and context.params[name] != value:
            option = f"--{name.replace('_', '-')}"
            raise UserError(
                f"{option} is {context.params[name]}, but {value} in the model of --init {path}; "
                f"leave {option} out"
            )
    return model, architecture


def was_given(context: typer.Context, name: str) -> bool:
    """Whether the user wrote the option; False for one that has its default, or is none."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
