"""Presets of published recommendation models, and how they become models.

`build` makes a model with seeded weights, `outline` the same model without memory for its weights,
`description` its data alone. A preset is data (one file per family); `graph.Graph` turns it into
ops.
"""

from recstack.model.zoo.catalogue import (
    Entry,
    build,
    description,
    listing,
    names,
    outline,
    variants,
)

__all__ = ["Entry", "build", "description", "listing", "names", "outline", "variants"]
