import numpy as np
import pandas as pd
import pytest

from screenwise.errors import ColumnError, ConfigError, DataError
from screenwise.represent.features import NumericFeatures, feature_blocks, join_features


def test_join_keeps_rows_order_and_index():
    conditions = pd.DataFrame({"gene": ["B", "A", "Z", None]}, index=[7, 8, 9, 10])
    features = pd.DataFrame({"gene": ["A", "B"], "x": [1, 2], "note": ["p", "q"]})
    joined = join_features(conditions, features, "gene")
    assert joined.index.tolist() == [7, 8, 9, 10]
    np.testing.assert_array_equal(joined["feature:x"], [2.0, 1.0, np.nan, np.nan])
    assert list(joined) == ["gene", "feature:x"]
    again = join_features(joined, features, "gene")
    pd.testing.assert_frame_equal(again, joined)


def test_join_onto_pairs_by_an_id_column():
    pairs = pd.DataFrame({"gene_a": ["A", "B"], "gene_b": ["B", ""]})
    joined = join_features(pairs, pd.DataFrame({"id": ["A", "B"], "x": [1.0, np.inf]}), "gene")
    np.testing.assert_array_equal(joined["feature:x_a"], [1.0, np.nan])
    np.testing.assert_array_equal(joined["feature:x_b"], [np.nan, np.nan])


def test_sets_in_long_form():
    long = pd.DataFrame({"gene": ["A", "A", "B"], "source": "r", "gene_set": ["t", "s", "s"]})
    joined = join_features(pd.DataFrame({"gene": ["A", "C"]}), long, "gene")
    assert joined["sets:gene_set"].tolist() == ["s|t", ""]


@pytest.mark.parametrize(
    ("features", "error", "says"),
    [
        (pd.DataFrame({"other": ["A"], "x": [1.0]}), ColumnError, "gene"),
        (pd.DataFrame({"gene": ["A", "A"], "x": [1.0, 2.0]}), DataError, "more than once"),
        (pd.DataFrame({"gene": ["A", "B"], "x": ["u", "v"]}), DataError, "no numbers"),
    ],
)
def test_join_refuses(features, error, says):
    with pytest.raises(error, match=says):
        join_features(pd.DataFrame({"gene": ["A"]}), features, "gene")
    with pytest.raises(ColumnError, match="joined on"):
        join_features(pd.DataFrame({"smiles": ["C"]}), pd.DataFrame({"gene": ["A"], "x": [1.0]}), "gene")


def test_numbers_are_standardised_and_missing_ones_are_zero_and_flagged():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"feature:a": rng.normal(5, 3, 500), "feature:b": rng.lognormal(0, 2, 500), "feature:c": 4.0})
    table.loc[0] = np.nan
    columns = tuple(table.columns)
    found = NumericFeatures(columns).fit(table).transform(table)
    np.testing.assert_allclose(found[1:, :2].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found[1:, :2].std(axis=0), 1, atol=1e-5)
    assert np.abs(found[:, 1]).max() < 5, "a skewed column is taken as a logarithm"
    assert (found[:, 2] == 0).all()
    assert found[0].tolist() == [0, 0, 0, 1]
    with pytest.raises(ConfigError, match="fit"):
        NumericFeatures(columns).transform(table)
    with pytest.raises(ColumnError, match="feature:b"):
        NumericFeatures(columns).fit(table.drop(columns="feature:b"))
    with pytest.raises(DataError, match="numbers"):
        NumericFeatures(columns).fit(table.assign(**{"feature:b": "x"}))


def test_a_block_keeps_its_relative_sizes():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 16)) * np.arange(1, 17)
    table = pd.DataFrame(values, columns=[f"feature:pw{place}" for place in range(16)]).assign(**{"feature:n": 1.0})
    blocks = feature_blocks(table)
    assert set(blocks) == {"", "pw"}
    found = NumericFeatures(blocks["pw"], block=True).fit(table).transform(table)[:, :-1]
    np.testing.assert_allclose(found / found[0, 0], values / values[0, 0], rtol=1e-4)
    assert np.median(np.sqrt(np.square(found).sum(axis=1))) == pytest.approx(np.sqrt(16), rel=1e-5)


def test_numbered_columns_of_different_quantities_are_no_block():
    table = pd.DataFrame(np.eye(16) * 10.0 ** np.arange(16), columns=[f"feature:x{place}" for place in range(16)])
    assert set(feature_blocks(table)) == {""}
