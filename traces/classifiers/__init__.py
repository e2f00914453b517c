"""What classifiers share: models as JSON weights that need no library to run, and rows of prompts with answers."""
