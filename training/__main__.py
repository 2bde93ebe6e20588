"""``python -m training``."""

from training.commands.cli import main

if __name__ == "__main__":
    main()
