"""Tables: files, and how their columns become the numbers that a network takes."""
