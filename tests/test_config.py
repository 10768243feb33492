"""Settings survive TOML; wrong ones are named with their file and a suggestion."""

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from screenwise.config import config_hash, from_mapping, read_config, to_mapping, to_toml
from screenwise.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    kernels: tuple[str, ...] | None = None
    """Which kernels."""
    rate: float = 0.1
    """Step size."""


@dataclass(frozen=True)
class Outer:
    name: str = "auto"
    """The name."""
    seed: int = 0
    """The seed."""
    quick: bool = False
    folder: Path = Path("here")
    inner: Inner = field(default_factory=Inner)
    """What is inside."""


@given(
    st.builds(
        Outer,
        name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
        seed=st.integers(0, 2**40),
        quick=st.booleans(),
        inner=st.builds(
            Inner,
            kernels=st.none() | st.lists(st.sampled_from(["a", 'b"c']), min_size=1).map(tuple),
            rate=st.floats(allow_nan=False, allow_infinity=False),
        ),
    )
)
def test_toml_round_trip(config):
    assert from_mapping(Outer, tomllib.loads(to_toml(config))) == config
    assert from_mapping(Outer, to_mapping(config)) == config


def test_comments_come_from_the_docstrings():
    assert "# The seed.\nseed = 0" in to_toml(Outer())
    assert "# What is inside.\n[inner]" in to_toml(Outer())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", "did you mean 'seed'"),
        ("seed = 'x'", "seed must be a whole number"),
        ("[inner]\nrat = 1.0", "inner: there is no setting 'rat'; did you mean 'rate'"),
        ("inner = 3", "must be a table"),
        ("seed = ", "is not TOML"),
    ],
)
def test_wrong_settings_are_named_with_their_file(tmp_path, text, message):
    path = tmp_path / "fit.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read_config(path, Outer)
    assert "fit.toml" in str(error.value)


def test_missing_file_is_our_error(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        read_config(tmp_path / "nowhere.toml", Outer)


def test_hash_changes_with_any_value():
    assert config_hash(Outer()) != config_hash(replace(Outer(), inner=Inner(rate=0.2)))
