"""What the machine at hand can do."""

from recstack.machine.measure import measure_peaks
from recstack.machine.peaks import Peaks
from recstack.machine.store import load_peaks, peaks_path, read_peaks, save_peaks

__all__ = ["Peaks", "load_peaks", "measure_peaks", "peaks_path", "read_peaks", "save_peaks"]
