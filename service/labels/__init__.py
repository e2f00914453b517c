"""Labelling by people: rounds, their screen, files of labels, and how far annotators agree."""
