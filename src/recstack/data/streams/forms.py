"""How streams are named on a command line and in a result file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from recstack.data.streams.independent import ZIPF_EXPONENT, Uniform, Zipf
from recstack.data.streams.profile import load_profile
from recstack.data.streams.recorded import Recorded, read_stream
from recstack.data.streams.reuse import Reuse
from recstack.data.streams.stream import Stream
from recstack.errors import ConfigError

SHIPPED = ("low", "medium")
FORMS = "uniform | zipf[:S] | reuse:low | reuse:medium | reuse:PROFILE.json | file:PATH"


def parse(text: str) -> Stream:
    """The stream that a text names; the package's docstring lists the forms.

    Raises
    ------
    ConfigError: says what was expected. DataError: a file is malformed.

    >>> parse("zipf:0.9")
    Zipf(exponent=0.9)
    """
    name, _, rest = text.partition(":")
    if text == "uniform":
        return Uniform()
    if name == "zipf":
        try:
            return Zipf(float(rest) if rest else ZIPF_EXPONENT)
        except ValueError:
            raise ConfigError(f"expected zipf:S, got {text!r}") from None
    if name == "reuse" and rest:
        folder = resources.files("recstack.data.streams") / "profiles"
        with resources.as_file(folder) as profiles:
            path = profiles / f"{rest}.json" if rest in SHIPPED else Path(rest)
            return Reuse(load_profile(path))
    if name == "file" and rest:
        return Recorded(read_stream(Path(rest)))
    raise ConfigError(f"expected indices {FORMS}, got {text!r}")
