"""The codes of a data set, written as a data set."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np

from keras_sep.data.arguments import check_integer
from keras_sep.data.code_grids import libraries

_NAME = "codes"
_STATE = "state.json"


def extract_codes(
    model: keras.Model,
    dataset: Iterable,
    path: str | os.PathLike,
    split: str = "train",
    batches_per_shard: int = 100,
) -> Path:
    """Writes the codes of a data set as ArrayRecord files that TensorFlow Datasets reads.

    An example has the grids by level, int32 `(rows, columns)` as "top" and "bottom" (the model's
    `level_names`), and where the data set has labels, "label". Read them with `CodeGrids` or with
    `tfds.builder_from_directory(path).as_data_source()`.

    One shard is in memory at a time. An interrupted extraction lies in `<path>.partial` and goes
    on at its last full shard when called again with the same arguments; a data set must then give
    the same batches in the same order.

    Args:
        model: A `VQVAE` or `VQVAE2`, or another with `encode` and `level_names`.
        dataset: Batches `images`, `(images,)` or `(images, labels)`: a `keras.utils.PyDataset`, a
            `tf.data.Dataset` or any other iterable. What was done is not read again of one that
            has `__getitem__` and `__len__`, and only skipped of others.
        path: The folder to make.
        split: Name of the split.
        batches_per_shard: Batches in a file.

    Returns: The path.

    Raises:
        FileExistsError: `path` exists; it is left as it is.
        ImportError: There are no TensorFlow Datasets or ArrayRecord.
        ValueError: The model has no codes, the data set is empty, or what lies in
            `<path>.partial` is of another model or other arguments.
    """
    if not hasattr(model, "encode") or not hasattr(model, "level_names"):
        raise ValueError(f"model must be a VQVAE or VQVAE2, got {type(model).__name__}")
    check_integer("batches_per_shard", batches_per_shard, 1)
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists; give a new folder, or remove it first")
    tfds, array_record = libraries()
    partial = path.with_name(path.name + ".partial")
    state = _begin(partial, _fingerprint(model, split, batches_per_shard))
    done = len(state["lengths"]) * batches_per_shard
    examples = _encode(model, _with_progress(_batches(dataset, done), dataset, done))
    while shard := list(itertools.islice(examples, batches_per_shard)):
        state["features"] = _shapes(shard[0])
        features = _features(tfds, state)
        file = partial / f"shard-{len(state['lengths']):05d}"
        beside = file.with_suffix(".next")
        writer = array_record.ArrayRecordWriter(os.fspath(beside), "group_size:1")
        for batch in shard:
            for values in zip(*batch.values(), strict=True):
                writer.write(features.serialize_example(dict(zip(batch, values, strict=True))))
        writer.close()
        os.replace(beside, file)
        state["lengths"].append(sum(len(next(iter(batch.values()))) for batch in shard))
        _write_json(partial / _STATE, state)
    if not state["lengths"]:
        shutil.rmtree(partial)
        raise ValueError("dataset must have at least one batch, got none")
    _finish(tfds, partial, state, split)
    partial.rename(path)
    (path / _STATE).unlink()
    return path


class _Encoder(keras.Model):
    """A model's `encode` as a call, for Keras to compile."""

    def __init__(self, model):
        super().__init__(name="encoder")
        self.model = model

    def call(self, images):
        return self.model.encode(images)


def _fingerprint(model, split, batches_per_shard) -> dict:
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(keras.ops.convert_to_numpy(weight).tobytes())
    return {
        "weights": digest.hexdigest(),
        "level_names": model.level_names,
        "split": split,
        "batches_per_shard": batches_per_shard,
    }


def _begin(partial, of) -> dict:
    """The state of an extraction: a new one, or that of the one that was interrupted."""
    partial.mkdir(parents=True, exist_ok=True)
    file = partial / _STATE
    state = json.loads(file.read_text()) if file.exists() else {"of": of, "lengths": []}
    if state["of"] != of:
        raise ValueError(
            f"{partial} holds an extraction with another model or other arguments; repeat them to "
            "go on, or remove it"
        )
    return state


def _batches(dataset, done) -> Iterator:
    """The batches from `done` on."""
    if hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"):
        return (dataset[index] for index in range(done, len(dataset)))
    return itertools.islice(iter(dataset), done, None)


def _with_progress(batches, dataset, done) -> Iterator:
    from rich.progress import Progress

    try:
        total = len(dataset)
    except TypeError:
        total = None
    with Progress() as progress:
        task = progress.add_task("codes", total=total, completed=done)
        for batch in batches:
            yield batch
            progress.advance(task)


def _encode(model, batches) -> Iterator[dict]:
    """Codes by level, and labels, of each batch."""
    encoder = _Encoder(model)
    for batch in batches:
        images, *labels = batch if isinstance(batch, (tuple, list)) else (batch,)
        codes = encoder.predict_on_batch(np.asarray(images))
        example = dict(zip(model.level_names, codes, strict=True))
        if labels:
            example["label"] = np.asarray(labels[0])
        yield example


def _shapes(batch) -> dict:
    """Shapes and types of one example."""
    return {
        name: [list(values.shape[1:]), values.dtype.name] for name, values in sorted(batch.items())
    }


def _features(tfds, state):
    return tfds.features.FeaturesDict(
        {
            name: tfds.features.Tensor(shape=tuple(shape), dtype=np.dtype(dtype))
            for name, (shape, dtype) in state["features"].items()
        }
    )


def _finish(tfds, partial, state, split):
    """Names the shards as TensorFlow Datasets does, and describes them."""
    number, lengths = len(state["lengths"]), state["lengths"]
    for shard in range(number):
        name = f"{_NAME}-{split}.array_record-{shard:05d}-of-{number:05d}"
        with contextlib.suppress(FileNotFoundError):  # Renamed before an interruption.
            (partial / f"shard-{shard:05d}").rename(partial / name)
    template = tfds.core.ShardedFileTemplate(
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        dataset_name=_NAME,
        data_dir=os.fspath(partial),
        filetype_suffix="array_record",
    )
    size = sum(file.stat().st_size for file in partial.glob(f"{_NAME}-*"))
    tfds.folder_dataset.write_metadata(
        data_dir=os.fspath(partial),
        features=_features(tfds, state),
        split_infos=[
            tfds.core.SplitInfo(
                name=split, shard_lengths=lengths, num_bytes=size, filename_template=template
            )
        ],
        filename_template=template,
        check_data=False,  # It would read with tf.data, which does not read ArrayRecord.
        description="Codes of a VQ-VAE.",
        metadata=tfds.core.MetadataDict(level_names=state["of"]["level_names"]),
    )


def _write_json(path, value):
    beside = path.with_suffix(".next")
    beside.write_text(json.dumps(value))
    os.replace(beside, path)
