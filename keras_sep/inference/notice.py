"""What a separation did to a file beyond separating it."""


class SeparationNotice(UserWarning):
    """Says that a file was resampled, mixed down or clipped, and what to do about it."""
