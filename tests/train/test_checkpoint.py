import pytest
import torch
from safetensors.torch import save_file

from screenwise.errors import DataError, ModelError
from screenwise.train.checkpoint import fill_state, flatten_state, read_checkpoint, write_checkpoint


def test_tensors_and_facts_come_back_exactly(tmp_path):
    tensors = {"a": torch.randn(3, 4), "b.c": torch.arange(5, dtype=torch.uint8), "empty": torch.zeros(0)}
    facts = {"loss": 0.1 + 0.2, "lines": [{"epoch": 1}], "best": float("inf")}
    write_checkpoint(tmp_path / "x.safetensors", tensors, facts)
    found, read = read_checkpoint(tmp_path / "x.safetensors")
    assert read == facts
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_checkpoint(path, {"a": torch.ones(1)}, {"epoch": 1})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("screenwise.train.checkpoint.save_file", full)
    with pytest.raises(DataError, match="No space left"):
        write_checkpoint(path, {"a": torch.zeros(1)}, {"epoch": 2})
    assert read_checkpoint(path)[1] == {"epoch": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["x.safetensors"]


def test_what_a_killed_writer_left_is_cleared_away(tmp_path):
    (tmp_path / ".x.safetensors.ab12.safetensors").write_bytes(b"half")
    (tmp_path / ".other.safetensors.ab12.safetensors").write_bytes(b"of another checkpoint")
    write_checkpoint(tmp_path / "x.safetensors", {"a": torch.ones(1)}, {})
    assert sorted(one.name for one in tmp_path.iterdir()) == [".other.safetensors.ab12.safetensors", "x.safetensors"]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        read_checkpoint(tmp_path / "missing.safetensors")

    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="no checkpoint of this version"):
        read_checkpoint(tmp_path / "other.safetensors")


def test_the_state_of_an_optimiser_comes_back():
    weight = torch.nn.Parameter(torch.ones(2))
    first, second = (torch.optim.Adam([weight], lr=0.1) for _ in range(2))
    weight.grad = torch.ones(2)
    first.step()
    tensors, facts = flatten_state("o", first.state_dict())
    second.load_state_dict(fill_state("o", second.state_dict(), tensors, facts))
    assert torch.equal(second.state[weight]["exp_avg"], first.state[weight]["exp_avg"])
    assert second.state[weight]["step"] == 1
