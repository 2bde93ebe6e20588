"""`wheatear run` killed with SIGKILL at random moments of starting, capturing and publishing."""

from __future__ import annotations

import time
from pathlib import Path

from soak.broker import Application, Broker
from soak.device import Device
from soak.ledger import Ledger
from soak.scenario import Options, Round, chance

KILLS_A_ROUND = 50
_EARLY = 0.15
"""Share of kills at any moment from the start on; the others come after a first delivery."""
_IMAGES = "[images]\nsend = true\n"


def rounds(options: Options) -> int:
    """Fifty kills a round."""
    return -(-options.kills // KILLS_A_ROUND)


def play(number: int, folder: Path, options: Options) -> Round:
    """Kill and start again; then let it deliver all, and look into the ledger."""
    random = chance(options, "kills", number)
    kills = min(KILLS_A_ROUND, options.kills - number * KILLS_A_ROUND)
    ledger, pictures = Ledger(), number % 2 == 1
    with Broker(folder) as broker, Application(broker.port, ledger) as application:
        device = Device(folder, broker.port, options.rate, more=_IMAGES if pictures else "")
        for _ in range(kills):
            with device.running(kill=True):
                if random.random() < _EARLY:
                    time.sleep(random.uniform(0, 1.0))
                else:
                    if not application.more():
                        return Round(problems=(f"nothing came in 30 s: {device.said()}",))
                    time.sleep(random.uniform(0, 0.3))
        problems = device.settle(application, lambda now: now.pictures >= pictures * now.taken)
    if pictures and ledger.pictures != ledger.taken:
        problems += (f"{ledger.taken - ledger.pictures} pictures never came",)
    counts = {"kills": kills, **ledger.counts(), "pictures": ledger.pictures}
    return Round(counts=counts, problems=problems)
