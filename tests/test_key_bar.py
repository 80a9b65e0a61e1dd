"""The line of keys: what fits of it, what it looks like, and that it can be clicked."""

from textual.app import App, ComposeResult
from textual.binding import Binding

from autokaggle_tui.ui.themes import DEFAULT, register
from autokaggle_tui.ui.widgets.key_bar import Entry, KeyBar, fitted

from .widget_stage import seen

ENTRIES = [
    Entry(name[0].lower(), name[0].lower(), name, "", True, stays)
    for name, stays in (
        ("Back", True),
        ("Zoom", False),
        ("Sort", False),
        ("Help", True),
        ("Quit", True),
        ("Restart", False),
    )
]


class Keys(App[None]):
    """Two keys, one of them dead."""

    BINDINGS = [Binding("p", "pause", "Pause", tooltip="Pause the loop"), Binding("t", "retro", "Retro")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.pressed: list[str] = []

    def compose(self) -> ComposeResult:
        yield KeyBar()

    def on_mount(self) -> None:
        register(self)
        self.theme = DEFAULT

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return None if action == "retro" else True

    def action_pause(self) -> None:
        self.pressed.append("pause")

    def action_retro(self) -> None:
        self.pressed.append("retro")


def test_what_does_not_fit_leaves_and_help_and_the_ways_out_stay() -> None:
    assert fitted(ENTRIES, 80).plain == "b Back  z Zoom  s Sort  h Help  q Quit  r Restart"
    assert fitted(ENTRIES, 44).plain == "b Back z Zoom s Sort h Help q Quit r Restart"
    assert fitted(ENTRIES, 43).plain == "b Back  z Zoom  s Sort  h Help  q Quit"
    assert fitted(ENTRIES, 24).plain == "b Back  h Help  q Quit"
    assert fitted(ENTRIES, 14).plain == "b Back  h Help"


async def test_keys_are_clicked_and_dead_ones_do_nothing() -> None:
    app = Keys()
    async with app.run_test(size=(40, 5)) as pilot:
        bar = app.query_one(KeyBar)
        await pilot.pause()
        assert "p Pause  t Retro" in seen(bar)
        await pilot.click(KeyBar, offset=(2, 0))
        await pilot.click(KeyBar, offset=(10, 0))
        assert app.pressed == ["pause"]
        await pilot.hover(KeyBar, offset=(2, 0))
        assert bar.tooltip == "Pause the loop"


async def test_a_key_has_the_theme_s_colours() -> None:
    app = Keys()
    async with app.run_test(size=(40, 5)) as pilot:
        await pilot.pause()
        bar = app.query_one(KeyBar)
        key = next(segment for segment in bar.render_lines(bar.size.region)[0] if segment.text == "p")
        assert key.style is not None and key.style.color is not None and not key.style.underline
        assert key.style.color.get_truecolor().hex == app.theme_variables["footer-key-foreground"].lower()
