"""The bundled models' held-out ratings as labelled data; without torch.

    python examples/movielens/held_out.py wnd --out out/wnd.safetensors

20,001 ratings by 147 users: all that come after those which the models were trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import recstack as rs
from recstack.data import LabelledData, movielens

HERE = Path(__file__).parent


def held_out(model: rs.Model) -> LabelledData:
    """The validation and the test part, each rating a query, its user the group."""
    data = movielens.load(HERE / "data" / "ratings.csv.gz", HERE / "data" / "movies.csv.gz")
    _, valid, test = movielens.split(data)
    features = movielens.Features(data, train_until=int(data.time[valid[0]]))
    at = np.concatenate([valid, test])
    rows = features.of(data.user[at], data.movie[at], data.time[at])
    labels = data.liked[at][:, None].astype(np.float32)
    batch = rows.batch([i.name for i in model.sparse])
    return LabelledData(model.inputs, batch, labels, data.user[at])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=("wnd", "din"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    held_out(rs.load(HERE / "models" / given.model)).save(given.out)


if __name__ == "__main__":
    main()
