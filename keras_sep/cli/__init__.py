"""The `keras-sep` command: one module a command, thin over the Python API."""

import os
import sys

# TensorFlow's start-up notices say nothing to somebody who separates a file.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer

from keras_sep.cli._errors import UserError
from keras_sep.cli.train import train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(train)


@app.callback()
def _keras_sep():
    """Separate sounds with Keras."""


def main() -> None:
    """Runs the command line; what the user can mend is one line on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"keras-sep: {error}", file=sys.stderr)
        sys.exit(2)
