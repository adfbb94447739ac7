"""`python -m fastnn`: the same as the command `fastnn`."""

from fastnn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
