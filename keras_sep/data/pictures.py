"""Picture files, read with Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np


class PictureError(ValueError):
    """A file that cannot be read as a picture; the message names it."""


def pillow():
    """Pillow's `PIL.Image`.

    Raises:
        ImportError: It is not installed; the message names the extra.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('pictures need Pillow: pip install "keras-sep[pictures]"') from None
    return Image


def find_pictures(folder: Path) -> list[Path]:
    """All files with a picture's suffix under a folder, sorted, hidden ones left out."""
    suffixes = pillow().registered_extensions()
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    )


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels, as `read_picture` gives them; reads the header only.

    Raises:
        PictureError: Pillow cannot read it.
    """
    with _open(path) as image:
        width, height = image.size
        sideways = image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
    return (width, height) if sideways else (height, width)


def read_picture(path: Path, channels: int = 3) -> np.ndarray:
    """The picture, upright, as uint8 `(height, width, channels)`, 3 of colours or 1 of grey.

    Raises:
        PictureError: Pillow cannot read it.
    """
    from PIL import ImageOps

    with _open(path) as image:
        try:
            picture = ImageOps.exif_transpose(image).convert("RGB" if channels == 3 else "L")
        except (OSError, SyntaxError) as error:
            raise PictureError(f"{path} cannot be read: {error}.") from None
    return np.asarray(picture).reshape(picture.height, picture.width, channels)


# The EXIF tag, and its values for pictures that lie on their side.
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)


def _open(path):
    image = pillow()
    try:
        return image.open(path)
    except (OSError, SyntaxError, image.DecompressionBombError) as error:
        raise PictureError(f"{path} cannot be read: {error}.") from None
