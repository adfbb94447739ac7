"""Training of a network: the loop, its results, validation, and the reasons to stop."""
