"""The program: ``python -m autokaggle_tui``, and what the installed command calls."""

from autokaggle_tui.interrupts import leaving_at_once


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C while it is loaded is quiet."""
    with leaving_at_once():
        from autokaggle_tui.cli import main as run
    run()


if __name__ == "__main__":
    main()
