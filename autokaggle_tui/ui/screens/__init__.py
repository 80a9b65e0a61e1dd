"""Screens, one per module, each with its stylesheet beside it."""
