"""`keras-sep info`: size, cost, receptive field and latency of a model."""

from pathlib import Path
from typing import Annotated

import typer

from keras_sep.cli._backend import import_keras
from keras_sep.cli._errors import UserError

_MOBILENET = "mobilenet_"


def info(
    model: Annotated[
        str,
        typer.Argument(
            help="A .keras file, a SavedModel, the folder of a run, a preset's name, such as "
            "paper_best, or mobilenet_v1, mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large."
        ),
    ],
    alpha: Annotated[float, typer.Option(help="Width of a mobilenet_….")] = 1.0,
    resolution: Annotated[
        int, typer.Option(min=1, help="Height and width of its images in pixels.")
    ] = 224,
):
    """Prints a Conv-TasNet's parameters, multiply-adds, receptive field and latency.

    Of a MobileNet by name, the parameters and the multiply-adds for an image.
    """
    import_keras()
    try:
        if model.startswith(_MOBILENET) and not Path(model).exists():
            _print_mobilenet(model, alpha, resolution)
            return
        separator = _find(model)
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from None
    _print(model, separator)


def _print_mobilenet(name, alpha, resolution):
    from rich.console import Console
    from rich.table import Table

    from keras_sep.models import MobileNet

    model = MobileNet(name.removeprefix(_MOBILENET), alpha)
    table = Table(title=f"{name}, alpha {alpha:g}, {resolution} x {resolution}")
    table.add_column("part")
    for title in ("output", "parameters", "multiply-adds"):
        table.add_column(title, justify="right")
    rows = [row for row in model.costs(resolution, resolution) if row.parameters]
    for row in rows:
        shape = " x ".join(map(str, row.output_shape))
        table.add_row(row.name, shape, f"{row.parameters:,}", f"{row.multiply_adds / 1e6:,.2f} M")
    console = Console()
    console.print(table)
    console.print(
        f"parameters        {model.count_params():,}\n"
        f"multiply-adds     {sum(row.multiply_adds for row in rows) / 1e6:,.1f} M per image",
        highlight=False,
        soft_wrap=True,
    )


def _find(name):
    from keras_sep.export.loaded_separator import read_metadata
    from keras_sep.inference.loading import load_separator, newest_version
    from keras_sep.models import ConvTasNet

    path = Path(name)
    if (path / "best.keras").is_file():
        path = path / "best.keras"
    if path.is_dir():
        model = ConvTasNet.from_config(read_metadata(newest_version(path))["config"])
    elif path.exists() or path.suffix:
        return load_separator(path)
    else:
        model = ConvTasNet.from_preset(name)
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
