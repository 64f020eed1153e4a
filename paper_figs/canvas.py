"""For print: the widths that venues ask for, and the colours and marks of every figure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from toymdp import InstanceError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# inches, from the style files of the venues
WIDTHS = {"icml-column": 3.25, "icml-page": 6.75, "neurips": 5.5}
COLUMN = WIDTHS["icml-column"]

# letters that match a paper's, all of which come with matplotlib: no LaTeX is asked for. What a face
# lacks (Greek in Computer Modern's) the next one of its list draws
FONTS: dict[str, dict[str, Any]] = {
    "sans": {},
    "times": {"font.family": ["STIXGeneral", "DejaVu Serif"], "mathtext.fontset": "stix"},
    "computer-modern": {
        "font.family": ["cmr10", "STIXGeneral", "DejaVu Serif"], "mathtext.fontset": "cm",
        "axes.formatter.use_mathtext": True,
    },
}  # fmt: skip

# Okabe–Ito, different in lightness as well, and never without a marker, line style or hatch
BLUE, VERMILION, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, ORANGE, BLACK, GREY = "#56B4E9", "#E69F00", "#000000", "#767676"
OTHERS = (BLUE, ORANGE, GREEN, PINK, SKY, VERMILION)  # for what has no colour of its own
HEAT = "cividis"  # even in lightness, the same to colour-blind readers


def canvas(
    width: float, aspect: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """Return ``plt.subplots`` of this width (inches); aspect: height over width at one column.

    Wider figures grow in height more slowly than in width.
    """
    import matplotlib.pyplot as plt  # half a second that every other command would wait for

    from .embedded import EmbeddedFigure

    height = aspect * COLUMN * (width / COLUMN) ** 0.4
    figure, axes = plt.subplots(
        rows, columns, figsize=(width, height), FigureClass=EmbeddedFigure, **options
    )
    return figure, axes


@contextmanager
def house_style(font: str, dpi: float | None = None) -> Iterator[None]:
    """The style of every figure, with one of FONTS; dpi: on a screen, in place of the style's.

    Raises InstanceError for an unknown font.
    """
    import matplotlib.pyplot as plt

    if font not in FONTS:
        raise InstanceError.of("font", font, "is unknown", f"one of {tuple(FONTS)}")
    own = {} if dpi is None else {"figure.dpi": dpi}
    style = files("paper_figs") / "style.mplstyle"
    with as_file(style) as sheet, plt.style.context([sheet, FONTS[font] | own]):
        yield
