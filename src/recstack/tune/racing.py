"""The search over candidates: a race against the best so far, then a check beside the baseline.

1. The baseline is searched in full: its QPS@SLA.
2. Climb: along each axis in turn, candidates are put to one probe just above the best rate so far.
   Who fails has lost, at the price of one probe; who passes is searched upwards and leads.
3. Sweep: what is left, in the order of a prediction, by the same challenge, until a share of the
   price of an exhaustive search is spent. No candidate that was tried is then known to be better
   than the leader by more than the tolerance.
4. Check: leader and baseline are searched again, probe by probe in turn, with fresh random numbers.
   The leader is better only if it then passes at a rate at which the baseline, probed there too,
   does not; a probe whose generator was too late does not count.

All probes of 1 to 3 share their random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from recstack.loadtest import SLA
from recstack.loadtest.search import Found, Probe, Search, SearchConfig, search_again
from recstack.schedule import ScheduleConfig
from recstack.tune.space import Candidate, Place, Space
from recstack.types import Origin

Prober = Callable[[Candidate, float, int], Probe]
"""`probe(candidate, rate_qps, seed)`: one rate, until its test decides."""
Predict = Callable[[Candidate], float]
MOST_ROUNDS = 8
CHECK_PROBES = 16  # about as many as the check takes


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate and what was found of it; `found.low_qps` is 0 for one that lost at once."""

    candidate: Candidate
    found: Found

    @property
    def schedule(self) -> ScheduleConfig:
        """The candidate's."""
        return self.candidate.schedule


@dataclass(frozen=True, slots=True)
class Tuned:
    """How a race went.

    trials: every one, in order, the baseline's first.
    baseline, leader: as found again with fresh random numbers, where `checked`; else as in the
        race: a check that time cut short before it had a rate of both says nothing.
    better: the check showed the leader to be better than the baseline.
    untried: candidates that the sweep did not come to.
    complete: nothing was left out for lack of time.
    """

    baseline: Trial
    leader: Trial
    trials: tuple[Trial, ...]
    checked: bool
    better: bool
    untried: int
    complete: bool

    @property
    def best(self) -> Trial:
        """The leader where it is better, else the baseline."""
        return self.leader if self.better else self.baseline


class Race:
    """A race over `space`, from `baseline`.

    probe: measures. predict: a guess at a candidate's rate, 0 for hopeless; orders the sweep and
        sets the first rate.
    starting, racing, checking: asked before each probe of the baseline, the race and the check;
        they end when it says no, the first not before a rate has passed.
    share: of an exhaustive search's probes, estimated from the baseline's, that the whole may take.
    origin: of what `probe` gives.
    """

    def __init__(
        self,
        space: Space,
        baseline: Candidate,
        probe: Prober,
        predict: Predict,
        sla: SLA,
        config: SearchConfig,
        *,
        starting: Callable[[], bool] = lambda: True,
        racing: Callable[[], bool] = lambda: True,
        checking: Callable[[], bool] = lambda: True,
        share: float = 0.25,
        origin: Origin = "measured",
    ) -> None:
        self._space = space
        self._baseline = baseline
        self._probe = probe
        self._predict = predict
        self._sla = sla
        self._config = config
        self._starting = starting
        self._racing = racing
        self._checking = checking
        self._share = share
        self._origin = origin
        self._spent = 0
        self._candidates = {place: space.candidate(place) for place in space.places()}
        self._guesses = {p: predict(c) for p, c in self._candidates.items()}
        self._tried: dict[str, Trial] = {}
        self._trials: list[Trial] = []
        self._leader: Trial | None = None

    def run(self) -> Tuned:
        """The whole race."""
        first = self._first()
        self._climb()
        self._sweep()
        complete = self._racing()
        assert self._leader is not None
        if self._leader is first:
            return self._result(first, first, checked=False, better=False, complete=complete)
        return self._check(first, self._leader, complete)

    def _check(self, first: Trial, raced: Trial, complete: bool) -> Tuned:
        """Both again, side by side."""
        own, other = (search_again(trial.found, self._config) for trial in (first, raced))
        complete = self._alternate([(first, own), (raced, other)]) and complete
        rate = other.found(self._sla).low_qps
        if not complete and not (rate and own.found(self._sla).low_qps):
            return self._result(first, raced, checked=False, better=False, complete=False)
        better = rate > 0 and self._falls_short(first.candidate, own, rate)
        baseline, leader = (
            Trial(trial.candidate, search.found(self._sla, self._origin))
            for trial, search in ((first, own), (raced, other))
        )
        return self._result(baseline, leader, checked=True, better=better, complete=complete)

    def _falls_short(self, candidate: Candidate, search: Search, rate: float) -> bool:
        """Whether a candidate does not pass at a rate; probed there if it failed at none below."""
        found = search.found(self._sla)
        if any(p.outcome == "fail" and p.rate_qps <= rate for p in found.probes):
            return True
        if found.high_qps > rate or not self._checking():
            return False
        probe = self._probe(candidate, rate, search.config.seed)
        search.tell(probe)
        return probe.outcome in ("fail", "undecided")

    def _first(self) -> Trial:
        config = self._config
        start = first_rate(self._predict(self._baseline), config)
        search = Search(replace(config, start_qps=start))

        def go_on() -> bool:
            # Without a rate of the baseline there is nothing: all the time may go to the first.
            passed = search.found(self._sla).low_qps > 0
            return self._checking() and (self._starting() or not passed)

        return self._search(self._baseline, search, go_on)

    def _climb(self) -> None:
        """Axis by axis from the leader, until a whole round changes nothing."""
        for _ in range(MOST_ROUNDS):
            before = self._leader
            for axis in range(len(self._space.axes)):
                self._climb_axis(axis)
            if self._leader is before or not self._racing():
                return

    def _climb_axis(self, axis: int) -> None:
        place = self._place()
        if self._space.axes[axis].ordered:
            for direction in (+1, -1):
                while self._challenge(_moved(self._place(), axis, direction)):
                    pass
            return
        for value in range(len(self._space.axes[axis].values)):
            if value == place[axis]:
                continue
            other = (*place[:axis], value, *place[axis + 1 :])
            # Another way to share the cores has another best chunk: the one predicted to be.
            for near in dict.fromkeys((other, self._predicted_best(other))):
                self._challenge(near)

    def _predicted_best(self, place: Place) -> Place:
        """Along the first ordered axis, the place of the highest prediction."""
        axis = next((i for i, a in enumerate(self._space.axes) if a.ordered), None)
        if axis is None:
            return place
        line = [
            (*place[:axis], i, *place[axis + 1 :])
            for i in range(len(self._space.axes[axis].values))
        ]
        return max(line, key=self._guesses.__getitem__)

    def _sweep(self) -> None:
        left = [p for p, c in self._candidates.items() if c.key not in self._tried]
        left.sort(key=self._guesses.__getitem__, reverse=True)
        each = len(self._trials[0].found.probes)
        different = len({candidate.key for candidate in self._candidates.values()})
        most = self._share * different * each - CHECK_PROBES
        for place in left:
            if self._spent >= most or not self._racing():
                return
            self._challenge(place)

    def _challenge(self, place: Place) -> bool:
        """Whether the candidate at a place beats the leader, and so leads."""
        assert self._leader is not None
        candidate = self._candidates.get(place)
        if candidate is None or candidate.key in self._tried or not self._racing():
            return False
        config, best = self._config, self._leader.found.low_qps
        guess = 0.0 if best else self._guesses[place]
        rate = max(best * (1 + config.tolerance), guess, config.min_qps)
        rate = min(rate, config.max_qps)
        least = rate if best else config.min_qps
        search = Search(
            replace(config, start_qps=rate, min_qps=least, factor=1 + 2 * config.tolerance)
        )
        return self._search(candidate, search, self._racing) is self._leader

    def _search(self, candidate: Candidate, search: Search, go_on: Callable[[], bool]) -> Trial:
        while (rate := search.next_rate()) is not None and go_on():
            search.tell(self._probe(candidate, rate, search.config.seed))
            self._spent += 1
        trial = Trial(candidate, search.found(self._sla, self._origin))
        self._tried[candidate.key] = trial
        self._trials.append(trial)
        if self._leader is None or trial.found.low_qps > self._leader.found.low_qps:
            self._leader = trial
        return trial

    def _alternate(self, pairs: list[tuple[Trial, Search]]) -> bool:
        """Probe for each search in turn; whether all came to their end."""
        going = True
        while going:
            going = False
            for trial, search in pairs:
                rate = search.next_rate()
                if rate is None:
                    continue
                if not self._checking():
                    return False
                search.tell(self._probe(trial.candidate, rate, search.config.seed))
                going = True
        return True

    def _place(self) -> Place:
        """Where the leader is; a baseline outside the space starts from its nearest place."""
        assert self._leader is not None
        key = self._leader.candidate.key
        for place, candidate in self._candidates.items():
            if candidate.key == key:
                return place
        return max(self._candidates, key=lambda p: _alike(self._candidates[p], self._baseline))

    def _result(
        self, baseline: Trial, leader: Trial, *, checked: bool, better: bool, complete: bool
    ) -> Tuned:
        untried = len({c.key for c in self._candidates.values()} - self._tried.keys())
        trials = tuple(self._trials)
        return Tuned(baseline, leader, trials, checked, better, untried, complete)


def exhaustive(
    space: Space, probe: Prober, predict: Predict, sla: SLA, config: SearchConfig
) -> Iterator[Trial]:
    """Every candidate's QPS@SLA, searched in full: what a race is compared to."""
    for candidate in space.candidates():
        search = Search(replace(config, start_qps=first_rate(predict(candidate), config)))
        while (rate := search.next_rate()) is not None:
            search.tell(probe(candidate, rate, config.seed))
        yield Trial(candidate, search.found(sla))


def first_rate(guess: float, config: SearchConfig) -> float:
    """Half of a predicted rate: what lies far above a system's rate costs more than what lies
    below, and a prediction knows nothing of what stands around the engine."""
    return min(max(guess / 2.0, config.min_qps), config.max_qps) if guess else config.start_qps


def _moved(place: Place, axis: int, by: int) -> Place:
    return (*place[:axis], place[axis] + by, *place[axis + 1 :])


def _alike(one: Candidate, other: Candidate) -> int:
    a, b = one.schedule.model_dump(), other.schedule.model_dump()
    return sum(bool(a[k] == b[k]) for k in a) + 2 * int(one.plan == other.plan)
