"""How a network is trained: the loop, its results, what validates and what ends it."""
