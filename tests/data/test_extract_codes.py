"""Codes on disk against `encode`, and extractions that are interrupted."""

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_sep.data import CodeGrids, extract_codes
from keras_sep.models import VQVAE2

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


def test_grids_feed_a_prior(path, model, batches, expected):
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
    with pytest.raises(ValueError, match="that extract_codes wrote"):
        CodeGrids(tmp_path)
