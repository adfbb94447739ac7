"""The ground: registries, checks of single arguments, threads. Imports nothing of fastnn."""
