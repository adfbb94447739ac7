"""Analyses that do not change the network: diagnosis, gradients, profiles, machine limits."""
