"""Make the bundled codec of photographs: the priors, their scores and a model card.

    python examples/bundle_photographs_codec.py runs/photographs_top runs/photographs_bottom \\
        saved_models/photographs_codec --scores out/codec.json

The runs are finished ones of train_prior.py on the codes of saved_models/vq_vae_2_photographs_64;
`out/codec.json` is what tests/benchmarks/codec.py writes for their priors.
"""

import argparse
import json
import math
import shutil
from pathlib import Path

from bundling import (
    config_of,
    cpu_minutes,
    new_folder,
    read_log,
    reflowed,
    table,
    take_weights,
    write_json,
)

LEVELS = ("top", "bottom")

CARD = """# {name}

Compresses photographs: a `PixelCNN` (van den Oord et al. 2016, arXiv 1606.05328) for each level \
of the codes of `{vq_vae}`, through whose probabilities a range coder writes the codes.

```python
codec = keras_sep.codec.load_codec("photographs")
stream = codec.compress(images)  # images in -1 to 1, of any size
restored = codec.decompress(stream)
```

## Data and training

Codes of random crops of the photographs that the VQ-VAE-2 was trained on; the best epoch by those \
of its validation photographs is kept (`examples/data/PHOTOGRAPHS.md` says whose they are). \
`examples/train_prior.py` on 2 CPU cores with Adam, falling along a cosine:

{training}

`top.csv` and `bottom.csv` have the curves.

## Scores

Bits per code of random crops of the test photographs; the marginal entropy is what codes cost by \
how often each occurs, the last column what they cost in equal length:

{bits}

The codec on random crops of the test photographs, all of a size in one stream, beside JPEG \
(4:2:0) at the least quality with no larger error, and PNG, which loses nothing; MSE of pixels in \
-1 to 1:

{pixels}

{verdict}

## Licence

The weights are under Apache-2.0, as the package.

## Limits

The error is that of the VQ-VAE-2, and there is no other rate: what its codes cannot say is lost. \
Sixteen photographs taught the priors; on pictures unlike them codes take more bits. Streams come \
back on the same backend and kind of machine only.
"""


def training_table(runs: list[Path], priors: list) -> str:
    rows = []
    for name, run, prior in zip(LEVELS, runs, priors, strict=True):
        config, log = config_of(run), read_log(run)
        rows.append(
            [
                name,
                f"{prior.count_params():,}",
                f"{prior.num_layers} of {prior.filters}",
                f"{prior.num_attention_layers}",
                f"{prior.dropout}",
                f"{config['crops']:,} of {config['size']}×{config['size']}",
                f"{config['batch']}",
                f"{len(log)}",
                f"{config['learning_rate']}",
                f"{cpu_minutes(log):.0f}",
            ]
        )
    header = ["level", "parameters", "layers", "of attention", "dropout", "crops", "in a batch"]
    return table([*header, "epochs", "learning rate", "CPU minutes"], rows)


def bits_table(scores: dict, sizes: list[int], uniform: float) -> str:
    rows = [
        [
            name,
            f"{scores[name]['examples']:,} of {size}×{size}",
            f"{scores[name]['bits_per_code']:.2f}",
            f"{scores[name]['marginal_entropy']:.2f}",
            f"{uniform:.0f}",
        ]
        for name, size in zip(LEVELS, sizes, strict=True)
    ]
    return table(["level", "crops", "bits a code", "marginal entropy", "equal length"], rows)


def codec_table(rows: list[dict]) -> str:
    header = ["bits a pixel", *[f"{row['crops']} of {row['size']}×{row['size']}" for row in rows]]
    lines = [
        [name, *[f"{row['bits_per_pixel'][name]:.3f}" for row in rows]]
        for name in rows[0]["bits_per_pixel"]
    ]
    lines.append(["MSE of the codec", *[f"{row['mse']:.5f}" for row in rows]])
    lines.append(["MSE of JPEG", *[f"{row['jpeg_mse']:.5f}" for row in rows]])
    return table(header, lines)


def verdict(rows: list[dict]) -> str:
    """Who needs fewer bits, in words."""
    sentences = []
    for row in rows:
        bits = row["bits_per_pixel"]
        ours = bits["codec"]
        won = [name for name in ("JPEG", "JPEG without headers") if ours < bits[name]]
        if len(won) == 2:
            text = "the codec takes fewer bits than JPEG, also than JPEG without headers"
        elif won:
            text = "the codec takes fewer bits than JPEG, but more than JPEG without headers"
        else:
            text = "JPEG takes fewer bits than the codec"
        sentences.append(f"At {row['size']}×{row['size']} {text}.")
    return " ".join(sentences)


def main(top: Path, bottom: Path, bundle: Path, vq_vae: Path, scores: Path):
    runs, rows = [top, bottom], json.loads(scores.read_text())
    with new_folder(bundle) as folder:
        priors = [
            take_weights(run / "best.keras", folder / f"{name}.keras")
            for name, run in zip(LEVELS, runs, strict=True)
        ]
        for name, run in zip(LEVELS, runs, strict=True):
            shutil.copyfile(run / "log.csv", folder / f"{name}.csv")
        description = {
            "vq_vae": f"../{vq_vae.parent.name}/{vq_vae.name}",
            "priors": [f"{name}.keras" for name in LEVELS],
        }
        write_json(description, folder / "codec.json")
        configs = [config_of(run) for run in runs]
        write_json(dict(zip(LEVELS, configs, strict=True)), folder / "config.json")
        tests = [json.loads((run / "test.json").read_text()) for run in runs]
        bits = dict(zip(LEVELS, tests, strict=True))
        write_json({**bits, "codec": rows}, folder / "scores.json")
        text = {
            "name": bundle.name,
            "vq_vae": vq_vae.parent.name,
            "training": training_table(runs, priors),
            "bits": bits_table(
                bits, [config["size"] for config in configs], math.log2(priors[0].num_embeddings)
            ),
            "pixels": codec_table(rows),
            "verdict": verdict(rows),
        }
        (folder / "README.md").write_text(reflowed(CARD.format(**text)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("top", type=Path, help="run of the top level's prior")
    parser.add_argument("bottom", type=Path, help="run of the bottom level's prior")
    parser.add_argument("bundle", type=Path, help="folder to make")
    parser.add_argument(
        "--vq-vae",
        type=Path,
        default=Path("saved_models/vq_vae_2_photographs_64/vq_vae_2_photographs_64.keras"),
        help="in a folder beside the bundle",
    )
    parser.add_argument("--scores", type=Path, required=True, help="JSON of the codec's benchmark")
    main(**vars(parser.parse_args()))
