"""Every snippet of the README runs, with sizes that a test can afford."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keras_sep.cli import main
from keras_sep.convert import to_torchaudio
from keras_sep.models import ConvTasNet

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
}


def snippets(language):
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    text = "".join(blocks)
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return text


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for speaker in "abc":
        for take in range(20):
            path = tmp_path / "corpus" / speaker / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.normal(size=4000), 8000)
    soundfile.write("meeting.wav", 0.1 * rng.normal(size=16000), 16000)
    return tmp_path


def test_python(workplace):
    namespace = {}
    exec(compile(snippets("python"), str(README), "exec"), namespace)
    assert namespace["voices"].shape == (2, 16000)
    assert tuple(namespace["sources"].shape) == (1, 3, 8000)
    assert (workplace / "mine.keras").exists()


def test_shell(workplace, monkeypatch):
    fixtures = Path(__file__).parent / "convert" / "fixtures"
    shutil.copy(fixtures / "asteroid_global.pth", "pytorch_model.bin")
    model = ConvTasNet(filters=8, bottleneck_dim=4, hidden_dim=4, skip_dim=4, num_repeats=1)
    model.build((None, None))
    to_torchaudio(model, "state_dict.pt")
    lines = [line.split(" #")[0].strip() for line in snippets("sh").splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("keras-sep")]
    assert len(commands) == 8
    for index, command in enumerate(commands):
        monkeypatch.setattr(sys, "argv", [*command, *(["--overwrite"] if index == 2 else [])])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code, command
    assert len(list((workplace / "out").glob("*.wav"))) == 2


def test_make_targets_and_scripts_exist():
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"(?m)[`^]make ([a-z]+)", README.read_text()):
        assert f"\n{target}:" in makefile
    for path in re.findall(
        r"(?:examples|tests|docs|saved_models)/[\w/]*\w\.\w+", README.read_text()
    ):
        assert (README.parent / path).exists(), path
