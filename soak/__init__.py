"""Faults on purpose, for hours: kills, outages, full disks, damaged files, nonsense."""
