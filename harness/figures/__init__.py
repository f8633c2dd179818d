"""Figures of a run for papers, pull requests and slides, drawn by matplotlib.

In: a `harness.verdicts.Run`, by the view models of `harness.report`. Out: PNG, SVG and PDF files
whose bytes depend on the run and on matplotlib's version. Nothing here opens a window or changes
a setting of matplotlib for others. Who imports this imports matplotlib: do it where one draws.
"""

from harness.figures.catalogue import KINDS, Drawing, chosen, drawings_of, lacking
from harness.figures.files import FORMATS, write_figures
from harness.figures.style import WIDTHS, Paper, width_in

__all__ = [
    "FORMATS",
    "KINDS",
    "WIDTHS",
    "Drawing",
    "Paper",
    "chosen",
    "drawings_of",
    "lacking",
    "width_in",
    "write_figures",
]
