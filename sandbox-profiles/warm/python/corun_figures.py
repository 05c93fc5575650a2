"""What matplotlib shows its figures with where there is no display: plt.show() writes each
to /work/out/figure-1.png, figure-2.png and so on, and files there come back with the run.
As with windows that people have closed, plt.show() leaves no figure open."""

import os

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

FOLDER = "/work/out"


def _free_path():
    os.makedirs(FOLDER, exist_ok=True)
    number = 1
    while os.path.exists(path := f"{FOLDER}/figure-{number}.png"):
        number += 1
    return path


class FigureManager(FigureManagerBase):
    path = None

    def show(self):
        # One that is shown again, as by plt.pause(), is still the same one.
        self.path = self.path or _free_path()
        self.canvas.print_figure(self.path)


class FigureCanvas(FigureCanvasAgg):
    manager_class = FigureManager


def show(*, block=None):
    for manager in Gcf.get_all_fig_managers():
        manager.show()
    if block or block is None:
        Gcf.destroy_all()
