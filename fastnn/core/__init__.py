"""The lowest layer: registries, checks of single arguments, threads."""
