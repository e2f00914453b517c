"""Where a failed trace went wrong: which step decided it, who made it, and in what way."""
