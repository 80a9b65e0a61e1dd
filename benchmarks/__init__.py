"""Measurements: ratios within one run, never asserted as timed tests."""
