"""Crops of pictures whose pixels say where they are."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from keras_sep.data import ImageCrops

SHAPES = {"a.png": (40, 30), "deep/b.png": (16, 200), "c.png": (64, 64)}


def picture(name):
    """uint8 `(height, width, 3)`: picture, row and column."""
    height, width = SHAPES[name]
    pixels = np.zeros((height, width, 3), "uint8")
    pixels[..., 0] = list(SHAPES).index(name)
    pixels[..., 1] = np.arange(height)[:, None]
    pixels[..., 2] = np.arange(width)
    return pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "deep").mkdir()
    for name in SHAPES:
        Image.fromarray(picture(name)).save(folder / name)
    return folder


def pixels(batch):
    return np.round((batch + 1) * 127.5).astype(int)


def test_without_pillow(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "keras-sep\[pictures\]"'):
        ImageCrops(folder)


@given(
    st.integers(1, 16),
    st.integers(1, 5),
    st.integers(0, 2**40),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from([0.0, 1e-5, 1.0]),
)
def test_crops_are_parts_of_the_pictures(folder, size, batch_size, seed, epoch, mirror, cache):
    arguments = {"crop_size": size, "batch_size": batch_size, "num_batches": 3, "seed": seed}
    arguments |= {"mirror": mirror, "cache_gigabytes": cache}
    first, second = (ImageCrops(folder, **arguments) for _ in range(2))
    first.epoch = second.epoch = epoch
    second[0]
    (batch,) = first[1]
    assert batch.shape == (batch_size, size, size, 3)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, second[1][0])
    for crop in pixels(batch):
        whole = picture(list(SHAPES)[crop[0, 0, 0]])
        top, left = crop[0, :, 1].min(), crop[0, :, 2].min()
        part = whole[top : top + size, left : left + size]
        assert np.array_equal(crop, part) or (mirror and np.array_equal(crop, part[:, ::-1]))


def test_all_places_pictures_and_sides_occur(folder):
    crops = pixels(ImageCrops(folder, crop_size=16, batch_size=600, num_batches=1)[0][0])
    shares = np.bincount(crops[:, 0, 0, 0], minlength=3) / 600
    np.testing.assert_allclose(shares, 1 / 3, atol=0.08)
    assert np.mean(crops[:, 0, 0, 2] > crops[:, 0, 1, 2]) == pytest.approx(0.5, abs=0.08)
    first = crops[crops[:, 0, 0, 0] == 0]
    assert (first[:, 0, 0, 1].min(), first[:, -1, 0, 1].max()) == (0, 39)
    assert (first[..., 2].min(), first[..., 2].max()) == (0, 29)


def test_epochs_differ_unless_fixed(folder):
    def batches(**arguments):
        crops = ImageCrops(folder, crop_size=8, num_batches=2, **arguments)
        found = []
        for _ in range(2):
            found += [crops[index][0].tobytes() for index in range(2)]
            crops.on_epoch_end()
        return found

    assert len(set(batches())) == 4
    fixed = batches(fixed=True)
    assert fixed[:2] == fixed[2:]


def test_splits_do_not_share_pictures(tmp_path):
    for index in range(40):
        Image.fromarray(np.full((8, 8), index, "uint8")).save(tmp_path / f"{index}.png")
    arguments = {"crop_size": 8, "validation_split": 0.25, "channels": 1}
    both = [ImageCrops(tmp_path, subset=s, **arguments) for s in ("training", "validation")]
    training, validation = (set(crops.paths) for crops in both)
    assert not training & validation
    assert len(training | validation) == 40
    assert 4 <= len(validation) <= 16
    shown = set(np.unique(pixels(both[1][0][0])))
    assert shown <= {int(path.stem) for path in validation}


def test_grey_and_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((10, 20), 51, "uint8")).save(tmp_path / "side.jpg", exif=exif)
    (batch,) = ImageCrops(tmp_path, crop_size=10, batch_size=30, channels=1)[0]
    assert batch.shape == (30, 10, 10, 1)
    np.testing.assert_allclose(batch, -0.6, atol=0.02)
    from keras_sep.data.pictures import picture_size, read_picture

    assert picture_size(tmp_path / "side.jpg") == (20, 10)
    assert read_picture(tmp_path / "side.jpg").shape == (20, 10, 3)


def test_unusable_pictures_are_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (9, 5)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match=r"at least 8×8 pixels[^~]*broken.png[^~]*9×5 pixels"):
        ImageCrops(tmp_path, crop_size=8)
    Image.new("RGB", (9, 9)).save(tmp_path / "large.png")
    with pytest.warns(UserWarning, match=r"Skipped 2 pictures[^~]*broken.png"):
        crops = ImageCrops(tmp_path, crop_size=8)
    assert [path.name for path in crops.paths] == ["large.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_size": 0}, "`crop_size`"),
        ({"channels": 2}, "`channels` must be 1 or 3, got 2"),
        ({"cache_gigabytes": -1}, "`cache_gigabytes`"),
        ({"validation_split": 1.0}, "`validation_split`"),
        ({"subset": "training"}, "`subset`"),
        ({"batch_size": 0}, "`batch_size`"),
    ],
)
def test_arguments_out_of_range(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageCrops(folder, **arguments)
