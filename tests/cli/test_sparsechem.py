"""SparseChem's command lines, as its users type them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array, save_npz

OPTIONS = {
    "train": "x y_class y y_classification y_regr y_regression y_censor weights_class task_weights "
    "weights_classification weights_regr weights_regression folding fold_va fold_te fold_inputs input_transform "
    "input_size_freq hidden_sizes dropouts_trunk last_hidden_sizes last_hidden_sizes_class last_hidden_sizes_reg "
    "dropouts_class dropouts_reg middle_non_linearity non_linearity last_non_linearity class_feature_size "
    "regression_feature_size scaling_regularizer enable_cat_fusion censored_loss normalize_loss regression_weight "
    "normalize_regression normalize_regr_va inverse_normalization optimizer optimizer_params lr weight_decay lr_steps "
    "lr_alpha epochs batch_ratio internal_batch_max mixed_precision eval_train eval_frequency min_samples_class "
    "min_samples_regr min_samples_auc pi_zero num_bins dev run_name prefix output_dir verbose save_model save_board "
    "profile",
    "predict": "x y_class y y_classification y_regr y_regression folding predict_fold outprefix conf model batch_size "
    "trunk_embeddings dropout inverse_normalization weights_class task_weights weights_classification dev num_workers",
}
"""Of SparseChem 1.0.0's train.py and predict.py."""


def screenwise(*arguments, folder=None):
    return subprocess.run(
        [sys.executable, "-m", "screenwise.cli", *arguments], capture_output=True, text=True, check=False, cwd=folder
    )


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_of_sparsechem_is_known(command):
    text = screenwise("sparsechem", command, "--help").stdout
    words = set(text.replace("=", " ").split())
    assert {f"--{name}" for name in OPTIONS[command].split()} <= words


def test_a_script_of_a_sparsechem_user_goes_on_working(tmp_path):
    rng = np.random.default_rng(0)
    save_npz(tmp_path / "x.npz", csr_matrix(random_array((40, 64), density=0.2, rng=rng)))
    save_npz(tmp_path / "y.npz", csr_matrix(rng.choice([-1.0, 0, 1], (40, 3))))
    np.save(tmp_path / "f.npy", np.arange(40) % 4)
    script = (
        "--x x.npz --y y.npz --folding f.npy --fold_va 0 --fold_te -1 --batch_ratio 0.2 --hidden_sizes 8 6 "
        "--dropouts_trunk 0.2 0.1 --epochs 2 --lr 1e-3 --lr_steps 1 2 --dev cuda:0 --save_board 0 --eval_frequency -1 "
        "--scaling_regularizer inf --optimizer Adam --optimizer_params 0.9 0.999 1e-8 --output_dir models "
        "--fold_inputs 32"
    )
    done = screenwise("--json", "sparsechem", "train", *script.split(), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    name = "sc_run_h8.6_ldo_r_wd0.0_lr0.001_lrsteps1.2_ep2_fva0_fte-1_Adam_1b0.9_2b0.999_eps1e-08"
    assert said["files"]["model"] == f"models/{name}.safetensors"
    script = f"--conf models/{name}.json --model models/{name}.safetensors --x x.npz --outprefix out --dev cpu"
    done = screenwise("sparsechem", "predict", *script.split(), "--num_workers", "0", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out-class.npy")
    assert found.shape == (40, 3)
    assert ((found > 0) & (found < 1)).all()


def test_errors_are_plain(tmp_path):
    done = screenwise("sparsechem", "train", "--x", "x.npz", "--hidden_sizes", "4", folder=tmp_path)
    assert done.returncode == 2
    needed = ["--x", "x.npz", "--y", "y.npz", "--folding", "f.npy", "--hidden_sizes", "4", "--dropouts_trunk", "0"]
    done = screenwise("sparsechem", "train", *needed, folder=tmp_path)
    assert (done.returncode, "x.npz does not exist" in done.stderr) == (1, True)
    done = screenwise("sparsechem", "train", *needed, "--save_board", "1", folder=tmp_path)
    assert (done.returncode, "SparseChem 1.0.0" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
