from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from recstack.engine.precision import ActivationRange, LayerPlan, LayerPrecision
from recstack.errors import ConfigError
from recstack.tune.ranges import KeptRanges

PLAN = LayerPlan(
    layers={
        "first": LayerPrecision("int8", ActivationRange(-1.0, 2.0), (3,)),
        "second": LayerPrecision("int8", ActivationRange(0.0, 1.0)),
        "third": LayerPrecision("int8"),
    }
)


def refreshed(factor: float) -> LayerPlan:
    layers = dict(PLAN.layers)
    for name in ("first", "second"):
        old = layers[name].activations
        assert old is not None
        layers[name] = replace(
            layers[name], activations=ActivationRange(old.low * factor, old.high * factor)
        )
    return LayerPlan(layers=layers)


def test_what_was_kept_is_read_again_to_the_last_bit(tmp_path: Path) -> None:
    kept = KeptRanges(tmp_path / "plan.toml", "digest", PLAN)
    assert kept.read() is None and kept.path.name == "plan.ranges.toml"
    for factor in (1 / 3, 1e-20):
        kept.save(refreshed(factor))
        assert KeptRanges(tmp_path / "plan.toml", "digest", PLAN).read() == refreshed(factor)
    assert [p.name for p in tmp_path.iterdir()] == ["plan.ranges.toml"]
    kept.save(None)
    assert kept.read() is None and not kept.path.exists()
    kept.save(None)


def test_ranges_of_another_model_or_plan_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    KeptRanges(path, "digest", PLAN).save(refreshed(2.0))
    assert KeptRanges(path, "other", PLAN).read() is None
    edited = {**PLAN.layers, "third": LayerPrecision("bf16")}
    assert KeptRanges(path, "digest", LayerPlan(layers=edited)).read() is None
    assert KeptRanges(path, "digest", refreshed(1.5)).read() is None
    assert KeptRanges(path, "digest", PLAN).read() == refreshed(2.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("format = 1", "format = 2", "expected format = 1, got 2"),
     ("2.0,", "nan,", r"expected \[low, high\], got .* - at `.*ranges.second"),
     ("2.0,", '"wide",', r"expected \[low, high\]"),
     ("second", "fourth", "expected ranges of first, second"),
     ("[ranges]", "[ranges", "expected refreshed ranges")],
)  # fmt: skip
def test_a_file_that_somebody_broke_is_an_error(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    kept = KeptRanges(tmp_path / "plan.toml", "digest", PLAN)
    wide = {**refreshed(1.0).layers}
    wide["second"] = replace(wide["second"], activations=ActivationRange(2.0, 7.0))
    kept.save(LayerPlan(layers=wide))
    text = kept.path.read_text()
    assert old in text
    head, tail = text.rsplit(old, 1)
    kept.path.write_text(head + new + tail)
    with pytest.raises(ConfigError, match=message):
        kept.read()


def test_a_disk_that_refuses_is_an_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    kept = KeptRanges(tmp_path / "none" / "plan.toml", "digest", PLAN)
    with pytest.raises(ConfigError, match=r"cannot write .*plan\.ranges\.toml"):
        kept.save(PLAN)
