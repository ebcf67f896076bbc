"""The model card of a VQ-VAE that `bundle_vq_vae_2.py` bundles."""

import math

from bundling import cpu_minutes, reflowed, table

PAPERS = (
    "van den Oord et al. 2017, arXiv 1711.00937",
    "Razavi et al. 2019, arXiv 1906.00446",
)

DATA = {
    "photographs": """`examples/data/fetch_photographs.py`: 25 photographs from Debian's wallpapers,
16 to train on, 4 for validation, 5 for the test (`examples/data/PHOTOGRAPHS.md` lists them with
licences and credits). Random crops of {size}×{size} pixels at the pictures' own resolution, 1 to 16
megapixels, so that many a crop is smooth; each picture as often as any other; half of them
mirrored.""",
    "digits": """`examples/data/fetch_digits.py`: 10,000 handwritten digits of {size}×{size} pixels,
80 % to train on, of which a tenth is for validation, and 20 % for the test
(`examples/data/DIGITS.md` says whose they are).""",
    "speech": """`examples/data/fetch_voices.py`: 39 voices in 20-odd languages, telephone prompts,
a game's actors and spoken words from Debian's packages, 312 minutes to train on
(`examples/data/VOICES.md` lists voices, licences and credits). Levels in dB of random segments of
{seconds:.2f} s at {sample_rate} Hz: {frames} frames, {hop} samples apart, of {bins} frequencies
({window} samples under a Hann window, the highest frequency left out), silent segments left out.
-1 is -100 dB and less, 1 is 0 dB, a sine that fills the scale.""",
}

LIMITS = {
    "photographs": """Sixteen photographs, mostly of plants, landscapes and things at hand:
hardly a face, a text or a house was among them. The table by picture shows how far apart crops are
that look like what it has seen and such as do not, as the saturated colours of paint brushes. The
error is that of pictures at full camera resolution; the same pictures made small have more detail
in a crop, and a larger error.""",
    "digits": """Digits only, white on black, centred as in MNIST; other strokes than those of
digits come out as the nearest that digits have.""",
    "speech": """Levels only: phases must come from elsewhere to hear the codes, as by the
Griffin-Lim iterations of `examples/continue_speech.py`. The error counts every frequency of every
frame alike, the noise below the voice too, which no code can foresee, and says little of how the
speech sounds; nobody listened. Few voices, clean and close to the microphone: music and noise were
not among them.""",
}

SCORED = {
    "photographs": "Pixels in -1 to 1; {crops:,} random crops of the test pictures; bits a pixel "
    "are those of codes of equal length.",
    "digits": "Pixels in -1 to 1; {crops:,} draws, with replacement, of the {files:,} test digits; "
    "bits a pixel are those of codes of equal length.",
    "speech": "{crops:,} random segments of each row's recordings. MSE is that of levels in -1 to "
    "1, the error its root in dB; bits a second are those of codes of equal length.{voices}",
}

VOICES = (
    " `test` holds new recordings of the voices it was trained on, `unseen` voices it never heard."
)

SHOWN_ABOVE = {
    "photographs": "Test crops above their reconstructions, chosen by seed, not by look",
    "digits": "Test digits above their reconstructions, chosen by seed, not by look",
    "speech": "Test segments above their reconstructions, time to the right and frequencies "
    "upwards, chosen by seed, not by look",
}

# What the model is trained on and scored on.
EXAMPLES = {"photographs": "crops", "digits": "digits", "speech": "segments"}

CARD = """# {name}

{grids}. A {kind} ({paper}) of {parameters:,} parameters: K {num_embeddings}, D {embedding_dim},
{hidden_dim} hidden channels, {residual_dim} in {num_residual_blocks} residual blocks, strides
{strides}, EMA codebooks (decay {ema_decay}) set by k-means on the first batch, codes with fewer
than {restart_threshold} vectors a batch restarted.

```python
model = keras.saving.load_model("saved_models/{name}/{name}.keras")
codes = model.encode({inputs})  # {range}; a list of grids, the coarsest first
keras_sep.export.export_saved_model(model, "served/{name}/1")  # encode, decode, reconstruct
```

## Data

{data}

## Training

`examples/train_vq_vae_2.py` with {trained_on}: {steps:,} steps of {batch}
{examples}, Adam at {learning_rate}, falling to 0 over the last {cooldown} of {epochs} epochs;
{cpu_minutes:.0f} minutes of CPU time, {minutes:.0f} on the clock. The best epoch by reconstruction
of {valid} fixed validation {examples} is kept: epoch {epoch}, MSE {best:.5f}{first_hour}. `log.csv`
has the curve.

## Scores

{scored}

{scores}

{pictures}{shown_above}:

![{examples} and reconstructions](reconstructions.png)

How often each code occurs in the test {examples}:

![histogram of codes](codes.png)

## Licence

The weights are under Apache-2.0, as the package. {licence}

## Limits

{limits}
"""

LICENCE = {
    "photographs": "The photographs have licences of their own\n(`examples/data/PHOTOGRAPHS.md`); "
    "`reconstructions.png` shows small parts of Blinds (© 2008 Lennart\nPoettering, Andrea Cimitan)"
    " and GreenMeadow (© 2005 Timothy Schellhase, 2008 Lapo Calamandrei), both\nGPL-2+, Picture_1A "
    '(© 2018 Trevor "Freespace") and Wine (© 2018 Jakub Mede), both CC BY 4.0, and\ngreentock '
    "(© 2018 Peter Nerlich, CC BY-SA 4.0), and is under the same terms.",
    "digits": "`reconstructions.png` shows digits of the set\n(`examples/data/DIGITS.md`).",
    "speech": "The recordings have licences of their own\n(`examples/data/VOICES.md`).",
}


def grids_of(data: str, lengths: tuple[int, int], channels: int, shapes: list) -> str:
    """What the model takes and gives, in a sentence."""
    codes = " and ".join(f"{rows}×{columns}" for rows, columns in shapes)
    if data == "speech":
        return "Spectrograms of speech, {} frames of {} frequencies, as {} codes, and back".format(
            *lengths, codes
        )
    colours = "Colour" if channels == 3 else "Grey"
    return (
        f"{colours} pictures of {lengths[0]}×{lengths[1]} pixels as {codes} codes, and back "
        "(larger ones as more codes)"
    )


def first_hour(log: list[dict[str, str]]) -> str:
    """What the best epoch of the first hour reached, of a run that took longer."""
    minutes, best = 0.0, math.inf
    for row in log:
        minutes += float(row["seconds"]) / 60
        if minutes > 60 and best < math.inf:
            return f"; of those within 60 minutes on the clock the best had {best:.5f}"
        best = min(best, float(row["val_reconstruction_loss"]))
    return ""


def scores_table(model, rows: list[dict]) -> str:
    header = ["voices", "MSE", "error", "bits a second"]
    if "size" in rows[0]:
        header = ["size", "MSE", "PSNR", "bits a pixel"]
    header += [f"{name}: in use, perplexity" for name in model.level_names]
    return table(header, [cells(model, row) for row in rows])


def cells(model, row: dict) -> list[str]:
    mse = f"{row['mse']:.5f}"
    if "size" in row:
        first = [f"{row['size']}×{row['size']}", mse, f"{10 * math.log10(4 / row['mse']):.1f} dB"]
        first.append(f"{row['bits_per_pixel']:.2f}")
    else:
        first = [row["voices"], mse, f"{row['error_db']:.1f} dB", f"{row['bits_per_second']:,.0f}"]
    codes = model.num_embeddings
    return first + [
        f"{codes * row[f'{name}_usage']:.0f} of {codes}, {row[f'{name}_perplexity']:.0f}"
        for name in model.level_names
    ]


def pictures_table(crops: int, errors: dict[str, float]) -> str:
    """The error of each picture, with what stands above the table; nothing without pictures."""
    if not errors:
        return ""
    rows = [[name, f"{error:.5f}"] for name, error in errors.items()]
    return f"{crops} random crops of each picture:\n\n{table(['picture', 'MSE'], rows)}\n\n"


def card(
    name: str,
    model,
    data: str,
    config: dict,
    log: list[dict[str, str]],
    best: dict,
    details: dict,
    rows: list[dict],
    pictures: str,
    cooldown: int,
    trained_on: str,
) -> str:
    """The card's text.

    Args:
        name, data, cooldown, trained_on: As of `bundle_vq_vae_2.py`.
        config, log, best: Of the run.
        details: `lengths` of what it was trained on, and what the texts ask for.
        rows: Scores, one a row of the table.
        pictures: Of `pictures_table`.
    """
    shapes = model.code_shapes(details["lengths"])
    voices = VOICES if len(rows) > 1 else ""
    text = {
        **config,
        **model.get_config(),
        "name": name,
        "grids": grids_of(data, details["lengths"], model.channels, shapes),
        "inputs": "spectrograms" if data == "speech" else "images",
        "range": "levels of `SpectrogramCrops`" if data == "speech" else "images in -1 to 1",
        "kind": "VQ-VAE-2" if len(shapes) > 1 else "VQ-VAE",
        "paper": PAPERS[len(shapes) > 1],
        "parameters": model.count_params(),
        "data": DATA[data].format(**details),
        "examples": EXAMPLES[data],
        "steps": len(log) * config["steps"],
        "epochs": len(log),
        "cooldown": cooldown,
        "trained_on": trained_on,
        "cpu_minutes": cpu_minutes(log),
        "minutes": sum(float(row["seconds"]) for row in log) / 60,
        "valid": 16 * config["batch"],
        "epoch": best["epoch"],
        "best": best["val_reconstruction_loss"],
        "first_hour": first_hour(log),
        "scored": SCORED[data].format(crops=rows[0]["crops"], voices=voices, **details),
        "scores": scores_table(model, rows),
        "pictures": pictures,
        "shown_above": SHOWN_ABOVE[data],
        "licence": LICENCE[data],
        "limits": LIMITS[data],
    }
    return reflowed(CARD.format(**text))
