"""The device program, started as its installed command would be; for trees not installed."""

import sys

from edge.commands.cli import main

sys.exit(main())
