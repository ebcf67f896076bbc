"""`keras-sep export`: a trained model as a SavedModel."""

from pathlib import Path
from typing import Annotated

import typer

from keras_sep.cli._backend import import_keras
from keras_sep.cli._errors import UserError


def export(
    model: Annotated[Path, typer.Argument(help="A .keras file, or the folder of a run.")],
    path: Annotated[
        Path, typer.Argument(help="Folder to make, for a server <base>/<name>/<version number>.")
    ],
):
    """Writes a SavedModel that TensorFlow Serving loads: mixture in, sources out."""
    if path.exists():
        raise UserError(f"{path} exists; give a new folder, or remove it first")
    import_keras()
    from keras_sep.export import export_saved_model
    from keras_sep.inference.loading import load_separator

    try:
        separator = load_separator(model / "best.keras" if model.is_dir() else model)
        export_saved_model(separator, path)
    except (ValueError, OSError, RuntimeError) as error:
        raise UserError(str(error)) from None
    print(path)
