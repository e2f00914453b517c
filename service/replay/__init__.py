"""Stored trials carried out again: as they were, graded by another scorer, or from a step on in another way."""
