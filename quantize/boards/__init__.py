"""How long a model takes, and what memory it needs, on boards that are not here: an estimate.

`figures.py` holds published measurements with their sources, `networks.py` the networks that were
measured, `totals.py` what such a network adds up to, `model.py` the fit and its error on networks
held out of it, `memory.py` what the program needs, `measured.py` reads `wheatear bench --json`,
`report.py` puts it together, `show.py` prints it.
"""
