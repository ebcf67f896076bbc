"""`keras-sep info`: size, cost, receptive field and latency of a model."""

from pathlib import Path
from typing import Annotated

import typer

from keras_sep.cli._backend import import_keras
from keras_sep.cli._errors import UserError

_MOBILENET = "mobilenet_"
_RESOLUTION = 224  # where neither the user nor the model says it


def info(
    model: Annotated[
        str,
        typer.Argument(
            help="A .keras file, a SavedModel, the folder of a run, a preset's name, such as "
            "paper_best, or mobilenet_v1, mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large."
        ),
    ],
    alpha: Annotated[
        float | None, typer.Option(help="Width of a mobilenet_…; 1 by default.")
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(min=1, help="Height and width in pixels of a MobileNet's images."),
    ] = None,
):
    """Prints a Conv-TasNet's parameters, multiply-adds, receptive field and latency.

    Of a MobileNet, the parameters and the multiply-adds for an image; of a sound classifier, for a
    patch of the sound.
    """
    import_keras()
    from keras_sep.models import MobileNet, SoundClassifier

    is_named = model.startswith(_MOBILENET) and not Path(model).exists()
    if alpha is not None and not is_named:
        raise UserError(f"--alpha is of a mobilenet_… by name; leave it out for {model}")
    try:
        if is_named:
            found = MobileNet(model.removeprefix(_MOBILENET), 1.0 if alpha is None else alpha)
        else:
            found = _find(model)
    except (ValueError, TypeError) as error:
        raise UserError(" ".join(str(error).split())) from None
    if isinstance(found, MobileNet):
        _print_mobilenet(model, found, resolution, "image")
    elif resolution is not None:
        raise UserError(f"--resolution is of a MobileNet's images; leave it out for {model}")
    elif isinstance(found, SoundClassifier):
        _print_sound_classifier(model, found)
    else:
        _print(model, found)


def _print_sound_classifier(name, model):
    patch, hop = (n / model.sample_rate for n in (model.patch_samples, model.patch_hop_samples))
    unit = f"patch of {patch:g} s, one every {hop:g} s"
    _print_mobilenet(name, model.network, None, unit)
    print(f"classes           {', '.join(model.class_names)}")


def _print_mobilenet(name, model, resolution, unit):
    from rich.console import Console
    from rich.table import Table

    height, width = (resolution or size or _RESOLUTION for size in model.input_shape[:2])
    table = Table(title=f"{name}, alpha {model.alpha:g}, {height} x {width}")
    table.add_column("part")
    for title in ("output", "parameters", "multiply-adds"):
        table.add_column(title, justify="right")
    rows = [row for row in model.costs(height, width) if row.parameters]
    for row in rows:
        shape = " x ".join(map(str, row.output_shape))
        table.add_row(row.name, shape, f"{row.parameters:,}", f"{row.multiply_adds / 1e6:,.2f} M")
    console = Console()
    console.print(table)
    console.print(
        f"parameters        {model.count_params():,}\n"
        f"multiply-adds     {sum(row.multiply_adds for row in rows) / 1e6:,.1f} M per {unit}",
        highlight=False,
        soft_wrap=True,
    )


def _find(name):
    from keras_sep.export.metadata import read_metadata
    from keras_sep.inference.loading import load_model, newest_version
    from keras_sep.models import ConvTasNet, MobileNet, SoundClassifier

    known = (ConvTasNet, MobileNet, SoundClassifier)
    kinds = {kind.__name__: kind for kind in known}
    path = Path(name)
    if (path / "best.keras").is_file():
        path = path / "best.keras"
    if path.is_dir():
        metadata = read_metadata(newest_version(path), "model", ())
        kind = metadata.get("class_name")
        if kind not in kinds:
            raise ValueError(f"{path} is a {kind}, not a {' or '.join(kinds)}")
        model = kinds[kind].from_config(metadata["config"])
    elif path.exists() or path.suffix:
        model = load_model(path)
        if not isinstance(model, known):
            raise ValueError(f"{path} is a {type(model).__name__}, not a {' or '.join(kinds)}")
    else:
        model = ConvTasNet.from_preset(name)
    if not model.built:
        model.build((None, None))
    return model


def _print(name, model):
    from rich.console import Console
    from rich.table import Table

    rate, rows = model.sample_rate, model.costs()
    table = Table(title=str(name))
    table.add_column("part")
    for title in ("channels", "dilation", "sees", "parameters", "multiply-adds/s"):
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(
            row.name,
            str(row.channels),
            "" if row.dilation is None else str(row.dilation),
            f"{row.receptive_field / rate:.3f} s",
            f"{row.parameters:,}",
            f"{row.multiply_adds / 1e6:,.1f} M",
        )
    console = Console()
    console.print(table)
    if model.causal:
        latency = f"{1000 * model.kernel_size / rate:g} ms ({model.kernel_size} samples)"
    else:
        latency = "the whole recording (not causal)"
    frames = model.separator.receptive_field
    console.print(
        f"sources           {model.num_sources} at {rate} Hz, {model.normalization} normalization, "
        f"{model.mask_activation} masks\n"
        f"parameters        {model.count_params():,}\n"
        f"multiply-adds     {sum(row.multiply_adds for row in rows) / 1e9:.3f} G per second\n"
        f"receptive field   {frames} frames, {model.receptive_field} samples, "
        f"{model.receptive_field / rate:.3f} s\n"
        f"latency           {latency}",
        highlight=False,
        soft_wrap=True,
    )
