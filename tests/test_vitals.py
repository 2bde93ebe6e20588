"""Health in depth: spreads of times, starts and ends, the link, and the file for Prometheus."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import devices
import msgspec
import numpy as np
import pytest
from brokers import Mosquitto, Subscriber
from clocks import Field
from hypothesis import example, given, settings
from hypothesis import strategies as st
from results import APHID
from samples import health, taken
from there import there

from edge.cameras import Frame
from edge.config import Report, load_config
from edge.device.health.meter import HealthMeter
from edge.device.health.parts import DeviceHealth, QueueHealth
from edge.device.health.prometheus import Exporter, text
from edge.device.health.stalls import FrameFlow
from edge.device.health.starts import StartCounter
from edge.messages.base import encode
from edge.messages.examples import EXAMPLES
from edge.messages.health import Health, LinkHealth, Spread, Timings
from edge.outbox.dead_letters import DeadLetters
from edge.outbox.outbox import Outbox
from edge.system.board import throttled
from edge.system.counters import Counters
from edge.system.histogram import Histogram
from edge.system.link import link


def write(root: Path, name: str, content: str) -> None:
    """Write a file of an invented kernel."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


@settings(deadline=None)
@example([0.99])
@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=300))
def test_percentiles_are_right_within_one_percent(times):
    """Against NumPy's nearest rank; the largest is exact, and none is above it."""
    histogram = Histogram()
    for time in times:
        histogram.add(time)
    found = there(histogram.spread())
    assert found.count == len(times)
    assert found.max == round(max(times), 3)
    for share, value in ((50, found.p50), (95, found.p95), (99, found.p99)):
        expected = np.percentile(times, share, method="inverted_cdf")
        half_a_class, rounding = 1.02**0.5 - 1, 0.0005
        assert abs(value - expected) <= expected * half_a_class + rounding + 1e-9
        assert value <= found.max


def test_a_histogram_stays_small_whatever_it_is_given():
    """Nonsense included: a clock's zero, an hour, a negative time."""
    histogram = Histogram()
    for number in range(20_000):
        histogram.add(10 ** (number % 40 - 20) * (1 + number / 20_000))
    histogram.add(0.0)
    histogram.add(-1.0)
    assert len(histogram.classes) < 1400
    assert there(histogram.spread()).count == 20_002


def test_spreads_begin_anew_and_totals_go_on():
    """What a health message told is not told again; sums are since the start."""
    counters = Counters()
    assert counters.spread("frame") is None
    for milliseconds in (1.0, 3.0):
        counters.took("frame", milliseconds)
    assert counters.total("frame") == (2, 4.0)
    assert there(counters.spread("frame")).max == 3.0
    assert counters.spread("frame") is None
    counters.took("frame", 5.0)
    assert counters.total("frame") == (3, 9.0)


def test_the_flow_times_frames_from_taking_to_dealt_with(tmp_path):
    """Waiting for the camera is no part of it."""
    clock, counters = Field(), Counters()

    class Slow:
        capture_seconds, ended = 0.0, False

        def next(self, _seconds):
            clock.seconds += 7
            return Frame(np.zeros((1, 1, 3), np.uint8), clock.now(), "", 1, 1, lambda: b"")

    flow = FrameFlow(load_config(devices.config(tmp_path, 1)), Slow(), counters, clock)
    for milliseconds in (20, 40):
        frame = flow.next(0.5)
        clock.seconds += milliseconds / 1e3
        flow.watch(there(frame), APHID, None)
    assert there(counters.spread("frame")).max == 40
    assert there(counters.spread("invoke")).p50 == pytest.approx(APHID.timings.invoke_ms, rel=0.01)


def test_starts_and_their_ends_are_counted(tmp_path, caplog):
    """A good end is none of both; a kill is the program's, a new boot the power's."""
    path = tmp_path / "o.db.starts"

    def start(boot: str, good: bool) -> tuple[int, int, int]:
        run = StartCounter(path, boot, Counters())
        run.__enter__()
        if good:
            run.__exit__(None, None, None)
        found = run.health()
        return found.starts, found.unclean_ends, found.power_losses

    assert start("boot-1", good=True) == (1, 0, 0)
    assert start("boot-1", good=False) == (2, 0, 0)
    assert start("boot-1", good=False) == (3, 1, 0)
    assert "it was killed, or failed" in caplog.text
    assert start("boot-2", good=True) == (4, 1, 1)
    assert "the computer went down while it ran" in caplog.text
    assert start("boot-3", good=True) == (5, 1, 1)


def test_a_failing_run_is_an_unclean_end_and_a_failing_disk_is_none_of_its_business(tmp_path):
    """An exception leaves the mark; a file that cannot be read or written is told, not raised."""
    path, counters = tmp_path / "o.db.starts", Counters()
    with pytest.raises(ZeroDivisionError), StartCounter(path, "b", counters):
        1 / 0  # noqa: B018
    with StartCounter(path, "b", counters) as run:
        assert run.health().unclean_ends == 1
    path.write_text("{")
    with StartCounter(path, "b", counters) as run:
        assert run.health().starts == 1
    with StartCounter(tmp_path / "none" / "starts", "b", counters) as run:
        assert run.health().starts == 1
        assert counters.problems()[0].startswith("starts: ")


WIRELESS = """Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   54.  -56.  -256        0      0      0      0      0        0
"""
ROUTE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0002\t0\t0\t100\t00000000\t0\t0\t0
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
wwan0\t00000000\t0101A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0
wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0
"""
NOWHERE = "0" * 32
ROUTE6 = (
    f"{NOWHERE} 00 {NOWHERE} 00 {NOWHERE} ffffffff 00000001 00000000 00200200       lo\n"
    f"{NOWHERE} 00 {NOWHERE} 00 fe800000000000000000000000000001 00000400 1 0 00000003    wwan0\n"
)


def test_the_link_is_the_default_routes_interface(tmp_path):
    """The one with the least metric that is up; by IPv6 where IPv4 has none; null without."""
    assert link(tmp_path) is None
    write(tmp_path, "proc/net/ipv6_route", ROUTE6)
    assert link(tmp_path) == LinkHealth(interface="wwan0")
    write(tmp_path, "proc/net/route", ROUTE)
    assert link(tmp_path) == LinkHealth(interface="wlan0")
    write(tmp_path, "proc/net/wireless", WIRELESS)
    assert link(tmp_path) == LinkHealth(interface="wlan0", signal_dbm=-56)
    write(tmp_path, "proc/net/wireless", WIRELESS.replace("-56.", " 44."))
    assert there(link(tmp_path)).signal_dbm is None, "a driver that does not tell dBm"
    write(tmp_path, "proc/net/route", "rubbish\nx\n")
    assert there(link(tmp_path)).interface == "wwan0"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("soc/soc:firmware/get_throttled", "50005\n", 4),
        ("soc@107c000000/soc@107c000000:firmware/get_throttled", "0\n", 0),
    ],
)
def test_throttling_is_read_where_each_raspberry_pi_has_it(tmp_path, name, content, expected):
    """Old and new device trees; under-voltage by other kernels' driver; null elsewhere."""
    assert throttled(tmp_path) is None
    write(tmp_path, "sys/class/hwmon/hwmon3/name", "rpi_volt\n")
    for alarm, flags in (("1", ("under-voltage",)), ("0", ())):
        write(tmp_path, "sys/class/hwmon/hwmon3/in0_lcrit_alarm", f"{alarm}\n")
        assert throttled(tmp_path) == flags
    write(tmp_path, f"sys/devices/platform/{name}", content)
    assert len(there(throttled(tmp_path))) == expected


def test_vitals_are_filled_in(tmp_path):
    """The age of the oldest message, and the spreads of the last round until the next."""
    clock, counters = Field(timedelta(0), "synced"), Counters()
    config = load_config(devices.config(tmp_path, 1))
    with Outbox(tmp_path / "o.db") as outbox, StartCounter(tmp_path / "s", "b", counters) as starts:
        queue = QueueHealth(outbox, DeadLetters(tmp_path / "letters"), clock)
        device = DeviceHealth(config, counters, clock, tmp_path)
        meter = HealthMeter([device.part, queue.part, starts.part], counters)
        report = meter.report
        assert report(Timings()).outbox.oldest_seconds is None
        outbox.append(taken(clock))
        clock.seconds += 90
        counters.took("frame", 8.0)
        told = report(Timings())
        assert told.outbox.oldest_seconds == 90
        assert told.spreads.frame == Spread(count=1, p50=7.999, p95=7.999, p99=7.999, max=8.0)
        counters.took("frame", 100.0)
        assert meter.now().spreads == told.spreads, "asking changes nothing"
        assert there(report(Timings()).spreads.frame).max == 100.0
        assert report(Timings()).spreads.frame is None
        clock.wrong_by = timedelta(days=-1)
        assert meter.now().outbox.oldest_seconds == 0
        filled = [name for one in (device, queue, starts) for name in one.part()]
        own = {"schema", "milliseconds", "spreads", "inbox", "drift"}
        assert sorted([*filled, *own]) == sorted(Health.__struct_fields__), "each by one part"


def full() -> Health:
    """A health message in which everything is there, awkward names too."""
    return msgspec.structs.replace(
        health(), errors={'Odd"Error\\\n': 2}, throttled=("under-voltage",)
    )


LINE = re.compile(
    r'wheatear_[a-z_]+\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\} \S+'
)


def test_the_text_for_prometheus_keeps_to_its_rules():
    """HELP and TYPE once before a metric's samples, counters end in _total, numbers are numbers."""
    counters = Counters()
    counters.took("puback", 20.0)
    seen: list[str] = []
    for line in text(full(), 'm"1', counters.total).splitlines():
        if line.startswith("#"):
            _, word, name, rest = line.split(" ", 3)
            assert rest
            if word == "HELP":
                assert name not in seen
                seen.append(name)
            else:
                assert (name.endswith("_total")) == (rest == "counter"), line
            assert name == seen[-1]
        else:
            assert LINE.fullmatch(line), line
            assert line.startswith(seen[-1])
            assert math.isfinite(float(line.rpartition(" ")[2]))
    assert len(seen) > 25


def test_prometheus_own_parser_reads_the_text():
    """Values, labels with quotes and line ends, and summaries come out as they went in."""
    parser = pytest.importorskip("prometheus_client.parser", reason="PROMETHEUS CLIENT ABSENT")
    counters, health = Counters(), full()
    for milliseconds in (10.0, 30.0):
        counters.took("puback", milliseconds)
    found = list(parser.text_string_to_metric_families(text(health, 'm"1', counters.total)))
    samples = {(s.name, *sorted(s.labels.items())): s.value for f in found for s in f.samples}
    device = ("device", health.device)
    assert samples["wheatear_outbox_messages", device] == health.outbox.waiting
    assert samples["wheatear_errors_total", ("class", 'Odd"Error\\\n'), device] == 2
    assert samples["wheatear_throttled", device, ("flag", "under-voltage")] == 1
    assert samples["wheatear_puback_seconds_count", device] == 2
    assert samples["wheatear_puback_seconds_sum", device] == pytest.approx(0.04)
    kinds = {family.name: family.type for family in found}
    assert kinds["wheatear_puback_seconds"] == "summary"
    assert kinds["wheatear_starts"] == "counter"


def test_promtool_finds_nothing_to_complain_of():
    """Prometheus' own linter: names, units, help."""
    if shutil.which("promtool") is None:
        pytest.skip("PROMTOOL ABSENT: the text for Prometheus is not linted")
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text(full(), "m", Counters().total),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_machine_lacks_is_left_out_of_the_text():
    """No metric without a value."""
    bare = msgspec.structs.replace(health(), temperature_celsius=None, throttled=None, link=None)
    told = text(bare, "m", Counters().total)
    assert "temperature" not in told
    assert "throttled" not in told
    assert "link" not in told
    assert "None" not in told


def test_the_file_is_whole_readable_and_its_failure_is_told(tmp_path):
    """Others may read it; a folder that is not there is named until it is."""
    folder, counters = tmp_path / "textfile", Counters()
    report = Report(prometheus_file=folder / "wheatear.prom")
    exporter = Exporter(report, full, lambda: "m", counters)
    exporter.write()
    assert counters.problems()[0].startswith("report.prometheus_file: ")
    folder.mkdir()
    os.umask(before := os.umask(0o077))
    try:
        exporter.write()
    finally:
        os.umask(before)
    assert counters.problems() == ()
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert file.read_text() == text(full(), "m", counters.total)


def test_a_real_device_tells_its_vitals(tmp_path):
    """Killed once, then: spreads of frames and PUBACKs, starts, the file; over a real broker."""
    devices.photos(tmp_path / "photos", 3)
    with Mosquitto(tmp_path) as broker, Subscriber(broker.port) as subscriber:
        path = devices.config(
            tmp_path,
            broker.port,
            'health_seconds = 1\nprometheus_seconds = 1\nprometheus_file = "wheatear.prom"',
            "loop = true\nframes_per_second = 50",
        )
        for end in (signal.SIGKILL, signal.SIGTERM):
            process = devices.start("run", "--config", str(path))
            seen = len(subscriber.on("/health"))
            try:
                # What was delivered just before a kill comes again.
                assert subscriber.wait(
                    lambda _, n=seen: len(subscriber.on("/health")) > 2 * n + 1, 20
                )
            finally:
                process.send_signal(end)
                process.communicate(timeout=20)
        told = json.loads(subscriber.on("/health")[-1])
    assert told["program"] == {"starts": 2, "unclean_ends": 1, "power_losses": 0, "stalls": 0}
    for name in ("frame", "preprocess", "invoke", "puback"):
        spread = told["spreads"][name]
        assert spread["count"] > 0
        assert 0 < spread["p50"] <= spread["p95"] <= spread["p99"] <= spread["max"]
    lines = (tmp_path / "wheatear.prom").read_text().splitlines()
    assert 'wheatear_starts_total{device="cam-1"} 2' in lines
    assert json.loads((tmp_path / "outbox.db.starts").read_text())["running"] is False


def test_messages_of_an_older_program_are_still_read():
    """Everything that was added has a default."""
    old = json.loads(encode(EXAMPLES["Health"]))
    for name in ("spreads", "program", "link", "clock_health", "boot_seconds"):
        del old[name]
    del old["outbox"]["oldest_seconds"]
    assert msgspec.convert(old, Health).spreads.frame is None
