"""The device program, started as its installed command would be; for trees not installed."""

import sys

from edge.cli import main

sys.exit(main())
