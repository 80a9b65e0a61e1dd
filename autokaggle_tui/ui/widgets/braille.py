"""A canvas of braille dots: two by four to a character cell, each cell in one colour, with signs laid over them."""

from __future__ import annotations

from autokaggle_tui.ui.widgets.lines import Line, Piece

ACROSS, DOWN = 2, 4
_BLANK = 0x2800
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Canvas:
    """Dots are counted from the top left; those outside are not drawn. Of two colours in a cell the later wins."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.width, self.height = columns * ACROSS, rows * DOWN
        self._bits = [[0] * columns for _ in range(rows)]
        self._styles = [[""] * columns for _ in range(rows)]
        self._signs: dict[tuple[int, int], str] = {}

    def dot(self, x: int, y: int, style: str) -> None:
        """One dot."""
        if 0 <= x < self.width and 0 <= y < self.height:
            row, column = y // DOWN, x // ACROSS
            self._bits[row][column] |= _BITS[y % DOWN][x % ACROSS]
            self._styles[row][column] = style

    def block(self, x: int, y: int, style: str, size: int = 2) -> None:
        """A square of dots, seen better than one."""
        for across in range(size):
            for down in range(size):
                self.dot(min(x + across, self.width - 1), min(y + down, self.height - 1), style)

    def level(self, x1: int, x2: int, y: int, style: str) -> None:
        """A level line, both ends included."""
        for x in range(x1, x2 + 1):
            self.dot(x, y, style)

    def upright(self, x: int, y1: int, y2: int, style: str) -> None:
        """An upright line, both ends included."""
        for y in range(min(y1, y2), max(y1, y2) + 1):
            self.dot(x, y, style)

    def sign(self, x: int, y: int, sign: str, style: str) -> None:
        """A character in the cell of a dot, in the place of the dots that are there."""
        column, row = x // ACROSS, y // DOWN
        if 0 <= column < self.columns and 0 <= row < self.rows:
            self._signs[row, column] = sign
            self._styles[row][column] = style

    def line(self, row: int) -> Line:
        """A row of cells, those of one colour together."""
        pieces: list[Piece] = []
        for column, (bits, style) in enumerate(zip(self._bits[row], self._styles[row], strict=True)):
            sign = self._signs.get((row, column)) or (chr(_BLANK | bits) if bits else " ")
            if pieces and pieces[-1][1] == style:
                pieces[-1] = (pieces[-1][0] + sign, style)
            else:
                pieces.append((sign, style))
        return tuple(pieces)
