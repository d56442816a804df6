"""What the machine at hand can do."""

from recstack.machine.measure import measure_peaks
from recstack.machine.peaks import Peaks
from recstack.machine.store import find_peaks, load_peaks, peaks_path, save_peaks

__all__ = ["Peaks", "find_peaks", "load_peaks", "measure_peaks", "peaks_path", "save_peaks"]
