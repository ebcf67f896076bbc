"""Pictures of what an autoencoder makes of its inputs, epoch by epoch."""

import os
from pathlib import Path

import keras
import numpy as np


class ReconstructionImages(keras.callbacks.Callback):
    """Writes a picture after each epoch: images in a row, and below each its reconstruction.

    The pictures are `epoch_0001.png` and so on, written beside and renamed, one pixel for one.
    Values below -1 are drawn as -1, and values above 1 as 1.

    Args:
        images: float `(num_images, height, width, channels)` in -1 to 1, of 1 or 3 channels.
        folder: Where the pictures go; it is made if it is not there.
        columns: Images in a row; further ones go to further rows.
        spectrograms: Whether the images are `(num_images, frames, frequencies, channels)`, drawn
            with the frames to the right and the frequencies upwards.

    Raises:
        ValueError: `images` has another shape or no images, or `columns` is below 1.
    """

    def __init__(self, images, folder: str | Path, columns: int = 8, spectrograms: bool = False):
        super().__init__()
        self.images = np.asarray(images, "float32")
        if self.images.ndim != 4 or self.images.shape[-1] not in (1, 3) or not self.images.size:
            raise ValueError(
                "images must be (num_images, height, width, channels) of 1 or 3 channels, got "
                f"shape {self.images.shape}"
            )
        if columns < 1:
            raise ValueError(f"columns must be at least 1, got {columns}")
        self.folder = Path(folder)
        self.columns = columns
        self.spectrograms = spectrograms

    def on_epoch_end(self, epoch, logs=None):
        reconstructions = self.model.predict_on_batch(self.images)["reconstruction"]
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"epoch_{epoch + 1:04d}.png"
        draw_pairs(self.images, reconstructions, path, self.columns, self.spectrograms)


def draw_pairs(
    images, reconstructions, path: Path, columns: int = 8, spectrograms: bool = False
) -> None:
    """Draws images in -1 to 1 with their reconstructions below, written beside and renamed."""
    from matplotlib.image import imsave

    rows = []
    for start in range(0, len(images), columns):
        for row in (images, reconstructions):
            row = np.asarray(row[start : start + columns], "float32")
            if spectrograms:
                row = np.flip(np.swapaxes(row, 1, 2), 1)
            missing = min(columns, len(images)) - len(row)
            row = np.pad(row, [(0, missing), (1, 1), (1, 1), (0, 0)], constant_values=1.0)
            rows.append(np.concatenate(row, axis=1))
    levels = np.clip(np.concatenate(rows) / 2 + 0.5, 0.0, 1.0)
    beside = path.with_name(f"{path.stem}.next{path.suffix}")
    imsave(beside, np.broadcast_to(levels, (*levels.shape[:2], 3)).copy())
    os.replace(beside, path)
