"""New pictures from a folder with a VQ-VAE, its priors and a classifier."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_sep.inference.bundled import bundled_folder

BUNDLED = {"digits": "digits_generator"}


class Generator:
    """Draws new pictures of given classes.

    Args:
        model: Name of a bundled generator ("digits"), or a folder as
            `examples/bundle_digits_generator.py` makes it.

    Attributes:
        class_names: The classes.

    Raises:
        ValueError: One line, if there is no such generator.
    """

    def __init__(self, model: str | Path = "digits"):
        folder = bundled_folder(BUNDLED[model]) if model in BUNDLED else Path(model)
        try:
            config = json.loads((folder / "generator.json").read_text())
        except OSError:
            raise ValueError(
                f"model must be {', '.join(BUNDLED)} or the folder of a generator, got {model}"
            ) from None
        import keras

        import keras_sep.models  # noqa: F401 (registers the classes)

        def load(path):
            return keras.saving.load_model(folder / path, compile=False)

        self.class_names = config["class_names"]
        self.size = tuple(config["size"])
        self.settings = config["settings"]
        self._vq_vae = load(config["vq_vae"])
        self._priors = [load(path) for path in config["priors"]]
        self._classifier = load(config["classifier"])

    def generate(
        self,
        num_images: int,
        label: str | None = None,
        reject: bool = True,
        seed: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        **settings,
    ) -> np.ndarray:
        """Pictures, float32 `(num_images, height, width, channels)` in about -1 to 1.

        Args:
            num_images: Pictures.
            label: Name of their class; None for all classes in turns.
            reject: Whether twice as many are drawn, and those kept whose class the classifier
                finds most likely.
            seed: Of the random numbers; None for others each time.
            progress: Called with the steps done and all steps.
            **settings: `temperature`, `top_k` and `top_p` of `PixelCNN.sample`, in place of the
                generator's own.

        Raises:
            ValueError: An argument is out of range.
        """
        if label is not None and label not in self.class_names:
            raise ValueError(f"label must be one of {', '.join(self.class_names)}, got {label}")
        labels = np.arange(num_images) % len(self.class_names)
        if label is not None:
            labels = self.class_names.index(label)
        return self._vq_vae.generate(
            self._priors,
            num_images,
            self.size,
            labels=labels,
            classifier=self._classifier if reject else None,
            seed=seed,
            progress=progress,
            **{**self.settings, **settings},
        )


def draw_grid(images: np.ndarray, path: Path, columns: int = 10) -> None:
    """Writes pictures in -1 to 1 as one, in rows; beside and renamed.

    Args:
        images: `(num_images, height, width, channels)` of 1 or 3 channels.
        path: With the suffix of a picture's format, as .png.
        columns: Pictures in a row.
    """
    from matplotlib.image import imsave

    columns = min(columns, len(images))
    missing = -len(images) % columns
    padded = np.pad(images, [(0, missing), (1, 1), (1, 1), (0, 0)], constant_values=-1.0)
    rows = padded.reshape(-1, columns, *padded.shape[1:]).transpose(0, 2, 1, 3, 4)
    picture = rows.reshape(-1, columns * padded.shape[2], padded.shape[3])
    levels = np.clip(picture / 2 + 0.5, 0.0, 1.0)
    beside = path.with_name(f"{path.stem}.next{path.suffix}")
    imsave(beside, np.broadcast_to(levels, (*levels.shape[:2], 3)).copy())
    beside.replace(path)
