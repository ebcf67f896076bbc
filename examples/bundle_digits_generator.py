"""Make the bundled generator of digits: prior, classifier, scores, a picture and model card.

    python examples/bundle_digits_generator.py runs/prior runs/classifier/best.keras \\
        saved_models/digits_generator --judge runs/judge/best.keras

`runs/prior` is a finished run of train_prior.py on the codes of saved_models/vq_vae_digits, the
classifiers are of runs of train_mobilenet.py. Draws 1,000 digits, with and without rejection, and
counts those that the judge, another MobileNet than the one which rejects, recognizes.
"""

import argparse
import json
import shutil
from pathlib import Path

import keras
import numpy as np
from bundling import config_of, cpu_minutes, new_folder, read_log, take_weights, write_json
from rich.progress import Progress

from keras_sep.inference.generator import Generator, draw_grid
from keras_sep.models.generation import class_log_probabilities

SAMPLES, SHOWN = 1000, 100

CARD = """# digits_generator

Draws handwritten digits of 28×28 pixels: a `PixelCNN` (van den Oord et al. 2016, arXiv 1606.05328)
of {parameters:,} parameters over the 7×7 codes of `vq_vae_digits`, given the digit, and a MobileNet
that keeps the half of the drawn digits that it is surest of (Razavi et al. 2019, arXiv 1906.00446,
section 3.3).

```
keras-sep generate digits --label 7 -n 16 -o grid.png
```

## Data and training

The codes of 10,000 handwritten digits (`examples/data/DIGITS.md` says whose they are): 80 % to
train on, of which a tenth is for validation, and 20 % for the test. `examples/train_prior.py` on
2 CPU cores: {num_layers} layers of {filters} filters, kernels of {kernel_size}×\
{kernel_size}, dropout {dropout},
batches of {batch}, Adam at {learning_rate} falling along a cosine over {epochs} epochs;
{cpu_minutes:.0f} minutes of CPU time. The best epoch by validation is kept. `log.csv` has the
curve.

## Scores

{bits_per_code:.2f} bits per code on the {examples:,} test digits, where the marginal distribution
of their codes has {marginal_entropy:.2f}, and codes of equal length 7.

Of 1,000 digits, 100 of each class, {settings}, two MobileNets recognize, which
`examples/train_mobilenet.py` trained apart on the same digits:

| | right about test digits | drawn without rejection | after rejection at one half |
| --- | ---: | ---: | ---: |
{rows}

Digits after rejection, a column for each class, chosen by seed, not by look:

![digits](samples.png)

## Licence

The weights are under Apache-2.0, as the package.

## Limits

Digits only, as in the set; rejection makes them plainer: odd ones are what it drops. The classifier
that rejects has learned from the same digits as the prior, and so has the one that judges.
A top-p below 1 was chosen by how many digits of an earlier prior a third such classifier
recognized; the one in the first row had no part in it. It makes the digits plainer too.
"""


def recognized(classifier, images, labels) -> float:
    return float(np.mean(class_log_probabilities(classifier, images).argmax(-1) == labels))


def main(run: Path, classifier: Path, bundle: Path, vq_vae: Path, judge: Path, top_p: float):
    with new_folder(bundle) as folder:
        fill(folder, run, classifier, vq_vae, judge, top_p)


def fill(folder: Path, run: Path, classifier: Path, vq_vae: Path, judge: Path, top_p: float):
    prior = take_weights(run / "best.keras", folder / "prior.keras")
    take_weights(classifier, folder / "classifier.keras")
    shutil.copyfile(run / "log.csv", folder / "log.csv")
    config = config_of(run)
    write_json(config, folder / "config.json")
    description = {
        "vq_vae": f"../{vq_vae.parent.name}/{vq_vae.name}",
        "priors": ["prior.keras"],
        "classifier": "classifier.keras",
        "size": [28, 28],
        "class_names": [str(digit) for digit in range(10)],
        "settings": {"top_p": top_p} if top_p < 1 else {},
    }
    write_json(description, folder / "generator.json")

    generator = Generator(folder)
    classifiers = {"another MobileNet": judge, "the one that rejects": classifier}
    labels = np.arange(SAMPLES) % 10
    images = {}
    with Progress() as progress:
        for reject in (False, True):
            task = progress.add_task("drawing", total=100)
            images[reject] = generator.generate(
                SAMPLES,
                reject=reject,
                seed=0,
                progress=lambda done, _, task=task: progress.update(task, completed=done),
            )
    scores = json.loads((run / "test.json").read_text())
    scores["recognized"], rows = {}, []
    for name, path in classifiers.items():
        model = keras.saving.load_model(path, compile=False)
        plain, kept = (recognized(model, images[reject], labels) for reject in (False, True))
        real = json.loads((path.parent / "test.json").read_text())["accuracy"]
        scores["recognized"][name] = {"test": real, "all": plain, "kept": kept}
        rows.append(f"| {name} | {real:.2%} | {plain:.1%} | {kept:.1%} |")
    write_json(scores, folder / "scores.json")
    draw_grid(images[True][:SHOWN], folder / "samples.png")

    log = read_log(run)
    text = {
        **config,
        **prior.get_config(),
        **scores,
        "parameters": prior.count_params(),
        "epochs": len(log),
        "cpu_minutes": cpu_minutes(log),
        "rows": "\n".join(rows),
        "settings": f"top-p {top_p}" if top_p < 1 else "temperature 1",
    }
    (folder / "README.md").write_text(CARD.format(**text))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("classifier", type=Path, help=".keras file of a MobileNet, to reject with")
    parser.add_argument("bundle", type=Path, help="folder to make")
    parser.add_argument(
        "--vq-vae",
        type=Path,
        default=Path("saved_models/vq_vae_digits/vq_vae_digits.keras"),
        help="in a folder beside the bundle",
    )
    parser.add_argument(
        "--judge", type=Path, required=True, help=".keras file of another run's MobileNet"
    )
    parser.add_argument("--top-p", type=float, default=1.0, help="see PixelCNN.sample")
    main(**vars(parser.parse_args()))
