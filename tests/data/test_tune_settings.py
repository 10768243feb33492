"""Settings of the preparation: TOML there and back, and those that cannot be."""

import tomllib

import pytest

from screenwise.config import from_mapping, to_mapping, to_toml
from screenwise.data.tune_settings import TuneSettings
from screenwise.errors import ConfigError


def test_the_printed_settings_are_read_again():
    assert from_mapping(TuneSettings, tomllib.loads(to_toml(TuneSettings()))) == TuneSettings()
    assert to_mapping(TuneSettings())["quorum"]["auxiliary_inactives"] == 10_000


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"descriptor": {"columns": 1024}}, "lsh bits is for radius 3 and 32000 columns"),
        ({"folds": {"bits": [1, 1]}}, "different columns"),
        ({"folds": {"bits": [32_000]}}, "different columns"),
        ({"folds": {"kind": "lhs"}}, "no kind 'lhs'"),
        ({"folds": {"folds": 1}}, "at least 2"),
        ({"folds": {"radii": [1.0]}}, "radii"),
        ({"values": {"panel": [10.0, 3.0]}}, "panel must be two numbers"),
        ({"structures": {"atoms": 0}}, "atoms"),
        ({"descriptor": {"columns": 0}}, "columns"),
        ({"weights": {"auxiliary": 0.0}}, "auxiliary"),
    ],
)
def test_settings_that_cannot_be(mapping, said):
    with pytest.raises(ConfigError, match=said):
        from_mapping(TuneSettings, mapping)
