"""Codes on disk against `encode`, and extractions that are interrupted."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_sep.data import CodeGrids, extract_codes
from keras_sep.models import VQVAE2, PixelCNN

SIZES = [3, 3, 3, 3, 2]


@pytest.fixture(scope="module")
def model():
    sizes = {"embedding_dim": 4, "hidden_dim": 4, "residual_dim": 2, "num_residual_blocks": 1}
    return VQVAE2(num_embeddings=20, strides=2, channels=1, **sizes)


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    return [
        (rng.normal(size=(size, 8, 12, 1)).astype("float32"), rng.integers(0, 10, size))
        for size in SIZES
    ]


@pytest.fixture(scope="module")
def expected(model, batches):
    images = np.concatenate([images for images, _ in batches])
    return [keras.ops.convert_to_numpy(codes) for codes in model.encode(images)]


@pytest.fixture(scope="module")
def path(model, batches, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "codes"
    return extract_codes(model, batches, path, split="test", batches_per_shard=2)


def test_tfds_reads_them(path, batches, expected):
    builder = tfds.builder_from_directory(path)
    assert builder.info.splits["test"].shard_lengths == [6, 6, 2]
    source = builder.as_data_source(split="test")
    for index, example in enumerate(source):
        np.testing.assert_array_equal(example["top"], expected[0][index])
        np.testing.assert_array_equal(example["bottom"], expected[1][index])
    np.testing.assert_array_equal(
        [example["label"] for example in source], np.concatenate([labels for _, labels in batches])
    )
    assert {file.suffix for file in path.iterdir()} == {
        ".json",
        *(f".array_record-0000{shard}-of-00003" for shard in range(3)),
    }


def test_grids_are_what_was_encoded(path, model, batches, expected):
    grids = CodeGrids(path, batch_size=4, split="test", shuffle=False)
    assert (len(grids), grids.num_examples, grids.level_names) == (4, 14, ["top", "bottom"])
    read = [grids[index] for index in range(4)]
    for level in range(2):
        codes = np.concatenate([codes[level] for codes, _ in read])
        np.testing.assert_array_equal(codes, expected[level])
        assert codes.dtype == np.int32
    assert model.decode(read[0][0]).shape == (4, 8, 12, 1)

    shuffled = CodeGrids(path, batch_size=4, split="test", seed=1)
    orders = []
    for _ in range(2):
        labels = [shuffled[index][1] for index in range(4)]
        orders.append(np.concatenate(labels))
        shuffled.on_epoch_end()
    assert not np.array_equal(*orders)
    truth = np.sort(np.concatenate([labels for _, labels in batches]))
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), truth)


@pytest.mark.parametrize("level", ["top", "bottom"])
def test_grids_feed_a_prior(path, batches, expected, level):
    """As they are: `fit` trains on them, and scores them as it scores arrays."""
    grids = CodeGrids(path, batch_size=7, split="test", shuffle=False, level=level)
    number = grids.level_names.index(level)
    labels = np.concatenate([labels for _, labels in batches])
    inputs = {"codes": expected[number], "labels": labels}
    if number:
        inputs["condition"] = expected[0]
    (first,), (second,) = grids[0], grids[1]
    assert first.keys() == inputs.keys()
    for name, values in inputs.items():
        np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), values)
    prior = PixelCNN(
        20, 4, 1, 3, 3, num_classes=10, condition_num_embeddings=20 if number else None
    )
    prior.compile(keras.optimizers.SGD(0.1))
    before = prior.evaluate(inputs, batch_size=7, verbose=0, return_dict=True)
    logs = prior.evaluate(grids, verbose=0, return_dict=True)
    assert logs["bits_per_dimension"] == pytest.approx(before["bits_per_dimension"], rel=1e-4)
    prior.fit(grids, epochs=2, verbose=0)
    assert int(prior.optimizer.iterations) == 4


def test_an_interrupted_extraction_goes_on(model, batches, expected, tmp_path):
    class StopError(Exception):
        pass

    class Batches:
        """A sized data set that notes what was read."""

        def __init__(self, stop):
            self.stop, self.read = stop, []

        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            if index == self.stop:
                raise StopError
            self.read.append(index)
            return batches[index][0]

    path = tmp_path / "codes"
    with pytest.raises(StopError):
        extract_codes(model, Batches(3), path, batches_per_shard=2)
    assert not path.exists()
    with pytest.raises(ValueError, match="another model or other arguments"):
        extract_codes(model, Batches(None), path, batches_per_shard=1)
    rest = Batches(None)
    extract_codes(model, rest, path, batches_per_shard=2)
    assert rest.read == [2, 3, 4]
    (codes,) = CodeGrids(path, batch_size=14, shuffle=False)[0]
    for level in range(2):
        np.testing.assert_array_equal(codes[level], expected[level])
    assert [file.name for file in tmp_path.iterdir()] == ["codes"]
    with pytest.raises(FileExistsError, match="exists"):
        extract_codes(model, rest, path)


def test_an_extraction_interrupted_at_its_end_goes_on(
    model, batches, expected, tmp_path, monkeypatch
):
    """Between the naming of the shards and their description."""

    class StopError(Exception):
        pass

    def stop(**_):
        raise StopError

    images = [images for images, _ in batches]
    with monkeypatch.context() as patch:
        patch.setattr(tfds.folder_dataset, "write_metadata", stop)
        with pytest.raises(StopError):
            extract_codes(model, images, tmp_path / "codes", batches_per_shard=2)
    assert len(list((tmp_path / "codes.partial").glob("codes-train.*"))) == 3
    extract_codes(model, images, tmp_path / "codes", batches_per_shard=2)
    (codes,) = CodeGrids(tmp_path / "codes", batch_size=14, shuffle=False)[0]
    for level in range(2):
        np.testing.assert_array_equal(codes[level], expected[level])


def test_a_data_set_of_tensorflow(model, batches, expected, tmp_path):
    images = np.concatenate([images for images, _ in batches])
    extract_codes(model, tf.data.Dataset.from_tensor_slices(images).batch(5), tmp_path / "codes")
    (codes,) = CodeGrids(tmp_path / "codes", batch_size=14, shuffle=False)[0]
    for level in range(2):
        np.testing.assert_array_equal(codes[level], expected[level])


@pytest.mark.parametrize("library", ["tensorflow_datasets", "array_record.python"])
def test_libraries_that_are_not_there(model, batches, path, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    for function in (
        lambda: CodeGrids(path, split="test"),
        lambda: extract_codes(model, batches, tmp_path / "codes"),
    ):
        with pytest.raises(ImportError, match=r'pip install "keras-sep\[tfds\]"'):
            function()
    assert not list(tmp_path.iterdir())


def test_one_shard_is_read_ahead_at_most(model, batches, tmp_path):
    """The first file is there before the first batch of the second shard is asked for."""

    def generator():
        for index, (images, _) in enumerate(batches):
            assert len(list((tmp_path / "codes.partial").glob("shard-?????"))) == index // 2
            yield images

    extract_codes(model, generator(), tmp_path / "codes", batches_per_shard=2)


def test_bad_arguments(model, path, tmp_path):
    with pytest.raises(ValueError, match="must be a VQVAE or VQVAE2, got Sequential"):
        extract_codes(keras.Sequential(), [], tmp_path / "codes")
    with pytest.raises(ValueError, match="at least one batch"):
        extract_codes(model, [], tmp_path / "codes")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="`split` must be one of test, got 'train'"):
        CodeGrids(path)
    with pytest.raises(ValueError, match="`level` must be one of top, bottom, got 'middle'"):
        CodeGrids(path, split="test", level="middle")
    with pytest.raises(ValueError, match="that extract_codes wrote"):
        CodeGrids(tmp_path)
