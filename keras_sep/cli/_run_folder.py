"""The folder of a training run: what the run was started with."""

import json
from collections.abc import Callable
from inspect import signature
from pathlib import Path

from keras_sep.cli._errors import UserError


def check_same_run(out: Path, config: dict, command: Callable) -> None:
    """Raises `UserError` unless `out` is new or holds a run that began with these arguments.

    Args:
        out: The folder.
        config: Arguments by name.
        command: Its defaults are what a run of an earlier version had for options that came later.
    """
    path = out / "config.json"
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text())
    except ValueError:
        raise UserError(f"{path} is damaged; remove it, or give another --out") from None
    config = json.loads(json.dumps(config))
    defaults = {name: option.default for name, option in signature(command).parameters.items()}
    defaults = {name: json.loads(json.dumps(defaults[name])) for name in config.keys() & defaults}
    before = {**defaults, **before}
    # What is no option, as of the model that a run starts from, an earlier version did not record.
    changed = sorted(name for name in config if config[name] != before.get(name, config[name]))
    if changed:
        raise UserError(
            f"{out} holds a run with other arguments ("
            + ", ".join(f"{name}={before[name]}" for name in changed)
            + "); repeat them to go on, or give another --out"
        )


def record(out: Path, config: dict) -> None:
    """Writes the arguments to config.json in the folder, which it makes where there is none."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        beside = out / "config.json.next"
        beside.write_text(json.dumps(config, indent=2) + "\n")
        beside.replace(out / "config.json")
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; give another --out") from None
