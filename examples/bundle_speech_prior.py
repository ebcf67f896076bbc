"""Make the bundled prior of speech: weights, scores, a continued recording and a model card.

    python examples/bundle_speech_prior.py runs/voices/prior recording.wav \\
        saved_models/speech_prior_8k --credit "Voice of Jane Doe, CC BY 4.0"

The run is a finished one of continue_speech.py with saved_models/vq_vae_speech_8k; the recording
one that neither model has seen.
"""

import argparse
import json
import shutil
from pathlib import Path

import continue_speech
from bundling import new_folder, read_log, reflowed, take_weights

CARD = """# {name}

Goes on with a recording of speech: a `PixelCNN` (van den Oord et al. 2016, arXiv 1606.05328) of \
{parameters:,} parameters over the codes of `{vq_vae}`, frame after frame, as \
`examples/continue_speech.py` uses it.

```
cp -r saved_models/{name} out/prior
python examples/continue_speech.py saved_models/{vq_vae}/{vq_vae}.keras corpus recording.wav \\
    out/prior {arguments}
```

## Data and training

Codes of {segments:,} random segments of {frames} frames of the training voices of \
`examples/data/fetch_voices.py` (`examples/data/VOICES.md` lists voices, licences and credits). \
{num_layers} layers of {filters} filters, kernels of {kernel_size}×{kernel_size}, batches of \
{batch}, Adam at {learning_rate} falling along a cosine over {epochs} epochs. The best epoch by \
validation is kept. `log.csv` has the curve.

## Scores

{bits_per_code:.2f} bits per code on {valid} segments of new recordings of the same voices (those \
that chose the epoch), where the marginal distribution of their codes has {marginal_entropy:.2f}, \
and codes of equal length {uniform:.0f}.

The first {seconds:g} s of a recording of the test set, as the VQ-VAE has them, and {more:g} s \
drawn after them at temperature {temperature:g}, the first draw of seed {seed}, not chosen by ear: \
[continued.wav](continued.wav), phases by Griffin and Lim. Frequencies upwards, time to the right, \
a line before the first frame that is drawn:

![spectrogram](continued.png)

## Licence

The weights are under Apache-2.0, as the package. `continued.wav` and its picture: {credit}; they \
are under the same terms.

## Limits

The prior knows sounds and how they follow each other for some tenths of a second; it knows no \
words. Nobody listened.
"""


def main(run: Path, recording: Path, bundle: Path, vq_vae: Path, credit: str):
    config = json.loads((run / "config.json").read_text())
    with new_folder(bundle) as folder:
        prior = take_weights(run / "prior.keras", folder / "prior.keras")
        for name in ("log.csv", "scores.json", "config.json"):
            shutil.copyfile(run / name, folder / name)
        # The corpus is for training, which is done.
        paths = [str(vq_vae), "corpus", str(recording), str(folder)]
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in config.items()]
        options = continue_speech.parse([*paths, *arguments, "--number=1"])
        (wave,) = continue_speech.main(options)
        wave.rename(folder / "continued.wav")
        wave.with_suffix(".png").rename(folder / "continued.png")
        scores, log = json.loads((run / "scores.json").read_text()), read_log(run)
        text = {
            **vars(options),
            **prior.get_config(),
            **scores,
            "name": bundle.name,
            "vq_vae": vq_vae.parent.name,
            "parameters": prior.count_params(),
            "arguments": " ".join(arguments),
            "segments": config["batches"] * continue_speech.BATCH,
            "valid": scores["segments"],
            "batch": continue_speech.BATCH,
            "epochs": len(log),
            "credit": credit,
        }
        (folder / "README.md").write_text(reflowed(CARD.format(**text)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of continue_speech.py")
    parser.add_argument("recording", type=Path, help="that is continued")
    parser.add_argument("bundle", type=Path, help="folder to make")
    parser.add_argument(
        "--vq-vae",
        type=Path,
        default=Path("saved_models/vq_vae_speech_8k/vq_vae_speech_8k.keras"),
    )
    parser.add_argument("--credit", required=True, help="whose voice it is, and its licence")
    main(**vars(parser.parse_args()))
