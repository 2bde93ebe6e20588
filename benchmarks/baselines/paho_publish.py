"""Raw paho-mqtt publishing at QoS 1. Prints messages acknowledged per second.

``python paho_publish.py PORT TOPIC WINDOW FILE``; FILE holds one payload a line. The clock runs
from the first publish to the last acknowledgement; connecting is not counted.
"""

import json
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

port, topic, window, file = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
payloads = file.read_bytes().splitlines()
connected, done = threading.Event(), threading.Event()
left = len(payloads)
room = threading.Semaphore(1000)  # paho looks through all that waits at every acknowledgement


def acknowledged(*_: object) -> None:
    """Count one PUBACK."""
    global left
    room.release()
    left -= 1
    if not left:
        done.set()


client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
client.max_inflight_messages_set(window)
client.max_queued_messages_set(0)
client.on_connect = lambda *_: connected.set()
client.on_publish = acknowledged
client.connect("127.0.0.1", port)
client.loop_start()
if not connected.wait(10):
    raise SystemExit("no connection")
start = time.monotonic()
for payload in payloads:
    room.acquire()
    client.publish(topic, payload, qos=1)
if not done.wait(300):
    raise SystemExit(f"{left} messages never acknowledged")
seconds = time.monotonic() - start
client.disconnect()
client.loop_stop()
print(json.dumps({"per_second": len(payloads) / seconds}))
