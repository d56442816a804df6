"""What the machine at hand can do."""

from recstack.machine.measure import measure_peaks
from recstack.machine.peaks import Hint, Peaks
from recstack.machine.store import find_peaks, load_peaks, make_home, peaks_path, save_peaks
from recstack.machine.topology import Caches, caches_here

__all__ = [
    "Caches",
    "Hint",
    "Peaks",
    "caches_here",
    "find_peaks",
    "load_peaks",
    "make_home",
    "measure_peaks",
    "peaks_path",
    "save_peaks",
]
