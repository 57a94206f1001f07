"""The command ``seedwise``, as ``python -m seedwise``."""

from seedwise.cli import main

if __name__ == "__main__":
    main()
