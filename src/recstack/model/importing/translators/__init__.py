"""One file per family of aten operators; importing them fills the registry."""

from __future__ import annotations


def load_all() -> None:
    """Register every translator."""
    from recstack.model.importing.translators import (  # noqa: F401
        create,
        dense,
        einsum,
        elementwise,
        embedding,
        products,
        recurrent,
        reduce,
        select,
        views,
        windows,
    )
