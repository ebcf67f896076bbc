"""Trained codecs from their folders."""

import json
from pathlib import Path

import keras

import keras_sep.models  # noqa: F401 (registers the classes)
from keras_sep.codec.image_codec import ImageCodec
from keras_sep.inference.bundled import bundled_folder

BUNDLED = {"photographs": "photographs_codec"}


def load_codec(name: str | Path = "photographs") -> ImageCodec:
    """A trained codec.

    Args:
        name: A bundled one ("photographs"), or a folder as `examples/bundle_photographs_codec.py`
            makes it.

    Raises:
        ValueError: There is no such codec.
    """
    folder = bundled_folder(BUNDLED[name]) if name in BUNDLED else Path(name)
    try:
        config = json.loads((folder / "codec.json").read_text())
    except OSError:
        raise ValueError(
            f"name must be {', '.join(BUNDLED)} or the folder of a codec, got {name}"
        ) from None
    model, *priors = (
        keras.saving.load_model(folder / path, compile=False)
        for path in (config["vq_vae"], *config["priors"])
    )
    return ImageCodec(model, priors)
