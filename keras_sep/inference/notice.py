"""What was done to a file beyond what was asked for."""


class SeparationNotice(UserWarning):
    """Says that a file was resampled, mixed down or clipped, and what to do about it."""


class ClassificationNotice(UserWarning):
    """Says that a file was resampled or mixed down before it was classified."""
