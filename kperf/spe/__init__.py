"""Arm's Statistical Profiling Extension: what a sampled operation did, and what it cost."""
