"""The example scripts, on synthetic voices and small models."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from keras_sep.callbacks import BestModel
from keras_sep.export import LoadedClassifier
from keras_sep.models import ConvTasNet

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def scripts_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for split in ("train", "valid", "test", "unseen"):
        for speaker in "abc":
            path = folder / split / speaker / "1.flac"
            path.parent.mkdir(parents=True)
            soundfile.write(path, 0.1 * rng.normal(size=20000), 8000)
    return folder


def test_train_conv_tasnet(corpus, tmp_path):
    import train_conv_tasnet

    train_conv_tasnet.main(corpus, tmp_path, epochs=1, steps=2, segment_seconds=0.25)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"backup", "best.json", "best.keras", "curves.png", "log.csv"}


def test_bundle_separator(corpus, tmp_path, monkeypatch):
    import bundle_separator

    run_folder, bundle = tmp_path / "run", tmp_path / "tiny_8k"
    run_folder.mkdir()
    model = ConvTasNet(
        filters=16, bottleneck_dim=8, hidden_dim=8, skip_dim=8, num_blocks=1, num_repeats=1
    )
    model.build((None, None))
    best = BestModel(run_folder / "best.keras")
    best.set_model(model)
    best.on_epoch_end(0, {"val_si_snr_improvement": 1.5})
    config = {
        "steps": 500,
        "optimizer": "muon",
        "batch_size": 8,
        "segment_seconds": 2.0,
        "speed_change": [0.9, 1.1],
        "ema": 0.999,
        "valid_mixtures": 200,
    }
    (run_folder / "config.json").write_text(json.dumps(config))
    (run_folder / "log.csv").write_text(
        "epoch,learning_rate,val_si_snr_improvement\n0,0.001,1.5\n1,0.0005,1.2\n"
    )
    monkeypatch.setattr(bundle_separator, "NUM_MIXTURES", 3)
    monkeypatch.setattr(bundle_separator, "LENGTHS", {"segments": 0.5, "whole_files": None})
    monkeypatch.setattr(bundle_separator, "PROMPTS", ("a", "b"))
    bundle_separator.main(run_folder, corpus, bundle)
    names = {path.name for path in bundle.iterdir()}
    assert names == {"1", "README.md", "config.json", "log.csv", "scores.json", "tiny_8k.keras"}
    scores = json.loads((bundle / "scores.json").read_text())
    card = (bundle / "README.md").read_text()
    assert set(scores) == {"segments", "whole_files"}
    for rows in scores.values():
        assert set(rows) == {"test", "unseen", "prompts"}
        assert rows["test"]["si-snri"]["mixtures"] == 3
        assert f"| test | {rows['test']['si-snri']['mean']:.2f} (" in card
        assert f" | {rows['test']['unprocessed']['stoi']['mean']:.3f} → " in card
    assert scores["segments"]["test"]["seconds"] == 0.5
    assert scores["whole_files"]["test"]["seconds"] == 2.5
    assert "500 steps of 8 mixtures" in card


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Hums and hisses, a folder by class."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    for n in range(10):
        hum = 0.3 * np.sin(2 * np.pi * rng.uniform(150, 400) * np.arange(16000) / 16000)
        for name, waveform in (("hum", hum), ("hiss", 0.1 * rng.normal(size=16000))):
            (folder / name).mkdir(exist_ok=True)
            soundfile.write(folder / name / f"{n}.wav", waveform, 16000)
    return folder


def test_sound_classifier_from_training_to_bundle(sounds, tmp_path, monkeypatch, capsys):
    import bundle_sound_classifier
    import train_sound_classifier

    run_folder, bundle = tmp_path / "run", tmp_path / "tiny_16k"
    arguments = [str(sounds), str(run_folder), "--alpha", "0.0625", "--batch-size", "4"]
    arguments += ["--epochs", "2", "--steps", "2", "--mixup", "0.2", "--quiet"]
    arguments += ["--valid-batches", "1", "--seed", "3"]
    seeds = []

    class Patches(train_sound_classifier.SoundPatches):
        def __init__(self, *files, **options):
            super().__init__(*files, **options)
            seeds.append(self.seed)

    monkeypatch.setattr(train_sound_classifier, "SoundPatches", Patches)
    train_sound_classifier.main(arguments)
    names = {path.name for path in run_folder.iterdir()}
    assert names == {
        "backup",
        "best.json",
        "best.keras",
        "config.json",
        "confusion.png",
        "curves.png",
        "log.csv",
        "scores.json",
        "time.json",
    }
    scores = json.loads((run_folder / "scores.json").read_text())
    assert scores["class_names"] == ["hiss", "hum"]
    assert np.sum(scores["files"], axis=1).tolist() == [1, 1]
    assert np.sum(scores["patches"], axis=1).tolist() == [2, 2]
    assert "mean of classes" in capsys.readouterr().out
    # Finished: the second start only scores again.
    log = (run_folder / "log.csv").read_text()
    train_sound_classifier.main(arguments)
    assert (run_folder / "log.csv").read_text() == log
    assert seeds == 4 * [3]
    with pytest.raises(SystemExit, match=r"other arguments \(mixup=0.2\)"):
        train_sound_classifier.main([*arguments, "--mixup", "0.4"])

    bundle_sound_classifier.main(run_folder, sounds, bundle, about="SOUNDS.md")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tiny")] == [
        "tiny_16k"
    ]
    names = {path.name for path in bundle.iterdir()}
    files = {"1", "README.md", "config.json", "confusion.png", "log.csv", "scores.json"}
    assert names == files | {"tiny_16k.keras"}
    card = (bundle / "README.md").read_text()
    assert f"The recordings of `{sounds.name}`, 16 for training, 2 for validation, 2" in card
    assert "(`SOUNDS.md` says what they are" in card
    assert "Always answering hiss would be right about 50.0% of the files" in card
    mean = train_sound_classifier.accuracies(scores["files"])[1]
    assert f"the mean of classes,\n{mean:.1%} where chance is 50%" in card
    assert "hiss has 1, so that one more right or\nwrong moves its score by 100%" in card
    assert "4 steps of\n4 patches" in card
    bundled = json.loads((bundle / "scores.json").read_text())
    assert bundled["full_band"]["files"] == scores["files"]
    right = bundled["telephone_band"]["patches"][0][0]
    assert f"| {right} of 2 |" in card.split("| hiss |")[1].splitlines()[0] + "|"
    with pytest.raises(SystemExit, match="tiny_16k exists; remove it"):
        bundle_sound_classifier.main(run_folder, sounds, bundle)


def test_confusion_counts_files_and_patches(sounds):
    import train_sound_classifier as script

    class Ear:
        class_names = ("hiss", "hum")
        sample_rate, patch_samples, patch_hop_samples = 16000, 8000, 8000

        def __call__(self, waveforms):
            crossings = (np.diff(np.sign(waveforms)) != 0).mean(axis=1)
            return np.stack([crossings > 0.2, crossings <= 0.2], axis=1).astype("float32")

    files = {name: sorted((sounds / name).glob("*.wav")) for name in Ear.class_names}
    scores = script.score(script.Classifier(Ear()), files)
    assert scores == {"files": [[10, 0], [0, 10]], "patches": [[20, 0], [0, 20]]}
    swapped = script.score(script.Classifier(Ear()), {"hiss": files["hum"], "hum": files["hiss"]})
    assert swapped["files"] == [[0, 10], [10, 0]]
    assert script.accuracies([[3, 1], [0, 1]]) == (0.8, 0.875)


def test_bundled_mixtures_are_the_sums_of_their_references():
    folders = [path.parent for path in (EXAMPLES / "data" / "mixtures").glob("*/mixture.wav")]
    assert len(folders) == 3
    for folder in folders:
        mixture, rate = soundfile.read(folder / "mixture.wav")
        references = [soundfile.read(path)[0] for path in folder.glob("reference*.wav")]
        assert rate == 8000
        assert len(references) == 2
        np.testing.assert_allclose(mixture, sum(references), atol=1e-4)


def test_demo_separates_the_bundled_mixtures(tmp_path, capsys):
    import demo

    demo.main(tmp_path)
    voices = sorted(path.name for path in tmp_path.glob("*.wav"))
    assert len(voices) == 6
    assert (tmp_path / "demo.png").stat().st_size > 50_000
    table = capsys.readouterr().out
    gains = [float(line.split("│")[2]) for line in table.splitlines() if "_and_" in line]
    assert len(gains) == 3
    assert min(gains) > 3, "the bundled model separates"


def test_mobilenet_cost(tmp_path, capsys):
    import mobilenet_cost

    rows = mobilenet_cost.main(tmp_path / "cost.png", channels=[4, 8], size=6, repeats=2)
    assert (tmp_path / "cost.png").stat().st_size > 10_000
    assert len(rows) == 4
    for row in rows:
        for quantity in ("parameters", "multiply_adds"):
            assert mobilenet_cost.ratio(row, quantity) == pytest.approx(mobilenet_cost.theory(row))
        assert min(row["full"]["seconds"], row["separable"]["seconds"]) > 0
    assert "1/N + 1/D_K²" in capsys.readouterr().out


def test_make_mixtures(corpus, tmp_path, monkeypatch):
    sys.path.insert(0, str(EXAMPLES / "data"))
    try:
        import make_mixtures
    finally:
        sys.path.pop(0)
    monkeypatch.setattr(make_mixtures, "PAIRS", [("a", "b", 3)])
    make_mixtures.main(corpus / "test", tmp_path)
    assert sorted(path.name for path in (tmp_path / "a_and_b").iterdir()) == [
        "mixture.wav",
        "reference1.wav",
        "reference2.wav",
    ]


def test_models_in_saved_models_have_a_card():
    cards = list((EXAMPLES.parent / "saved_models").glob("*/README.md"))
    assert cards
    for model in (card.parent for card in cards):
        assert "## Limits" in (model / "README.md").read_text()
        files = list(model.glob("*.keras"))
        assert files
        for file in files:
            keras.saving.load_model(file)
        assert bytes_of(model) <= 8 * 2**20
        if model.name == "sound_classifier_16k":
            assert bytes_of(model) <= 4 * 2**20
        if model.name == "digits_generator":
            assert bytes_of(model) + bytes_of(model.with_name("vq_vae_digits")) <= 6e6


def bytes_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_bundled_sound_classifier_and_its_saved_model_agree():
    """But for rounding: the SavedModel's normalizations are folded.

    Noise at -60 dB lies under the tone: bands without any sound hold the Fourier transform's own
    rounding (1e-7 of the tone), which differs between libraries and which the logarithm shows.
    """
    folder = EXAMPLES.parent / "saved_models" / "sound_classifier_16k"
    model = keras.saving.load_model(folder / f"{folder.name}.keras")
    served = LoadedClassifier(folder / "1")
    assert served.class_names == model.class_names
    rng = np.random.default_rng(0)
    seconds = np.arange(24000) / 16000
    noise = rng.normal(size=24000)
    waveforms = np.stack([0.1 * noise, np.sin(2 * np.pi * 220 * seconds) + 1e-3 * noise])
    probabilities = model.predict_on_batch(waveforms.astype("float32"))
    np.testing.assert_allclose(served(waveforms), probabilities, atol=1e-4)
