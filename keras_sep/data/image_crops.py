"""Random crops of a folder of pictures, for `model.fit`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from keras_sep.data.arguments import check_folder, check_integer, is_finite
from keras_sep.data.pictures import PictureError, find_pictures, picture_size, read_picture
from keras_sep.data.random_batches import RandomBatches

_NAMED_PROBLEMS = 10


class ImageCrops(RandomBatches):
    """Draws batches of square crops from a folder of pictures.

    Batch `[index]` is `(images,)`, float32 `(batch, crop_size, crop_size, channels)` in -1 to 1:
    each a random part of a random picture at the picture's own resolution, all pictures equally
    likely whatever their size, mirrored half of the time if `mirror`. A batch depends on `seed`,
    `epoch` and its index only; each epoch has new crops, unless `fixed` (for validation).

    Decoded pictures stay in memory up to `cache_gigabytes`, the first ones read; others are read
    anew for each crop.

    To resume at an epoch, set `epoch` before `fit`, or let Keras say which one it is:

    ```python
    keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(crops, "epoch", epoch)
    )
    ```

    Args:
        folder: Holds pictures that Pillow reads (JPEG, PNG, WebP …), at any depth.
        crop_size: Height and width of a crop in pixels.
        batch_size: Crops in a batch.
        num_batches: Batches in an epoch.
        channels: 3 for colours, 1 for grey.
        mirror: Whether half of the crops are mirrored, left to right.
        validation_split: Share of the pictures kept for validation, 0 to 1, by a hash of their
            names within `folder`, so that it stays the same when pictures are added.
        subset: "training" or "validation" part of a split; None without a split.
        fixed: Whether every epoch has the same crops.
        seed: Integer of at least 0.
        cache_gigabytes: Memory for decoded pictures, 3 bytes a pixel.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.
            With several workers Keras prefetches across epochs, so an epoch's crops depend on
            timing.

    Attributes:
        epoch: The epoch whose crops are drawn, from 0. Counted up at the end of every epoch.
        paths: The pictures.

    Raises:
        ImportError: There is no Pillow.
        ValueError: An argument is out of range, or the folder has no picture of at least
            `crop_size`.

    Warns:
        UserWarning: Once, naming the pictures that are skipped: unreadable or too small.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        crop_size: int = 64,
        batch_size: int = 32,
        num_batches: int = 500,
        channels: int = 3,
        mirror: bool = True,
        validation_split: float = 0.0,
        subset: str | None = None,
        fixed: bool = False,
        seed: int = 0,
        cache_gigabytes: float = 1.0,
        **kwargs,
    ):
        super().__init__(batch_size, num_batches, validation_split, subset, fixed, seed, **kwargs)
        check_integer("crop_size", crop_size, 1)
        if channels not in (1, 3):
            raise ValueError(f"`channels` must be 1 or 3, got {channels!r}.")
        if not is_finite(cache_gigabytes) or cache_gigabytes < 0:
            raise ValueError(f"`cache_gigabytes` must be at least 0, got {cache_gigabytes!r}.")
        self.folder = folder
        self.crop_size = crop_size
        self.channels = channels
        self.mirror = mirror
        self.cache_gigabytes = cache_gigabytes
        self._cache: dict[Path, np.ndarray] = {}
        self._room = cache_gigabytes * 1e9
        self.paths = self._scan()

    def draw_batch(self, rng: np.random.Generator) -> tuple[np.ndarray]:
        crops = [self._draw(rng) for _ in range(self.batch_size)]
        return (np.stack(crops).astype("float32") / 127.5 - 1.0,)

    def _draw(self, rng):
        picture = self._picture(self.paths[rng.integers(len(self.paths))])
        top, left = rng.integers(np.subtract(picture.shape[:2], self.crop_size), endpoint=True)
        crop = picture[top : top + self.crop_size, left : left + self.crop_size]
        return crop[:, ::-1] if self.mirror and rng.random() < 0.5 else crop

    def _picture(self, path):
        picture = self._cache.get(path)
        if picture is None:
            picture = read_picture(path, self.channels)
            if picture.nbytes <= self._room:
                self._room -= picture.nbytes
                self._cache[path] = picture
        return picture

    def _scan(self):
        usable, problems = [], []
        folder = check_folder("folder", self.folder)
        for path in find_pictures(folder):
            if not self._in_subset(path.relative_to(folder)):
                continue
            try:
                size = picture_size(path)
            except PictureError as error:
                problems.append(str(error))
                continue
            if min(size) < self.crop_size:
                problems.append(f"{path} has {size[1]}×{size[0]} pixels.")
            else:
                usable.append(path)
        more = len(problems) - _NAMED_PROBLEMS
        lines = "".join(f"\n  {problem}" for problem in problems[:_NAMED_PROBLEMS])
        lines += f"\n  and {more} more" if more > 0 else ""
        part = f" in its {self.subset} share" if self.subset else ""
        if not usable:
            raise ValueError(
                f"`folder` must hold pictures of at least {self.crop_size}×{self.crop_size} "
                f"pixels; {self.folder} has none{part}.{lines}"
            )
        if problems:
            warnings.warn(f"Skipped {len(problems)} pictures:{lines}", stacklevel=3)
        return usable
