"""The `keras-sep` command: one module a command, thin over the Python API."""

import sys

import typer

from keras_sep.backend_name import backend_name
from keras_sep.cli._backend import check_backend
from keras_sep.cli._errors import UserError
from keras_sep.cli.classify import classify
from keras_sep.cli.convert import convert
from keras_sep.cli.evaluate import evaluate
from keras_sep.cli.export import export
from keras_sep.cli.generate import generate
from keras_sep.cli.info import info
from keras_sep.cli.separate import separate
from keras_sep.cli.train import train
from keras_sep.memory import keep_freed_memory

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(separate)
app.command()(classify)
app.command()(generate)
app.command()(train)
app.command()(evaluate)
app.command()(export)
app.command()(convert)
app.command()(info)


@app.callback()
def _keras_sep(context: typer.Context):
    """Separate sounds, tell them apart, and draw pictures, with Keras."""
    check_backend()
    # With JAX long recordings would take two to four times as much memory.
    if backend_name() != "jax" or context.invoked_subcommand == "train":
        keep_freed_memory()


def main() -> None:
    """Runs the command line; what the user can mend is one line on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"keras-sep: {error}", file=sys.stderr)
        sys.exit(2)
