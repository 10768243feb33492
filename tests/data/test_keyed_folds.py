"""Keys, permutations and folds against their definition."""

import hashlib
import hmac
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from screenwise.data.keyed_folds import (
    LSH_BITS,
    high_entropy_bits,
    lsh_texts,
    permuted_columns,
    read_key,
    text_folds,
)
from screenwise.errors import DataError


def digest(secret, text):
    return hmac.new(secret.encode("utf-8"), text.encode("utf-8"), hashlib.sha256).digest()


def test_columns_are_ranked_by_their_hmac():
    numbers = [int.from_bytes(digest("melloddy", str(column)), "big") % 2**63 for column in range(200)]
    expected = np.argsort(np.argsort(numbers))
    assert permuted_columns(200, "melloddy").tolist() == expected.tolist()


@given(st.text(min_size=1, max_size=20), st.integers(1, 300))
def test_a_permutation_is_one(secret, columns):
    assert sorted(permuted_columns(columns, secret).tolist()) == list(range(columns))


def test_folds_are_drawn_from_the_hmac_of_the_text():
    texts = ["0101", "c1ccccc1", "None", "0101"]
    expected = [random.Random(digest("k\u00e9y", text)).randint(0, 4) for text in texts]
    assert text_folds(texts, "k\u00e9y", 5).tolist() == expected


@given(st.lists(st.text(alphabet="CNO()=1", max_size=8), min_size=1, max_size=20), st.text(max_size=5))
def test_a_fold_is_the_texts_own(texts, secret):
    assert text_folds(texts, secret, 5).tolist() == [int(text_folds([text], secret, 5)[0]) for text in texts]


def test_folds_are_about_even():
    counts = np.bincount(text_folds([str(number) for number in range(5_000)], "secret", 5), minlength=5)
    assert counts.min() > 900


def test_lsh_texts_are_the_columns_in_the_order_of_the_list():
    rng = np.random.default_rng(0)
    dense = rng.random((20, 30)) < 0.3
    bits = (7, 2, 29, 0)
    expected = ["".join(str(int(value)) for value in row[list(bits)]) for row in dense]
    assert lsh_texts(csr_array(dense.astype(np.uint8)), bits).tolist() == expected


def test_entropy_is_highest_at_one_half():
    dense = np.zeros((10, 4), np.uint8)
    for column, count in enumerate((1, 5, 10, 6)):
        dense[:count, column] = 1
    assert high_entropy_bits(csr_array(dense), 3) == (1, 3, 0)


def test_the_documented_list():
    assert len(set(LSH_BITS)) == 16
    assert 0 <= min(LSH_BITS) <= max(LSH_BITS) < 32_000


@pytest.mark.parametrize("text", ["secret", "secret\n", '{"key": "secret"}', '{\n "key": "secret", "more": 1}\n'])
def test_keys_are_read_from_text_or_json(text, tmp_path):
    (tmp_path / "key").write_text(text)
    assert read_key(tmp_path / "key") == "secret"


@pytest.mark.parametrize(
    ("text", "said"), [("", "holds no key"), ("{}", "holds no key"), ('{"key": 3}', "holds no key"), ("{x", "JSON")]
)
def test_bad_keys_say_the_file_and_the_cure_and_not_the_key(text, said, tmp_path):
    (tmp_path / "key").write_text(text)
    with pytest.raises(DataError, match=said) as error:
        read_key(tmp_path / "key")
    assert str(tmp_path / "key") in str(error.value)
    with pytest.raises(DataError, match="cannot be read"):
        read_key(tmp_path / "absent")
