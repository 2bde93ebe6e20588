"""``python -m edge`` is ``wheatear``."""

from __future__ import annotations

import sys

from edge.commands.cli import main

sys.exit(main())
