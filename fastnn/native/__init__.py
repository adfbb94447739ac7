"""The compiled part of fastnn: `kernels` (each kernel on its own) and `engine` (programs)."""
