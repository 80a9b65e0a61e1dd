"""autokaggle-tui: an autonomous Kaggle loop in a terminal."""

__version__ = "0.1.0"
