"""What is computed: a model as data, its storage, and the zoo."""

from recstack.model.description import Argument, ModelDescription, parse_description
from recstack.model.model import Model, Value, build, feature_tables
from recstack.model.storage import load

__all__ = [
    "Argument",
    "Model",
    "ModelDescription",
    "Value",
    "build",
    "feature_tables",
    "load",
    "parse_description",
]
