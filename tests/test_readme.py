"""Every snippet of the README runs, with sizes that a test can afford."""

import io
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from keras_sep.cli import main
from keras_sep.convert import to_torchaudio
from keras_sep.models import ConvTasNet, SoundClassifier

README = Path(__file__).parents[1] / "README.md"

# The same calls on a small model, briefly.
SMALLER = {
    "num_batches=1000": "num_batches=2",
    "epochs=100": "epochs=1",
    "segment_seconds=4.0": "segment_seconds=0.25",
    "ConvTasNet(num_sources=2,": "ConvTasNet(num_sources=2, filters=16, bottleneck_dim=8, "
    "hidden_dim=8, skip_dim=8, num_blocks=2, num_repeats=1,",
    "keras-sep train": "keras-sep train --filters 16 --bottleneck-dim 8 --hidden-dim 8 "
    "--skip-dim 8 --num-blocks 2 --num-repeats 1 --segment-seconds 0.25 --steps 2 "
    "--valid-mixtures 4 --epochs 1",
    "keras-sep evaluate": "keras-sep evaluate --mixtures 2",
    "crop_size=64, batch_size=32, num_batches=200": "crop_size=16, batch_size=2, num_batches=2",
    "epochs=20": "epochs=1",
    "VQVAE2(num_embeddings=512,": "VQVAE2(num_embeddings=8, embedding_dim=4, hidden_dim=4, "
    "residual_dim=2, num_residual_blocks=1,",
    "num_embeddings=512, filters=64, num_layers=8": "num_embeddings=8, filters=4, num_layers=1",
    "condition_num_embeddings=512": "condition_num_embeddings=8",
}


def snippets(language):
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    text = "".join(blocks)
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return text


def small_model(**arguments):
    sizes = {"filters": 8, "bottleneck_dim": 4, "hidden_dim": 4, "skip_dim": 4, "num_repeats": 1}
    model = ConvTasNet(**sizes, **arguments)
    model.build((None, None))
    return model


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for speaker in "abc":
        for take in range(20):
            split = "train" if take < 15 else "valid"
            path = tmp_path / "corpus" / split / speaker / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.normal(size=4000), 8000)
    (tmp_path / "photographs" / "train").mkdir(parents=True)
    picture = Image.fromarray(rng.integers(0, 256, (20, 24, 3), "uint8"))
    picture.save(tmp_path / "photographs" / "train" / "noise.png")
    soundfile.write("meeting.wav", 0.1 * rng.normal(size=16000), 16000)
    small_model(causal=True, normalization="cumulative").save("causal.keras")
    return tmp_path


def test_python(workplace):
    namespace = {}
    exec(compile(snippets("python"), str(README), "exec"), namespace)
    assert namespace["voices"].shape == (2, 16000)
    assert namespace["heard"].shape[0] == namespace["rest"].shape[0] == 2
    assert tuple(namespace["sources"].shape) == (1, 3, 8000)
    assert (workplace / "mine.keras").exists()
    assert namespace["reconstruction"].shape == namespace["rough"].shape == (2, 16, 16, 3)
    assert namespace["drawn"].shape == (16, 16, 16, 3)
    assert namespace["completed"].shape == (2, 16, 16, 3)
    assert namespace["restored"].shape == (2, 16, 16, 3)
    (grids,) = namespace["bottom_grids"][0]
    assert {name: codes.shape for name, codes in grids.items()} == {
        "codes": (4, 4, 4),
        "condition": (4, 2, 2),
    }
    assert namespace["shapes"] == [(32, 32), (64, 64)]
    assert round(namespace["ratio"], 1) == 34.1
    assert (workplace / "saved_models" / "codec" / "1" / "saved_model.pb").exists()


def test_shell(workplace, monkeypatch):
    fixtures = Path(__file__).parent / "convert" / "fixtures"
    shutil.copy(fixtures / "asteroid_global.pth", "pytorch_model.bin")
    to_torchaudio(small_model(), "state_dict.pt")
    Path("runs/sounds").mkdir(parents=True)
    SoundClassifier(["speech", "music"], alpha=1 / 16).save("runs/sounds/best.keras")
    lines = re.sub(r"\\\n *", "", snippets("sh")).splitlines()
    stages = [stage.strip() for line in lines for stage in line.split(" #")[0].split("|")]
    commands = [shlex.split(stage) for stage in stages if stage.startswith("keras-sep")]
    assert len(commands) == 15
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(1000))))
    for command in commands:
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code, command
    assert len(list((workplace / "out").rglob("*.wav"))) == 4


def test_make_targets_and_scripts_exist():
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"(?m)(?:^|`)make ([a-z]+)", README.read_text()):
        assert f"\n{target}:" in makefile
    for path in re.findall(r"(?:examples|tests|saved_models)/[\w/]*\w\.\w+", README.read_text()):
        assert (README.parent / path).exists(), path
