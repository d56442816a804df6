"""How arrivals are named on a command line and in a result file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recstack.errors import ConfigError
from recstack.loadtest.arrivals.modulated import Diurnal, Mmpp
from recstack.loadtest.arrivals.process import Process
from recstack.loadtest.arrivals.replay import read_trace
from recstack.loadtest.arrivals.steady import Gamma, deeprecsys, poisson, uniform

PLAIN: dict[str, Process] = {"poisson": poisson, "uniform": uniform, "deeprecsys": deeprecsys}
OPTIONED: dict[str, tuple[Callable[..., Process], tuple[str, ...]]] = {
    "gamma": (Gamma, ("cv",)),
    "mmpp": (Mmpp, ("burst", "calm_s", "burst_s")),
    "diurnal": (Diurnal, ("period_s", "swing")),
}
FORMS = (
    "poisson | uniform | gamma:cv=CV | mmpp[:burst=X,calm_s=S,burst_s=S] | "
    "diurnal[:period_s=S,swing=X] | trace:FILE | deeprecsys"
)


def parse(text: str) -> Process:
    """The arrival process that a text names; the package's docstring lists the forms.

    Raises
    ------
    ConfigError: says what was expected. DataError: a trace is malformed.

    >>> parse("gamma:cv=2")
    Gamma(cv=2.0)
    """
    name, _, rest = text.partition(":")
    if name == "trace" and rest:
        return read_trace(Path(rest))
    if name in PLAIN and not rest:
        return PLAIN[name]
    if name not in OPTIONED:
        raise ConfigError(f"expected arrivals {FORMS}, got {text!r}")
    make, known = OPTIONED[name]
    options: dict[str, float] = {}
    for part in rest.split(",") if rest else ():
        key, _, value = part.partition("=")
        key = key.strip()
        if key not in known or key in options:
            raise ConfigError(f"expected {name}:{'=..,'.join(known)}=.., got {text!r}")
        try:
            options[key] = float(value)
        except ValueError:
            raise ConfigError(f"expected a number for {key}, got {value!r}") from None
    if name == "gamma" and not options:
        raise ConfigError(f"expected gamma:cv=CV, got {text!r}")
    return make(**options)


def describe(text: str) -> str:
    """A process's form as a report shows it: compatibility modes are labelled.

    >>> describe("deeprecsys")
    'deeprecsys (compatibility mode: not a Poisson process)'
    """
    note = " (compatibility mode: not a Poisson process)" if text == "deeprecsys" else ""
    return text + note
