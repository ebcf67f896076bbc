"""`keras-sep generate`: new pictures."""

from pathlib import Path
from typing import Annotated

import typer

from keras_sep.cli._backend import quiet_native_code
from keras_sep.cli._errors import UserError


def generate(
    model: Annotated[
        str, typer.Argument(help="A bundled generator (digits), or the folder of one.")
    ] = "digits",
    label: Annotated[
        str | None, typer.Option(help="Class of the pictures; without, all in turns.")
    ] = None,
    number: Annotated[int, typer.Option("-n", "--number", min=1, help="Pictures.")] = 16,
    output: Annotated[Path, typer.Option("-o", "--output", help="The PNG to write.")] = Path(
        "grid.png"
    ),
    reject: Annotated[
        bool,
        typer.Option(help="Draw twice as many, keep those that a classifier is surest of."),
    ] = True,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the random numbers; without, others each time.")
    ] = None,
):
    """Draws new pictures from a prior over a VQ-VAE's codes, as one PNG."""
    if output.suffix.lower() != ".png":
        raise UserError(f"--output must end in .png, got {output}")
    if not output.parent.is_dir():
        raise UserError(f"--output: there is no folder {output.parent}; make it first")
    with _progress() as progress:
        task = progress.add_task("loading", total=None)
        with quiet_native_code():
            from keras_sep.inference.generator import Generator, draw_grid

            try:
                generator = Generator(model)
            except ValueError as error:
                raise UserError(str(error)) from None

        def report(done, total):
            progress.update(task, description="drawing", completed=done, total=total)

        progress.update(task, description="compiling")
        try:
            images = generator.generate(number, label, reject, seed, report)
        except ValueError as error:
            raise UserError(str(error)) from None
    draw_grid(images, output, columns=-(-number // max(1, int(number**0.5))))
    print(output)


def _progress():
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
