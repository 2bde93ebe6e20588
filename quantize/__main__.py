"""``python -m quantize``."""

from quantize.commands.cli import main

if __name__ == "__main__":
    main()
