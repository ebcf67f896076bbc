"""What the data sets drawn on the fly share: seeds, epochs and splits."""

from __future__ import annotations

import keras
import numpy as np

from keras_sep.data.arguments import check_integer, check_split, in_subset


class RandomBatches(keras.utils.PyDataset):
    """Batches that depend on `seed`, `epoch` and their index only.

    Each epoch has new ones, unless `fixed`. A subclass draws one in `draw_batch(rng)`.
    """

    def __init__(
        self,
        batch_size: int,
        num_batches: int,
        validation_split: float,
        subset: str | None,
        fixed: bool,
        seed: int,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_integer("batch_size", batch_size, 1)
        check_integer("num_batches", num_batches, 1)
        check_integer("seed", seed, 0)
        check_split(validation_split, subset)
        self.batch_size = batch_size
        self._num_batches = num_batches
        self.validation_split = validation_split
        self.subset = subset
        self.fixed = fixed
        self.seed = seed
        self.epoch = 0
        self._last_batch_drawn = False

    @property
    def num_batches(self) -> int:
        return self._num_batches

    def __len__(self) -> int:
        return self._num_batches

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        if not 0 <= index < self.num_batches:
            raise IndexError(f"`index` must be from 0 to {self.num_batches - 1}, got {index}.")
        rng = np.random.default_rng([self.seed, 0 if self.fixed else self.epoch, index])
        batch = self.draw_batch(rng)
        if index == self.num_batches - 1:
            self._last_batch_drawn = True
        return batch

    def draw_batch(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Draws a batch, as `model.fit` takes it."""
        raise NotImplementedError

    def on_epoch_begin(self) -> None:
        self._last_batch_drawn = False

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch's batches.

        Keras also calls this before the first epoch, after a look at a batch to build the model,
        and in the middle of the data when `steps_per_epoch` is smaller: these do not count. Other
        processes cannot tell us which batches they drew, so there every call counts.
        """
        if self._last_batch_drawn or self.use_multiprocessing:
            self.epoch += 1
        self._last_batch_drawn = False

    def _in_subset(self, name):
        """Whether the file of this path within the folder belongs to the subset."""
        return in_subset(name.as_posix(), self.validation_split, self.subset)
