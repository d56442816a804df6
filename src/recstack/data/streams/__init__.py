"""Index streams: which rows of a table lookups ask for, one after another.

uniform            every row alike: the worst case for caches
zipf:1.05          popularity by rank to the power of minus this; draws are independent
reuse:medium       recorded reuse: how often rows come, and how soon again (also low, or a
                   profile's file); `fit` makes a profile from a stream
file:PATH          a recorded stream itself, one index per line, over and over

A stream is seeded by the generator it is given, and gives indices for a table of any size.
"""

from __future__ import annotations

from recstack.data.streams.forms import FORMS, parse
from recstack.data.streams.independent import Uniform, Zipf
from recstack.data.streams.measure import lru_hit_rate, reuse_histogram, reuse_intervals
from recstack.data.streams.profile import Profile, fit, load_profile
from recstack.data.streams.recorded import Recorded
from recstack.data.streams.reuse import Reuse
from recstack.data.streams.stream import Stream

__all__ = [
    "FORMS",
    "Profile",
    "Recorded",
    "Reuse",
    "Stream",
    "Uniform",
    "Zipf",
    "fit",
    "load_profile",
    "lru_hit_rate",
    "parse",
    "reuse_histogram",
    "reuse_intervals",
]
