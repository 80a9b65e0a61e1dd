"""``python -m autokaggle_tui``."""

from autokaggle_tui.cli import main

main()
