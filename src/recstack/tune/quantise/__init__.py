"""Finding the cheapest precision plan that is proven to keep an accuracy budget.

units     what may be chosen: a ladder of precisions for every table and layer
costs     what each costs: bytes, or time measured alone
search    the search, over answers that it asks for
measured  the answers: engines on labelled data
run       all of it
"""

from recstack.tune.quantise.run import QuantiseConfig, Quantised, quantise
from recstack.tune.quantise.search import Outcome, Step

__all__ = ["Outcome", "QuantiseConfig", "Quantised", "Step", "quantise"]
