"""What the user can mend: printed in one line, exit code 2."""


class UserError(Exception):
    """An error whose message names the input and the remedy."""
