"""Finding the cheapest precision plan that is proven to keep an accuracy budget.

units     a ladder of precisions for every table and layer
offer     the ladders that a model's tables and layers have
costs     what each precision costs: bytes, or time measured alone
search    the search, over answers that it asks for
measured  the answers: engines on labelled data
run       all of it
publish   new weights under an old plan
deploy    a proven plan as a folder that `serve` takes
"""

from recstack.tune.quantise.config import QuantiseConfig
from recstack.tune.quantise.run import Quantised, quantise
from recstack.tune.quantise.search import Outcome, Step

__all__ = ["Outcome", "QuantiseConfig", "Quantised", "Step", "quantise"]
