"""Schedules: arrays of arrival times, made before the run.

poisson                              independent users: exponential gaps
uniform                              a fixed gap
gamma:cv=2                           gamma gaps of this coefficient of variation; 1 is poisson
mmpp:burst=10,calm_s=5,burst_s=0.5   two states; bursts at ten times the calm rate; mean dwells
diurnal:period_s=86400,swing=0.5     a daily swing by half of the mean, up first
trace:FILE                           recorded times, one per line, at the rate asked for
deeprecsys                           compatibility: the gaps of DeepRecSys's released generator

Every process has the mean rate that is asked for. Options left out have the values above, but for
gamma's. A new process is a function or a frozen class here and a line in `forms`.
"""

from __future__ import annotations

from recstack.loadtest.arrivals.forms import FORMS, describe, parse
from recstack.loadtest.arrivals.modulated import Diurnal, Mmpp
from recstack.loadtest.arrivals.process import Process
from recstack.loadtest.arrivals.replay import Trace
from recstack.loadtest.arrivals.steady import Gamma, deeprecsys, poisson, uniform

__all__ = [
    "FORMS",
    "Diurnal",
    "Gamma",
    "Mmpp",
    "Process",
    "Trace",
    "deeprecsys",
    "describe",
    "parse",
    "poisson",
    "uniform",
]
