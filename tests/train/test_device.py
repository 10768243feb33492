import pytest
import torch

from screenwise.errors import ConfigError
from screenwise.train.device import choose_device, limit_threads, mixed_precision, same_bits, seeded


def test_an_accelerator_is_taken_when_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device().type == "cpu"


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="is not there"):
        choose_device("cuda:99")


def test_threads_are_limited_inside_only():
    before = torch.get_num_threads()
    with limit_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with limit_threads(None):
        assert torch.get_num_threads() == before
    with pytest.raises(ConfigError, match="at least 1"), limit_threads(0):
        pass


def test_seed_is_given_back():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with seeded(9, torch.device("cpu")), same_bits(torch.device("cpu")):
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)


def test_bfloat16_changes_products_only_on_request():
    a = torch.rand(4, 4)
    with mixed_precision(torch.device("cpu")):
        assert (a @ a).dtype == torch.float32
    with mixed_precision(torch.device("cpu"), "bfloat16"):
        assert (a @ a).dtype == torch.bfloat16
    with pytest.raises(ConfigError, match="no precision"):
        mixed_precision(torch.device("cpu"), "float8")
