"""The machine under the program: time, durable files, threads, kernel facts, systemd, counters.

Nothing of pictures or MQTT.
"""
