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
    """Writes a SavedModel that TensorFlow Serving loads, of any model.

    A separator's takes a mixture to its sources, a MobileNet's images and a sound classifier's a
    waveform to probabilities, a VQ-VAE's images to codes and back.
    """
    if path.exists():
        raise UserError(f"{path} exists; give a new folder, or remove it first")
    import_keras()
    from keras_sep.export import export_saved_model
    from keras_sep.inference.loading import load_model

    try:
        loaded = load_model(model)
        if isinstance(loaded, Path):
            raise UserError(f"{loaded} is a SavedModel; give a .keras file or the folder of a run")
        export_saved_model(loaded, path)
    except (ValueError, OSError, RuntimeError) as error:
        raise UserError(str(error)) from None
    print(path)
