"""Metrics of devices: what they are called, how each vendor's counters give them, their values."""
