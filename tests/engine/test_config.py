import pytest
from pydantic import ValidationError

from recstack.engine import EngineConfig, instruction_sets
from recstack.engine.config import choose_isa
from recstack.errors import ConfigError


def test_sets_are_listed_slowest_first() -> None:
    sets = instruction_sets()
    assert list(sets) == ["scalar", "avx2", "avx512", "avx512_bf16"]
    assert sets["scalar"]


def test_auto_takes_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSTACK_ISA", raising=False)
    assert choose_isa("auto") == [name for name, has in instruction_sets().items() if has][-1]


def test_the_environment_forces_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSTACK_ISA", "scalar")
    assert choose_isa("auto") == "scalar"


def test_an_unknown_set_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="scalar, avx2, avx512, avx512_bf16, got 'nope'"):
        choose_isa("nope")
    monkeypatch.setenv("RECSTACK_ISA", "nope")
    with pytest.raises(ConfigError, match="RECSTACK_ISA"):
        choose_isa("auto")


def test_unknown_keys_are_errors() -> None:
    with pytest.raises(ValidationError):
        EngineConfig(thread=2)  # type: ignore[call-arg]
