"""The broker killed, restarted, refusing, silent, slow and cut off while the device goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from soak.broker import Application, Broker
from soak.device import Device
from soak.ledger import Ledger
from soak.proxy import Proxy
from soak.scenario import Options, Round, chance

FAULTS_A_ROUND = 12
_HAND_ON_SECONDS = 1.5
_BROKER = "keepalive_seconds = 5\ntimeout_seconds = 1\n"


def rounds(options: Options) -> int:
    """Twelve faults a round."""
    return -(-options.outages // FAULTS_A_ROUND)


def play(number: int, folder: Path, options: Options) -> Round:
    """Let faults of all kinds happen to one running device, then let it deliver all."""
    random = chance(options, "outages", number)
    count = min(FAULTS_A_ROUND, options.outages - number * FAULTS_A_ROUND)
    ledger, happened = Ledger(), dict.fromkeys(FAULTS, 0)
    problems: tuple[str, ...] = ()
    with (
        Broker(folder, unbounded=True) as broker,
        Application(broker.port, ledger) as application,
        Proxy(broker.port) as network,
    ):
        broker.save()
        device = Device(folder, network.port, options.rate, _BROKER)
        with device.running() as process:
            for turn in range(count):
                name = list(FAULTS)[(number + turn) % len(FAULTS)]
                happened[name] += 1
                FAULTS[name](broker, network, random, options.patience)
                network.forward()
                if not application.more():
                    return Round(problems=(f"nothing came after {name}: {device.said()}",))
        if process.returncode:
            problems += (f"the run ended with status {process.returncode}: {device.said()}",)
        problems += device.settle(application)
    return Round(counts={**happened, **ledger.counts()}, problems=problems)


def _killed(broker: Broker, network: Proxy, random: Random, longer: float) -> None:
    """Killed with acknowledgements under way.

    What mosquitto took and has not handed on is in its memory only and dies with it, which no
    device can know: so it gets the time to hand on, but not to acknowledge.
    """
    network.silence()
    time.sleep(_HAND_ON_SECONDS)
    broker.stop(kill=True)
    network.cut()
    time.sleep(longer * random.uniform(0, 1))
    broker.start()


def _restarted(broker: Broker, _network: Proxy, random: Random, longer: float) -> None:
    broker.stop()
    time.sleep(longer * random.uniform(0, 1))
    broker.start()
    broker.save()


def _refusing(_broker: Broker, network: Proxy, random: Random, longer: float) -> None:
    network.refuse()
    time.sleep(longer * random.uniform(0.2, 2))


def _silent(_broker: Broker, network: Proxy, random: Random, longer: float) -> None:
    """Longer than the keepalive, so that the device gives the connection up by itself."""
    network.silence()
    time.sleep(longer * random.uniform(1, 8))
    network.cut()


def _slow(_broker: Broker, network: Proxy, random: Random, longer: float) -> None:
    network.forward(bytes_per_second=random.uniform(5_000, 50_000))
    time.sleep(longer * random.uniform(1, 3))


def _cut(_broker: Broker, network: Proxy, random: Random, longer: float) -> None:
    for _ in range(random.randint(1, 5)):
        network.cut()
        time.sleep(longer * random.uniform(0, 0.3))


FAULTS: dict[str, Callable[[Broker, Proxy, Random, float], None]] = {
    "killed": _killed,
    "refusing": _refusing,
    "silent": _silent,
    "slow": _slow,
    "cut": _cut,
    "restarted": _restarted,
}
