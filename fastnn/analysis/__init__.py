"""What looks at a network without changing it: diagnosis, gradients, profiles, limits."""
