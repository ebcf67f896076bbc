"""Codes of images in batches, for the priors."""

from __future__ import annotations

import os

import keras
import numpy as np

from keras_sep.data.arguments import check_folder, check_integer


class CodeGrids(keras.utils.PyDataset):
    """Batches of the codes that `extract_codes` wrote, for the priors.

    Batch `[index]` is what the `PixelCNN` of a level takes: `(inputs,)`, a dictionary of the
    level's `codes`, int32 `(batch, rows, columns)`, of those of the level above as `condition`, and
    of `labels` where there are labels. Without a `level` it is `(codes,)` or `(codes, labels)`, all
    levels as a list from top to bottom, as `VQVAE2.encode` gives and `decode` takes. All examples
    come once an epoch, the last batch may be smaller.

    Args:
        path: The folder.
        batch_size: Examples in a batch.
        split: Name of the split.
        shuffle: Whether each epoch has an order of its own, by `seed` and `epoch`.
        seed: Integer of at least 0.
        level: Name of a level, for its prior; None for all levels.
        **kwargs: `workers`, `use_multiprocessing`, `max_queue_size` of `keras.utils.PyDataset`.

    Attributes:
        epoch: Counted up at the end of every epoch; set it to resume.

    Raises:
        ImportError: There are no TensorFlow Datasets or ArrayRecord.
        ValueError: An argument is out of range, or the folder holds no codes, no such split or no
            such level.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        batch_size: int = 32,
        split: str = "train",
        shuffle: bool = True,
        seed: int = 0,
        level: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_integer("batch_size", batch_size, 1)
        check_integer("seed", seed, 0)
        folder = check_folder("path", path)
        tfds, _ = libraries()
        if not (folder / "dataset_info.json").is_file():
            raise ValueError(f"`path` must be a folder that extract_codes wrote, got {path!r}.")
        builder = tfds.builder_from_directory(os.fspath(folder))
        if split not in builder.info.splits:
            splits = ", ".join(builder.info.splits)
            raise ValueError(f"`split` must be one of {splits}, got {split!r}.")
        level_names = list(builder.info.metadata["level_names"])
        if level is not None and level not in level_names:
            raise ValueError(f"`level` must be one of {', '.join(level_names)}, got {level!r}.")
        self.path = path
        self.batch_size = batch_size
        self.split = split
        self.shuffle = shuffle
        self.seed = seed
        self.level = level
        self.epoch = 0
        self.level_names = level_names
        self._examples = builder.as_data_source(split=split)

    @property
    def num_examples(self) -> int:
        return len(self._examples)

    @property
    def num_batches(self) -> int:
        return -(-self.num_examples // self.batch_size)

    def __len__(self) -> int:
        return self.num_batches

    def __getitem__(self, index: int):
        if not 0 <= index < self.num_batches:
            raise IndexError(f"`index` must be from 0 to {self.num_batches - 1}, got {index}.")
        order = np.arange(self.num_examples)
        if self.shuffle:
            np.random.default_rng([self.seed, self.epoch]).shuffle(order)
        start = index * self.batch_size
        examples = self._examples.__getitems__(order[start : start + self.batch_size].tolist())
        batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
        if self.level is None:
            codes = [batch[name] for name in self.level_names]
            return (codes, batch["label"]) if "label" in batch else (codes,)
        number = self.level_names.index(self.level)
        inputs = {"codes": batch[self.level]}
        if number:
            inputs["condition"] = batch[self.level_names[number - 1]]
        if "label" in batch:
            inputs["labels"] = batch["label"]
        return (inputs,)

    def on_epoch_end(self) -> None:
        self.epoch += 1


def libraries():
    """TensorFlow Datasets and ArrayRecord's module.

    Raises:
        ImportError: One is not installed; the message names the extra.
    """
    try:
        import tensorflow_datasets as tfds
        from array_record.python import array_record_module
    except ImportError:
        raise ImportError(
            'codes on disk need TensorFlow Datasets: pip install "keras-sep[tfds]"'
        ) from None
    return tfds, array_record_module
