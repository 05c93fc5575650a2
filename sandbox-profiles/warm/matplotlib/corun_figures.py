"""Matplotlib's backend in a box, where there is no screen: what a program shows becomes
files in the folder out, figure-1.png and so on, which come back with the run."""

import os

from matplotlib._pylab_helpers import Gcf
from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvas


def show(*args, block=None, **kwargs):
    folder = os.path.join(os.path.expanduser("~"), "out")
    number = 1
    for manager in Gcf.get_all_fig_managers():
        os.makedirs(folder, exist_ok=True)
        # A figure that is shown again is written again.
        if not hasattr(manager, "file"):
            while os.path.exists(path := os.path.join(folder, f"figure-{number}.png")):
                number += 1
            manager.file = path
        manager.canvas.figure.savefig(manager.file)
    if block is not False:
        # As if every window had been closed: the next figure is a new one.
        Gcf.destroy_all()
