"""Census-Income (KDD) as a problem with two labels: income above 50,000, and never married.

    data = load("census-income.test.gz")
    train, valid, test = split(data, valid=10_000, test=20_000)
    features = Features(data, train)
    batch = features.of(test).batch()            # labels: data.labels[test], (rows, 2)

The marital status is a label, so it is no feature; nor is the sampling weight.

Data: Census-Income (KDD), UCI Machine Learning Repository, 2000 (CC BY 4.0). Tasks: Ma et al.,
Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from recstack.batch import DenseInput, Input, SparseInput
from recstack.data.lines import integer, lines, malformed
from recstack.data.rows import Rows, frozen
from recstack.errors import ConfigError, DataError

Ints = NDArray[np.int64]

COLUMNS = (
    "age", "class_worker", "det_ind_code", "det_occ_code", "education", "wage_per_hour",
    "hs_college", "marital_stat", "major_ind_code", "major_occ_code", "race", "hisp_origin", "sex",
    "union_member", "unemp_reason", "full_or_part_emp", "capital_gains", "capital_losses",
    "stock_dividends", "tax_filer_stat", "region_prev_res", "state_prev_res", "det_hh_fam_stat",
    "det_hh_summ", "instance_weight", "mig_chg_msa", "mig_chg_reg", "mig_move_reg", "mig_same",
    "mig_prev_sunbelt", "num_emp", "fam_under_18", "country_father", "country_mother",
    "country_self", "citizenship", "own_or_self", "vet_question", "vet_benefits", "weeks_worked",
    "year", "income",
)  # fmt: skip
DENSE = (
    "age", "wage_per_hour", "capital_gains", "capital_losses", "stock_dividends", "num_emp",
    "weeks_worked",
)  # fmt: skip
AMOUNTS = ("wage_per_hour", "capital_gains", "capital_losses", "stock_dividends")
LABELS = ("income", "never_married")
CATEGORICAL = tuple(
    c for c in COLUMNS if c not in (*DENSE, "marital_stat", "instance_weight", "income")
)
INCOMES = {"- 50000": False, "50000+": True}
SCHEMA: tuple[Input, ...] = (
    DenseInput(name="dense", width=len(DENSE)),
    *(SparseInput(name=name, fixed=True) for name in CATEGORICAL),
)


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """The file as read-only arrays.

    dense: (rows, 7) int64, as DENSE. codes: column -> (rows,) int64, positions in `values`.
    values: column -> its texts, in order of appearance. labels: (rows, 2) bool, as LABELS.
    """

    dense: Ints
    codes: Mapping[str, Ints]
    values: Mapping[str, tuple[str, ...]]
    labels: NDArray[np.bool_]


def load(path: str | Path) -> Census:
    """Read a census-income file: 42 fields a line, parted by a comma and a space.

    Raises DataError, naming file, line and column, on a malformed line.
    """
    at = {name: i for i, name in enumerate(COLUMNS)}
    numbers = [(at[name], f"{name} (column {at[name] + 1})") for name in DENSE]
    known: list[dict[str, int]] = [{} for _ in CATEGORICAL]
    columns = [(at[name], seen) for name, seen in zip(CATEGORICAL, known, strict=True)]
    dense: list[list[int]] = []
    codes: list[list[int]] = []
    labels: list[tuple[bool, bool]] = []
    for number, text in lines(path):
        fields = text.rstrip().removesuffix(".").split(", ")
        if len(fields) != len(COLUMNS):
            raise DataError(f"{path}:{number}: expected {len(COLUMNS)} fields, got {len(fields)}")
        if (income := fields[-1]) not in INCOMES:
            raise malformed(path, number, "income (column 42)", f"one of {[*INCOMES]}", income)
        dense.append([integer(fields[i], path, number, column) for i, column in numbers])
        codes.append([seen.setdefault(fields[i], len(seen)) for i, seen in columns])
        labels.append((INCOMES[income], fields[at["marital_stat"]] == "Never married"))
    if not dense:
        raise DataError(f"{path}:1: expected rows, got none")
    table = np.array(codes, np.int64)
    return Census(
        dense=frozen(np.array(dense, np.int64)),
        codes=MappingProxyType({c: frozen(table[:, i]) for i, c in enumerate(CATEGORICAL)}),
        values=MappingProxyType({c: tuple(s) for c, s in zip(CATEGORICAL, known, strict=True)}),
        labels=frozen(np.array(labels, np.bool_)),
    )


def split(data: Census, valid: int, test: int, seed: int = 0) -> tuple[Ints, Ints, Ints]:
    """Row numbers of training, validation and test: a seeded permutation, test cut off first.

    Raises ConfigError where nothing is left to train on.
    """
    rows = len(data.labels)
    if valid < 1 or test < 1 or valid + test >= rows:
        raise ConfigError(f"expected valid and test rows below {rows} in all, got {valid}, {test}")
    order = np.random.default_rng(seed).permutation(rows)
    return order[test + valid :], order[test : test + valid], order[:test]


class Features:
    """Features of any rows; vocabularies, means and deviations are those of the rows in `train`.

    Amounts of money pass log1p first. A text that training lacks has index 0.
    """

    def __init__(self, data: Census, train: Ints) -> None:
        self.data = data
        self._index: dict[str, Ints] = {}
        for name, codes in data.codes.items():
            index = np.zeros(len(data.values[name]), np.int64)
            seen = np.unique(codes[train])
            index[seen] = np.arange(1, len(seen) + 1)
            self._index[name] = index
        numbers = self._numbers(train)
        self._mean, deviation = numbers.mean(axis=0), numbers.std(axis=0)
        self._scale = np.where(deviation > 0, deviation, 1.0)

    @property
    def table_rows(self) -> dict[str, int]:
        """Rows of the table that each sparse feature looks up."""
        return {name: int(index.max()) + 1 for name, index in self._index.items()}

    def of(self, rows: Ints) -> Rows:
        """Features of these rows of the data, each a query of its own."""
        one = np.ones(len(rows), np.int32)
        dense = (self._numbers(rows) - self._mean) / self._scale
        sparse = {
            name: (frozen(index[self.data.codes[name][rows]]), one)
            for name, index in self._index.items()
        }
        return Rows(
            schema=SCHEMA,
            user_dense=np.zeros((len(rows), 0), np.float32),
            dense=frozen(dense.astype(np.float32)),
            sparse=MappingProxyType(sparse),
        )

    def _numbers(self, rows: Ints) -> NDArray[np.float64]:
        numbers = self.data.dense[rows].astype(np.float64)
        amounts = [DENSE.index(name) for name in AMOUNTS]
        numbers[:, amounts] = np.log1p(numbers[:, amounts])
        return numbers
