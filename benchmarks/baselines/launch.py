"""Start a command from a process with little memory; print its times and peak memory as JSON.

``python -I -S launch.py CORES COMMAND...``. On Linux a child's peak resident memory starts at that
of the process it was forked from, so a benchmark with TensorFlow loaded must not start it itself.
"""

import json
import os
import sys
import time

os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(",")})
reader, writer = os.pipe()
start = time.monotonic()
pid = os.posix_spawnp(
    sys.argv[2],
    sys.argv[2:],
    os.environ,
    file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_CLOSE, reader)],
)
os.close(writer)
output, first = b"", None
while chunk := os.read(reader, 65536):
    output += chunk
    if first is None and b"\n" in output:
        first = time.monotonic() - start
_, status, usage = os.wait4(pid, 0)
code = os.waitstatus_to_exitcode(status)
report = {
    "first_seconds": first if first is not None else -1.0,
    "seconds": time.monotonic() - start,
    "peak_mib": usage.ru_maxrss / 1024,
    "cpu_seconds": usage.ru_utime + usage.ru_stime,
    "stdout": output.decode(),
}
print(json.dumps(report))
sys.exit(0 if code == 0 else 1)
