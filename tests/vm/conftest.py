"""Keeps the host's pytest out of guest_tests/, which run-tests runs in the guest."""

collect_ignore = ["guest_tests"]
