"""MovieLens as a click-through problem: will this user rate this movie 4 stars or more?

Every feature of a rating is computed from strictly earlier ratings, so that neither the future nor
ratings with the same timestamp (one page of the site, rated at once) leak into it.

    data = load("ratings.csv.gz", "movies.csv.gz")
    train, valid, test = split(data)
    features = Features(data, train_until=data.time[valid[0]])
    rows = features.of(data.user[test], data.movie[test], data.time[test])
    batch = rows.batch(("user", "movie", "year", "genres"))     # labels: data.liked[test]

ratings     the files as arrays, and their split by time
past        running sums that answer only about earlier events
schema      names, scopes and scales of the features
features    the features of any (user, movie, time), and serving queries
example     the bundled ratings, and how the bundled models do on those held out

Data: F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4):19,
2015.
"""

from recstack.data.movielens.example import Accuracy, Example
from recstack.data.movielens.features import Features, queries
from recstack.data.movielens.past import Past
from recstack.data.movielens.ratings import MovieLens, load, split
from recstack.data.movielens.schema import DENSE, HISTORY, SCHEMA, SPARSE, USER_DENSE
from recstack.data.rows import Rows

__all__ = [
    "DENSE",
    "HISTORY",
    "SCHEMA",
    "SPARSE",
    "USER_DENSE",
    "Accuracy",
    "Example",
    "Features",
    "MovieLens",
    "Past",
    "Rows",
    "load",
    "queries",
    "split",
]
