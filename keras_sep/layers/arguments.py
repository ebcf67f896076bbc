"""Checks of constructor arguments."""


def check_at_least_one(**arguments: int) -> None:
    """Raises ValueError, naming the argument, for the first one below 1."""
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
