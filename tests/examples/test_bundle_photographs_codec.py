"""The bundle of a codec: what the package loads, its card, and no half of it."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from keras_sep.codec import load_codec
from keras_sep.models import VQVAE2, PixelCNN

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("bundle_photographs_codec")


def make_run(folder, bits, condition=None):
    small = {"filters": 2, "num_layers": 1, "kernel_size": 3}
    folder.mkdir()
    PixelCNN(8, condition_num_embeddings=condition, **small).save(folder / "best.keras")
    config = {"pictures": "/here/photographs", "vq_vae": "/here/vq_vae.keras"}
    config |= {"crops": 4096, "size": 128, "batch": 8, "learning_rate": 0.003}
    (folder / "config.json").write_text(json.dumps(config))
    scores = {"examples": 2048, "bits_per_code": bits, "marginal_entropy": 2.75}
    (folder / "test.json").write_text(json.dumps(scores))
    (folder / "log.csv").write_text("epoch,cpu_seconds\n0,60\n1,60\n")
    return folder


def make_score(size, codec):
    bits = {"codec": codec, "JPEG": 0.5, "JPEG without headers": 0.125}
    return {"size": size, "crops": 4, "mse": 0.005, "jpeg_mse": 0.0049, "bits_per_pixel": bits}


def test_bundle(script, tmp_path):
    runs = make_run(tmp_path / "top", 1.5), make_run(tmp_path / "bottom", 2.5, 8)
    vq_vae = tmp_path / "models" / "vq_vae" / "vq_vae.keras"
    vq_vae.parent.mkdir(parents=True)
    sizes = {"hidden_dim": 2, "residual_dim": 2, "num_residual_blocks": 1, "channels": 1}
    model = VQVAE2(8, 2, **sizes)
    model.save(vq_vae)
    scores = tmp_path / "codec.json"
    scores.write_text(json.dumps([make_score(64, 0.25), make_score(256, 0.0625)]))
    bundle = tmp_path / "models" / "codec"

    (runs[1] / "test.json").rename(tmp_path / "kept.json")
    with pytest.raises(FileNotFoundError):
        script.main(*runs, bundle, vq_vae, scores)
    assert [path.name for path in bundle.parent.iterdir()] == ["vq_vae"]
    (tmp_path / "kept.json").rename(runs[1] / "test.json")

    script.main(*runs, bundle, vq_vae, scores)
    card = (bundle / "README.md").read_text()
    assert "| bottom | 2,048 of 128×128 | 2.50 | 2.75 | 3 |" in card
    assert "| JPEG | 0.500 | 0.500 |" in card
    assert "At 64×64 the codec takes fewer bits than JPEG, but more than JPEG without" in card
    assert "At 256×256 the codec takes fewer bits than JPEG, also than" in card.replace("\n", " ")
    assert "/here" not in (bundle / "config.json").read_text()
    image = np.random.default_rng(0).uniform(-1, 1, (16, 24, 1)).astype("float32")
    codec = load_codec(bundle)
    expected = ops.convert_to_numpy(model.reconstruct(image[None]))[0]
    np.testing.assert_allclose(codec.decompress(codec.compress(image)), expected, atol=1e-6)
    with pytest.raises(SystemExit, match="exists; remove it"):
        script.main(*runs, bundle, vq_vae, scores)
    with pytest.raises(ValueError, match="name must be photographs or the folder of a codec"):
        load_codec(vq_vae.parent)
