"""The compiled half of fastnn: `kernels` (every kernel by itself) and `engine` (programs)."""
