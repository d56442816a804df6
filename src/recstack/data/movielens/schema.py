"""What the features of MovieLens are."""

from __future__ import annotations

from recstack.batch import DenseInput, Input, SparseInput

HISTORY = 20
# A column's name, centre and scale; stars are half stars, "over" is a mean excess over the mean
# rating of the same user or movie, pauses and ages are log1p(seconds), log1p(years).
USER_DENSE = (
    ("like rate", 0.5, 0.2), ("stars", 7.0, 1.0), ("stars over movie's", 0.0, 1.0),
    ("log ratings", 4.5, 1.5), ("spread of stars", 2.0, 0.4),
    ("like rate, last 20", 0.5, 0.2), ("stars, last 20", 7.0, 1.0), ("over, last 20", 0.0, 1.0),
    ("like rate, last 5", 0.5, 0.2), ("pause", 3.0, 3.0), ("tenure", 10.0, 5.0),
)  # fmt: skip
DENSE = (
    ("like rate", 0.5, 0.2), ("stars", 7.0, 0.7), ("stars over user's", 0.0, 0.7),
    ("log ratings", 2.5, 1.5), ("over, last 20", 0.0, 0.7), ("age", 2.0, 1.0),
    ("genre's like rate", 0.5, 0.1), ("genre's stars over user's", 0.0, 0.2),
    ("user's genre like rate less like rate", 0.0, 0.05), ("user's genre over user's", 0.0, 0.4),
    ("user's genre over movie's", 0.0, 0.6), ("log user's genre ratings", 2.5, 1.5),
    ("user's period like rate less like rate", 0.0, 0.1), ("user's period over user's", 0.0, 0.5),
    ("user's period over movie's", 0.0, 0.7), ("log user's period ratings", 2.0, 1.5),
)  # fmt: skip
SPARSE = {
    item.name: item
    for item in (
        SparseInput(name="user", scope="user", fixed=True),
        SparseInput(name="history", scope="user", length=HISTORY),
        SparseInput(name="movie", fixed=True),
        SparseInput(name="year", fixed=True),
        SparseInput(name="genres", length=3),
        SparseInput(name="user_x_genre", length=3),
    )
}
SCHEMA: tuple[Input, ...] = (
    DenseInput(name="user_dense", width=len(USER_DENSE), scope="user"),
    DenseInput(name="dense", width=len(DENSE)),
    *SPARSE.values(),
)
