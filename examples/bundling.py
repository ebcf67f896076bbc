"""What the scripts that make bundled models share."""

import csv
import json
import os
import shutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras


@contextmanager
def new_folder(bundle: Path) -> Iterator[Path]:
    """An empty folder beside `bundle`, which gets its name in the end; removed after an error."""
    if bundle.exists():
        raise SystemExit(f"{bundle} exists; remove it, or name another folder for the bundle")
    beside = bundle.with_name(f"{bundle.name}.next")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        os.replace(beside, bundle)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def take_weights(source: Path, target: Path) -> keras.Model:
    """Copies a model without its optimizer."""
    model = keras.saving.load_model(source, compile=False)
    model.save(target)
    return model


def config_of(run: Path) -> dict:
    """The arguments of a run without its machine's folders."""
    config = json.loads((run / "config.json").read_text())
    paths = {"pictures", "speech", "vq_vae"}
    return {
        name: Path(value).name if value is not None and name in paths else value
        for name, value in config.items()
    }


def write_json(value, path: Path) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def read_log(run: Path) -> list[dict[str, str]]:
    """The rows of a run's log."""
    with open(run / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def cpu_minutes(log: list[dict[str, str]]) -> float:
    return sum(float(row["cpu_seconds"]) for row in log) / 60


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def reflowed(card: str) -> str:
    """The card with its paragraphs broken at 100 characters; code, tables and pictures stay."""

    def wrapped(block: str) -> str:
        if block.startswith(("#", "|", "```", "![")):
            return block
        return textwrap.fill(block, 100, break_long_words=False, break_on_hyphens=False)

    return "\n\n".join(wrapped(block) for block in card.strip().split("\n\n")) + "\n"
