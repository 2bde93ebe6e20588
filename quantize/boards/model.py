"""A law of few terms fitted to published times, and how far off it is on what it has not seen.

The time of a network in a setting is the setting's factor times a sum of costs that all settings
share. Costs and factors are found in turn until they stand still, both for the least relative
error; costs are never negative (non-negative least squares), so more work never takes less time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import exp, hypot, log
from typing import NamedTuple

import msgspec
import numpy as np

from quantize.boards import figures
from quantize.boards.figures import Ratio, Setting
from quantize.boards.networks import NETWORKS
from quantize.boards.totals import Totals
from quantize.tflite.edgetpu import CACHE_BYTES

#: Turns of the fit; it stands still long before.
TURNS, STILL = 1000, 1e-10


class Law(msgspec.Struct, frozen=True, eq=False):
    """What costs time, and on which settings it is learnt."""

    settings: tuple[Setting, ...]
    reference: str
    """Setting whose factor is 1."""
    terms: Callable[[Totals], tuple[float, ...]]


class Fit(NamedTuple):
    """Milliseconds for one unit of each term, and the factor of each setting."""

    law: Law
    costs: tuple[float, ...]
    factors: dict[str, float]

    def parts(self, totals: Totals, setting: str) -> tuple[float, ...]:
        """Milliseconds of each term."""
        factor = self.factors[setting]
        pairs = zip(self.costs, self.law.terms(totals), strict=True)
        return tuple(factor * cost * amount for cost, amount in pairs)

    def milliseconds(self, totals: Totals, setting: str) -> float:
        """Time of one picture."""
        return sum(self.parts(totals, setting))


class Miss(NamedTuple):
    """A published time beside the one that is found without that network."""

    setting: str
    board: str
    network: str
    published: float
    found: float

    @property
    def off(self) -> float:
        """How many times too long or too short, at least 1."""
        return exp(abs(log(self.found / self.published)))


def _cpu_terms(totals: Totals) -> tuple[float, ...]:
    return totals.macs / 1e6, totals.depthwise / 1e6, totals.operators


def _tpu_terms(totals: Totals) -> tuple[float, ...]:
    streamed = max(0.0, totals.weights - CACHE_BYTES)
    return 1.0, totals.macs / 1e6, totals.moved / 1e6, streamed / 1e6


#: Multiply-adds over channels, depthwise ones (in millions), operators; all cores.
CPU = Law(figures.CPU, figures.CPU_REFERENCE, _cpu_terms)
#: A call, multiply-adds, activations, bytes of weights beyond the chip's memory (in millions).
TPU = Law(figures.TPU, figures.TPU_REFERENCE, _tpu_terms)


def fit(law: Law, without: str = "") -> Fit:
    """Costs and factors of a law.

    Args:
        law: what to fit.
        without: a network that is left out, everywhere it was timed.
    """
    from scipy.optimize import nnls

    rows = [
        (number, law.terms(totals(network)), time)
        for number, setting in enumerate(law.settings)
        for network, time in setting.times.items()
        if network != without
    ]
    which = np.array([number for number, _, _ in rows])
    amounts = np.array([terms for _, terms, _ in rows])
    times = np.array([time for *_, time in rows])
    first = next(i for i, setting in enumerate(law.settings) if setting.name == law.reference)
    factors = np.ones(len(law.settings))
    for _ in range(TURNS):
        costs, _ = nnls(amounts * (factors[which] / times)[:, None], np.ones(len(times)))
        shares = amounts @ costs / times
        before = factors
        factors = np.array(
            [
                (own := shares[which == number]).sum() / (own * own).sum()
                for number in range(len(factors))
            ]
        )
        costs, factors = costs * factors[first], factors / factors[first]
        if np.abs(factors / before - 1).max() < STILL:
            break
    names = [setting.name for setting in law.settings]
    return Fit(law, tuple(costs.tolist()), dict(zip(names, factors.tolist(), strict=True)))


@cache
def fitted(law: Law) -> Fit:
    """`fit` on everything, once."""
    return fit(law)


@cache
def held_out(law: Law) -> tuple[Miss, ...]:
    """Every published time against a fit that has not seen its network in any setting."""
    networks = dict.fromkeys(network for setting in law.settings for network in setting.times)
    misses = []
    for network in networks:
        blind = fit(law, without=network)
        for setting in law.settings:
            if network in setting.times:
                found = blind.milliseconds(totals(network), setting.name)
                misses.append(
                    Miss(setting.name, setting.board, network, setting.times[network], found)
                )
    return tuple(misses)


@cache
def totals(network: str) -> Totals:
    """Totals of a network that was measured."""
    return NETWORKS[network]()


def worst(misses: Sequence[Miss]) -> float:
    """How many times off the worst of the held-out times is."""
    return max(miss.off for miss in misses)


def mean(ratio: Ratio) -> float:
    """The geometric mean of published ratios."""
    return exp(sum(log(slow / fast) for slow, fast in ratio.pairs.values()) / len(ratio.pairs))


def spread(ratio: Ratio) -> float:
    """How many times off the mean of the others is from the one that it is furthest from."""
    offs = []
    for held in ratio.pairs:
        others = ratio._replace(pairs={k: v for k, v in ratio.pairs.items() if k != held})
        slow, fast = ratio.pairs[held]
        offs.append(abs(log(mean(others) / (slow / fast))))
    return exp(max(offs))


def together(*offs: float) -> float:
    """Independent factors of error as one."""
    return exp(hypot(*(log(off) for off in offs)))
