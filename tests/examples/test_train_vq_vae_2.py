"""The VQ-VAE-2 scripts on small pictures, recordings and data sets made up."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow_datasets as tfds
from PIL import Image

import keras_sep

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = (
    "--batch 2 --size 16 --levels 2 --strides 2 --codes 8 --embedding-dim 4 --hidden-dim 4 --no-jit"
)


@pytest.fixture(autouse=True)
def scripts_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        (folder / split).mkdir()
        for index in range(2):
            pixels = rng.integers(0, 256, (40, 50, 3), "uint8")
            Image.fromarray(pixels).save(folder / split / f"{index}.png")
    return folder


def options(out, source, arguments=""):
    import train_vq_vae_2

    command = [str(out), *map(str, source), *SMALL.split(), "--steps", "2", *arguments.split()]
    return train_vq_vae_2.parse(command)


def test_trains_goes_on_and_is_bundled(photographs, tmp_path, monkeypatch):
    import bundle_vq_vae_2
    import train_vq_vae_2

    run, bundle, source = tmp_path / "run", tmp_path / "tiny", ("--pictures", photographs)
    monkeypatch.setattr(train_vq_vae_2, "VALIDATION_BATCHES", 1)
    boards = f"--epochs 1 --cooldown 0 --tensorboard {tmp_path / 'board'}"
    train_vq_vae_2.main(options(run, source, boards))
    model = train_vq_vae_2.main(options(run, source, "--epochs 2 --cooldown 1"))
    assert list((tmp_path / "board").rglob("events*"))
    assert float(model.optimizer.iterations) == 4
    assert float(model.optimizer.learning_rate) == pytest.approx(5e-4)
    assert {path.name for path in run.iterdir()} == {
        *("backup", "best.json", "best.keras", "codes.png", "config.json", "curves.png"),
        *("log.csv", "reconstructions"),
    }
    assert len((run / "log.csv").read_text().splitlines()) == 3
    assert len(list((run / "reconstructions").iterdir())) == 2
    with pytest.raises(SystemExit, match=r"holds a run with other arguments \(size=16\)"):
        train_vq_vae_2.main(options(run, source, "--size 8"))

    monkeypatch.setattr(bundle_vq_vae_2, "TEST_BATCHES", 1)
    monkeypatch.setattr(bundle_vq_vae_2, "PICTURE_BATCHES", 1)
    where = {"trained_on": "PyTorch on an abacus"}
    bundle_vq_vae_2.main(run, photographs / "test", bundle, "photographs", 10, **where)
    assert {path.name for path in bundle.iterdir()} == {
        *("README.md", "codes.png", "config.json", "log.csv", "reconstructions.png"),
        *("scores.json", "tiny.keras"),
    }
    scores = json.loads((bundle / "scores.json").read_text())
    card = (bundle / "README.md").read_text()
    loaded = keras.saving.load_model(bundle / "tiny.keras")
    config = {"channels": 3, "mirror": True}
    crops = bundle_vq_vae_2.crops_of(photographs / "test", 16, config, 1)
    errors = keras.ops.convert_to_numpy(loaded.reconstruct(crops[0][0])) - crops[0][0]
    assert [row["size"] for row in scores["crops"]] == [16, 32]
    assert scores["crops"][0]["mse"] == pytest.approx(np.mean(errors**2), rel=1e-4)
    assert f"| 16×16 | {scores['crops'][0]['mse']:.5f} | " in card
    # 4×4 and 8×8 codes of 3 bits.
    assert scores["crops"][0]["bits_per_pixel"] == pytest.approx(80 * 3 / 256)
    assert "`examples/train_vq_vae_2.py` with PyTorch on an abacus: 4 steps of 2 crops" in card
    assert "32 random crops of each picture:\n\n| picture | MSE |" in card
    used = round(8 * scores["crops"][0]["bottom_usage"])
    assert f" | {used} of 8, {scores['crops'][0]['bottom_perplexity']:.0f} |\n| 32×32 | " in card


def test_trains_in_mixed_precision_on_a_set_of_tfds_and_goes_on(tmp_path, monkeypatch):
    import train_vq_vae_2

    run, source = tmp_path / "run", ("--dataset", "cifar10")
    monkeypatch.setattr(train_vq_vae_2, "VALIDATION_BATCHES", 1)
    with tfds.testing.mock_data(num_examples=10):
        for epochs in (1, 2):
            arguments = f"--epochs {epochs} --cooldown 0 --mixed-precision"
            model = train_vq_vae_2.main(options(run, source, arguments))
    assert float(model.optimizer.iterations) == 4
    assert model.dtype_policy.name == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    log = np.genfromtxt(run / "log.csv", delimiter=",", names=True)
    assert log["epoch"].tolist() == [0, 1]
    assert np.all(np.isfinite(log["val_loss"]))
    best = keras.saving.load_model(run / "best.keras", compile=False)
    assert best.dtype_policy.name == "mixed_bfloat16"


def test_runs_begun_before_an_option_existed(tmp_path):
    import train_vq_vae_2

    source = ("--speech", tmp_path)
    train_vq_vae_2.check_same_run(options(tmp_path / "run", source))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    del config["bins"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    train_vq_vae_2.check_same_run(options(tmp_path / "run", source))
    with pytest.raises(SystemExit, match=r"other arguments \(seed=0, bins=None\); repeat them"):
        train_vq_vae_2.check_same_run(options(tmp_path / "run", source, "--bins 8 --seed 1"))


def test_paragraphs_of_cards_are_filled():
    import bundling

    table, code = "| a |\n| - |", "```python\nx = 1\ny = 2\n```"
    card = "\n\n".join(["# name", "one\ntwo " + "word " * 30, table, code, "![a b](c.png)"])
    filled = "one two " + "word " * 17 + "word"
    rest = "word " * 11 + "word"
    expected = ["# name", f"{filled}\n{rest}", table, code, "![a b](c.png)"]
    assert bundling.reflowed(card) == "\n\n".join(expected) + "\n"


def test_cards_tell_what_the_first_hour_gave():
    import vq_vae_2_card

    errors = (0.3, 0.1, 0.2, 0.05)
    log = [{"seconds": "1200", "val_reconstruction_loss": str(error)} for error in errors]
    assert vq_vae_2_card.first_hour(log[:3]) == ""
    assert vq_vae_2_card.first_hour(log).endswith("60 minutes on the clock the best had 0.10000")


@pytest.mark.parametrize(
    ("name", "channels"), [("celeb_a_hq", 3), ("cifar10", 3), ("imagenet2012", 1), ("mnist", 3)]
)
def test_sets_of_tfds(tmp_path, name, channels):
    import train_vq_vae_2

    arguments = options(tmp_path, ("--dataset", name), f"--channels {channels}")
    with tfds.testing.mock_data(num_examples=3):
        training, validation = train_vq_vae_2.dataset(arguments)
        for images in (next(iter(training)), next(iter(validation))):
            assert images.shape == (2, 16, 16, channels)
            assert -1 <= images.numpy().min() < images.numpy().max() <= 1
    assert len(list(validation)) == train_vq_vae_2.VALIDATION_BATCHES


def test_sets_that_are_none_of_images(tmp_path, monkeypatch):
    import train_vq_vae_2

    with pytest.raises(SystemExit, match="must be a set of TensorFlow Datasets, got nothing"):
        train_vq_vae_2.dataset(options(tmp_path, ("--dataset", "nothing")))
    with pytest.raises(SystemExit, match="must be a set of images, got imdb_reviews"):
        train_vq_vae_2.dataset(options(tmp_path, ("--dataset", "imdb_reviews")))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(SystemExit, match=r"pip install 'keras-sep\[tfds\]'"):
        train_vq_vae_2.dataset(options(tmp_path, ("--dataset", "cifar10")))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    for index in range(30):
        soundfile.write(folder / f"{index}.flac", 0.1 * rng.normal(size=3000), 8000)
    return folder


def test_spectrograms_of_speech(recordings, tmp_path):
    import train_vq_vae_2

    training, validation = train_vq_vae_2.speech(options(tmp_path, ("--speech", recordings)))
    assert training[1][0].shape == validation[0][0].shape == (2, 16, 16, 1)


def test_speech_is_bundled(recordings, tmp_path, monkeypatch):
    import bundle_vq_vae_2
    import train_vq_vae_2

    run, bundle, source = tmp_path / "run", tmp_path / "tiny", ("--speech", recordings)
    monkeypatch.setattr(train_vq_vae_2, "VALIDATION_BATCHES", 1)
    train_vq_vae_2.main(options(run, source, "--bins 8 --levels 1 --epochs 1"))
    with Image.open(run / "reconstructions" / "epoch_0001.png") as picture:
        # Two spectrograms: frames to the right, and below their reconstructions.
        assert picture.size == (2 * 18, 2 * 10)
    monkeypatch.setattr(bundle_vq_vae_2, "TEST_BATCHES", 1)
    bundle_vq_vae_2.main(run, recordings, bundle, "speech", 5, recordings)
    scores = json.loads((bundle / "scores.json").read_text())
    card = (bundle / "README.md").read_text()
    loaded = keras.saving.load_model(bundle / "tiny.keras")
    config = json.loads((bundle / "config.json").read_text())
    spectrograms = bundle_vq_vae_2.spectrograms_of(recordings, config, 1)[0][0]
    errors = keras.ops.convert_to_numpy(loaded.reconstruct(spectrograms)) - spectrograms
    assert [row["voices"] for row in scores["voices"]] == [recordings.name] * 2
    score = scores["voices"][0]
    assert score["mse"] == pytest.approx(np.mean(errors**2), rel=1e-4)
    # A unit is 50 dB. 8×4 codes of 3 bits in 16 frames, 64 samples apart at 8 kHz.
    assert score["error_db"] == pytest.approx(np.sqrt(np.mean((50 * errors) ** 2)), rel=1e-4)
    assert score["bits_per_second"] == pytest.approx(96 / 0.128)
    row = f"| {recordings.name} | {score['mse']:.5f} | {score['error_db']:.1f} dB | 750 | "
    assert row in card
    assert "16 frames of 8 frequencies, as 8×4 codes" in card
    with Image.open(bundle / "reconstructions.png") as picture:
        # Frames to the right: eight in a row; two rows and below each its reconstructions.
        assert picture.size == (8 * 18, 4 * 10)


@pytest.mark.parametrize(("size", "other"), [(64, 128), (128, 64)])
def test_photographs_are_scored_at_two_sizes(monkeypatch, size, other):
    import bundle_vq_vae_2

    monkeypatch.setattr(bundle_vq_vae_2, "crops_of", lambda *arguments: arguments[1])
    monkeypatch.setattr(bundle_vq_vae_2, "score", lambda model, size: ({"mse": size}, size))
    model = keras_sep.models.VQVAE2(8, 4, 4, 4)
    rows, counts = bundle_vq_vae_2.score_crops(model, None, "photographs", {"size": size})
    assert [(row["size"], row["mse"]) for row in rows] == [(size, size), (other, other)]
    assert counts == size
    assert len(bundle_vq_vae_2.score_crops(model, None, "digits", {"size": size})[0]) == 1


def test_photographs_are_those_of_the_table(tmp_path, monkeypatch):
    """Fetching, with two packages' files made up under the names in PHOTOGRAPHS.md."""
    monkeypatch.syspath_prepend(EXAMPLES / "data")
    import fetch_photographs

    lines = (EXAMPLES / "data" / "PHOTOGRAPHS.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if ".jpg |" in line]
    splits = {row[0]: row[1] for row in rows}

    def unpack(command):
        package = Path(command[2]).name.split("_")[0]
        folder = Path(command[3]) / fetch_photographs.FOLDERS[package]
        folder.mkdir(parents=True)
        for row in rows:
            if row[3] == package:
                (folder / row[0]).write_text(row[0])
        for name in fetch_photographs.NOT_PHOTOGRAPHS:
            (folder / name).write_text("no photograph")
        return type("Result", (), {"returncode": 0})

    monkeypatch.setattr(fetch_photographs, "run", unpack)
    for package in fetch_photographs.FOLDERS:
        (tmp_path / f"{package}_1.deb").write_text("")
    arguments = ["--out", str(tmp_path / "photographs"), "--cache", str(tmp_path)]
    assert fetch_photographs.main(arguments) == 0
    files = list((tmp_path / "photographs").glob("*/*"))
    assert {file.name: file.parent.name for file in files} == splits
    assert len(splits) == 25
    assert all(file.read_text() == file.name for file in files)


@pytest.mark.parametrize(
    ("jit", "flags", "gpus", "tensorflow"),
    [
        (None, "avx2 fma", [], True),
        (None, "avx512f avx512_vnni", [], False),
        (None, "avx2 avx_vnni", [], False),
        (None, "avx512f avx512_vnni", ["gpu:0"], True),
        (True, "avx512f avx512_vnni", [], True),
        (False, "avx2 fma", [], False),
    ],
)
def test_what_xla_compiles(tmp_path, monkeypatch, jit, flags, gpus, tensorflow):
    import train_vq_vae_2

    monkeypatch.setattr(keras.distribution, "list_devices", lambda kind: gpus)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags : fpu {flags}\n")
    expected = {"tensorflow": tensorflow, "jax": jit is not False, "torch": False}
    assert train_vq_vae_2.uses_xla(jit, cpuinfo) == expected[keras.backend.backend()]


def test_xla_where_the_processor_is_not_known(tmp_path):
    import train_vq_vae_2

    uses_xla = train_vq_vae_2.uses_xla(None, tmp_path / "missing")
    assert uses_xla == (keras.backend.backend() != "torch")
