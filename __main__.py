"""`python -m callboard` is the same program as `callboard`."""

from .cli import main

if __name__ == "__main__":
    main()
