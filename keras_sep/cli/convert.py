"""`keras-sep convert`: weights from and to asteroid and torchaudio."""

from pathlib import Path
from typing import Annotated

import typer

from keras_sep.cli._backend import import_keras
from keras_sep.cli._errors import UserError

KINDS = ("asteroid", "torchaudio")


def convert(
    source: Annotated[
        Path,
        typer.Argument(help="A checkpoint of asteroid or torchaudio, or a .keras file for --to."),
    ],
    out: Annotated[Path, typer.Argument(help="The .keras file, or with --to the checkpoint.")],
    to: Annotated[
        str | None, typer.Option(help="asteroid or torchaudio: write a checkpoint for it.")
    ] = None,
    num_blocks: Annotated[
        int, typer.Option(help="Blocks in a stack, which torchaudio's weights do not tell.")
    ] = 8,
    mask_activation: Annotated[
        str, typer.Option(help="sigmoid or relu, which torchaudio's weights do not tell.")
    ] = "sigmoid",
    sample_rate: Annotated[
        int, typer.Option(help="In Hz, which torchaudio's weights do not tell.")
    ] = 8000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
):
    """Reads Conv-TasNet weights of asteroid or torchaudio, or writes them."""
    if to is not None and to not in KINDS:
        raise UserError(f"--to must be asteroid or torchaudio, got {to}")
    if to is None and out.suffix != ".keras":
        raise UserError(f"{out} must have the suffix .keras, or give --to asteroid|torchaudio")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; give --overwrite to replace it")
    if not out.absolute().parent.is_dir():
        raise UserError(f"cannot write {out}: there is no folder {out.parent}")
    import_keras()
    from keras_sep import convert as weights

    try:
        if to is None:
            checkpoint = weights.read_checkpoint(source)
            if checkpoint.keys() & {"model_args", "encoder.filterbank._filters"}:
                model = weights.from_asteroid(checkpoint)
            else:
                model = weights.from_torchaudio(
                    checkpoint, num_blocks, mask_activation, sample_rate
                )
            _save(model, out)
        else:
            from keras_sep.inference.loading import load_separator

            write = {"asteroid": weights.to_asteroid, "torchaudio": weights.to_torchaudio}[to]
            write(load_separator(source), out)
    except (ValueError, OSError, ImportError) as error:
        raise UserError(" ".join(str(error).split())) from None
    print(out)


def _save(model, path):
    beside = path.with_name(f".{path.stem}.part.keras")
    try:
        model.save(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
