import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recstack.batch import check
from recstack.data import movielens as ml
from recstack.errors import ConfigError, DataError

MOVIES = (
    "movieId,title,genres\n"
    '2,"Heat, The (1995)",Action|Crime\n'
    "9,Nameless,(no genres listed)\n"
    "5,Toy Story (1995),Comedy\n"
)
RATINGS = "userId,movieId,rating,timestamp\n7,5,4.0,30\n7,2,0.5,10\n3,9,5,10\n"
BUNDLED = Path(__file__).parents[2] / "examples" / "movielens" / "data"
NAMES = tuple(ml.SPARSE)


def write(folder, ratings=RATINGS, movies=MOVIES):
    (folder / "ratings.csv").write_text(ratings)
    (folder / "movies.csv").write_text(movies)
    return folder / "ratings.csv", folder / "movies.csv"


def synthetic(seed=0, ratings=600, users=12, movies=40):
    """Few distinct timestamps, so that ties within and across users abound."""
    rng = np.random.default_rng(seed)
    return ml.MovieLens(
        user=rng.integers(0, users, ratings),
        movie=rng.integers(0, movies, ratings),
        half_stars=rng.integers(1, 11, ratings),
        time=np.sort(rng.integers(0, ratings // 4, ratings)) + 10**9,
        year=rng.integers(1930, 2000, movies) * (rng.random(movies) < 0.9),
        genres=rng.random((movies, 5)) < 0.4,
        genre_names=tuple("abcde"),
        users=np.arange(users),
        movies=np.arange(movies),
    )


def features_of_all(data, train_until):
    return ml.Features(data, train_until).of(data.user, data.movie, data.time)


def same_row(left, right, i, j):
    a, b = left.take(np.array([i])), right.take(np.array([j]))
    np.testing.assert_array_equal(a.user_dense, b.user_dense)
    np.testing.assert_array_equal(a.dense, b.dense)
    for name in NAMES:
        for x, y in zip(a.sparse[name], b.sparse[name], strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)


def test_files_are_read_and_ordered_by_time(tmp_path):
    data = ml.load(*write(tmp_path))
    assert data.users.tolist() == [3, 7] and data.movies.tolist() == [2, 5, 9]
    assert data.user.tolist() == [1, 0, 1] and data.movie.tolist() == [0, 2, 1]
    assert data.half_stars.tolist() == [1, 10, 8] and data.liked.tolist() == [False, True, True]
    assert data.year.tolist() == [1995, 1995, 0]
    assert data.genre_names == ("Action", "Comedy", "Crime")
    assert data.genres.sum(axis=1).tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match="read-only"):
        data.time[0] = 1


def test_gzipped_files_are_the_same(tmp_path):
    paths = []
    for path in write(tmp_path):
        paths.append(path.with_name(path.name + ".gz"))
        paths[-1].write_bytes(gzip.compress(path.read_bytes()))
    assert ml.load(*paths).time.tolist() == [10, 10, 30]


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ("7,5,4.0\n", r"ratings.csv:5: expected 4 fields, got 3"),
        ("7,5,4.3,1\n", r"ratings.csv:5: expected a rating .* got '4.3'"),
        ("7,5,0,1\n", r"ratings.csv:5: expected a rating"),
        ("7,5,nan,1\n", r"ratings.csv:5: expected a rating"),
        ("-7,5,4,1\n", r"ratings.csv:5: expected userId"),
        ("7,5,4,1.5\n", r"ratings.csv:5: expected timestamp"),
        ("7,5,4,4294967296\n", r"ratings.csv:5: expected timestamp in \[0, 2\^32\)"),
        ("7,6,4,1\n", r"ratings.csv:5: expected a movieId of movies.csv, got 6"),
        ("\n", r"ratings.csv:5: expected 4 fields, got 0"),
        ('7,5,"4\n', r"ratings.csv:5: unexpected end of data"),
    ],
)
def test_a_bad_rating_names_file_and_line(tmp_path, bad, where):
    with pytest.raises(DataError, match=where):
        ml.load(*write(tmp_path, ratings=RATINGS + bad))


@pytest.mark.parametrize(
    ("movies", "where"),
    [
        ("id,title,genres\n", r"movies.csv:1: expected \['movieId', 'title', 'genres'\]"),
        (MOVIES + "2,Again (2000),Drama\n", r"movies.csv:5: expected each movieId once"),
        (MOVIES + "8,Comma, Unquoted (2000),Drama\n", r"movies.csv:5: expected 3 fields, got 4"),
        (MOVIES + "x,A (2000),Drama\n", r"movies.csv:5: expected movieId"),
    ],
)
def test_a_bad_movie_names_file_and_line(tmp_path, movies, where):
    with pytest.raises(DataError, match=where):
        ml.load(*write(tmp_path, movies=movies))


def test_missing_broken_and_empty_files(tmp_path):
    ratings, movies = write(tmp_path)
    with pytest.raises(DataError, match=r"absent.csv"):
        ml.load(tmp_path / "absent.csv", movies)
    packed = tmp_path / "ratings.csv.gz"
    packed.write_bytes(gzip.compress(ratings.read_bytes() * 99)[:60])
    with pytest.raises(DataError, match=r"ratings.csv.gz:"):
        ml.load(packed, movies)
    packed.write_text(RATINGS)
    with pytest.raises(DataError, match=r"ratings.csv.gz:1: cannot read: Not a gzipped file"):
        ml.load(packed, movies)
    ratings.write_text("userId,movieId,rating,timestamp\n")
    with pytest.raises(DataError, match=r"ratings.csv:2: expected ratings, got none"):
        ml.load(ratings, movies)


@pytest.mark.parametrize("seed", range(5))
def test_ratings_at_or_after_a_row_do_not_change_its_features(seed):
    """Nor does the row's own rating: it is one of those changed."""
    data = synthetic(seed)
    until = int(data.time[480])
    before = features_of_all(data, until)
    rng = np.random.default_rng(seed + 100)
    for row in rng.integers(0, len(data.time), 15).tolist():
        later = data.time >= data.time[row]
        stars = np.where(later, rng.integers(1, 11, len(later)), data.half_stars)
        after = features_of_all(replace(data, half_stars=stars), until)
        for at in np.flatnonzero(data.time <= data.time[row])[-20:].tolist():
            same_row(before, after, at, at)


def test_deleting_the_future_does_not_change_a_test_row():
    data = synthetic(1)
    until = int(data.time[400])
    whole = features_of_all(data, until)
    for row in (450, 500, 599):
        past = data.time < data.time[row]
        parts = {k: getattr(data, k)[past] for k in ("user", "movie", "half_stars", "time")}
        alone = ml.Features(replace(data, **parts), until).of(
            data.user[[row]], data.movie[[row]], data.time[[row]]
        )
        same_row(whole, alone, row, 0)


def test_an_earlier_rating_does_change_later_features():
    data = synthetic(2)
    stars = data.half_stars.copy()
    stars[0] = 11 - stars[0]
    before, after = (
        features_of_all(d, int(data.time[480])) for d in (data, replace(data, half_stars=stars))
    )
    same_user, same_movie = data.user == data.user[0], data.movie == data.movie[0]
    later = data.time > data.time[0]
    assert (before.user_dense != after.user_dense).any(axis=1)[same_user & later].all()
    assert (before.dense != after.dense).any(axis=1)[same_movie & later].all()


def test_counts_and_history_equal_a_plain_loop():
    data = synthetic(3)
    until = int(data.time[480])
    rows = features_of_all(data, until)
    known = np.unique(data.movie[data.time < until]).tolist()
    history, lengths = rows.padded("history"), rows.sparse["history"][1]
    names = [name for name, _, _ in ml.USER_DENSE]
    for row in range(0, len(data.time), 7):
        past = (data.user == data.user[row]) & (data.time < data.time[row])
        likes = [m for m in data.movie[past & data.liked].tolist() if m in known][-ml.HISTORY :]
        assert history[row, : lengths[row]].tolist() == [1 + known.index(m) for m in likes]
        assert not history[row, lengths[row] :].any()
        rate = (data.liked[past].sum() + 2.5) / (past.sum() + 5)
        _, centre, scale = ml.USER_DENSE[names.index("like rate")]
        found = rows.user_dense[row, names.index("like rate")]
        assert found == pytest.approx((rate - centre) / scale, abs=1e-5)


def test_ids_without_a_training_rating_are_index_0():
    data = synthetic(4, ratings=60, users=50)
    until = int(data.time[30])
    rows = features_of_all(data, until)
    for name, ids in (("user", data.user), ("movie", data.movie)):
        unseen = ~np.isin(ids, ids[data.time < until])
        assert unseen.any()
        np.testing.assert_array_equal(rows.sparse[name][0] == 0, unseen)


def test_split_is_by_time_and_keeps_ties_together():
    data = synthetic(5)
    train, valid, test = ml.split(data)
    assert np.concatenate([train, valid, test]).tolist() == list(range(len(data.time)))
    assert data.time[train[-1]] < data.time[valid[0]]
    assert data.time[valid[-1]] < data.time[test[0]]
    with pytest.raises(ConfigError, match="no part empty"):
        ml.split(replace(data, time=np.full_like(data.time, 5)))


@pytest.mark.parametrize("names", [NAMES, ("user", "movie"), ("history", "genres"), ("year",), ()])
def test_rows_are_a_valid_batch(names):
    data = synthetic(6)
    rows = features_of_all(data, int(data.time[480]))
    batch = rows.batch(names)
    check(rows.inputs(names), batch)
    assert batch.rows == batch.queries == len(data.time)


def test_table_rows_bound_every_index():
    data = synthetic(7)
    features = ml.Features(data, int(data.time[480]))
    rows = features.of(data.user, data.movie, data.time)
    for name, limit in features.table_rows.items():
        values = rows.sparse[name][0]
        assert values.min() >= 0 and values.max() < limit, name


def test_queries_hold_one_user_at_the_split_time():
    data = synthetic(8)
    features = ml.Features(data, int(data.time[480]))
    made = ml.queries(features, NAMES, count=8, rows=(1, 5), seed=1)
    inputs = features.of(data.user[:1], data.movie[:1], data.time[:1]).inputs(NAMES)
    for number, query in enumerate(made):
        check(inputs, query.batch)
        assert query.id == number and query.batch.queries == 1 and query.batch.rows in (1, 5)
        assert query.batch.user_dense.shape == (1, len(ml.USER_DENSE))
    assert {q.batch.rows for q in made} == {1, 5}
    again = ml.queries(features, NAMES, count=8, rows=(1, 5), seed=1)
    np.testing.assert_array_equal(made[3].batch.values, again[3].batch.values)


def test_more_candidates_than_movies_is_refused():
    data = synthetic(9)
    features = ml.Features(data, int(data.time[480]))
    with pytest.raises(ConfigError, match="candidates, got 41"):
        ml.queries(features, NAMES, count=1, rows=41, seed=0)


def test_a_query_scores_as_its_rows_one_by_one():
    """The user's features, sent once, are those of each of the query's rows."""
    data = synthetic(10)
    features = ml.Features(data, int(data.time[480]))
    movies = np.arange(6)
    rows = features.of(np.full(6, 2), movies, np.full(6, features.train_until))
    together = rows.batch(NAMES, np.array([0, 6], np.int32))
    assert (rows.user_dense == together.user_dense).all()
    user, history = (rows.sparse[name] for name in ("user", "history"))
    first = history[1][0]
    assert together.values[0] == user[0][0]
    np.testing.assert_array_equal(together.values[1 : 1 + first], history[0][:first])


@pytest.mark.skipif(not BUNDLED.is_dir(), reason=f"{BUNDLED} is absent")
def test_the_bundled_edition():
    data = ml.load(BUNDLED / "ratings.csv.gz", BUNDLED / "movies.csv.gz")
    assert len(data.users) == 671 and len(data.movies) == 9125
    assert len(data.time) == 100_004 and data.liked.sum() == 51_568
    assert [len(part) for part in ml.split(data)] == [80_003, 10_000, 10_001]
