"""Widgets, one noun per module: pure views that are handed records and know neither app nor database."""
