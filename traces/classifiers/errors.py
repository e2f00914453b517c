"""What can be wrong with the files that classifiers read."""

from __future__ import annotations


class WeightsError(ValueError):
    """A file of weights cannot be used: it is none, it is damaged, or it was fitted to other features."""


class RowError(ValueError):
    """A row to classify cannot be read; the message names its line."""


class TooFewRows(ValueError):  # noqa: N818 - the name says what is the matter
    """There are too few labelled rows, or too few of one class, to fit anything to."""
