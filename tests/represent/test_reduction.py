import subprocess
import sys

import numpy as np
from scipy.sparse import csr_array

from screenwise.represent.reduction import principal_scores


def test_equals_a_full_decomposition():
    table = np.random.default_rng(0).normal(size=(60, 30)) * np.geomspace(1, 1e-3, 30)
    left, size, _ = np.linalg.svd(table, full_matrices=False)
    scores = principal_scores(csr_array(table), 5)
    np.testing.assert_allclose(np.abs(scores), np.abs(left * size)[:, :5], atol=1e-8)
    assert principal_scores(csr_array(table), 500).shape == (60, 30)


def test_equal_singular_values_give_the_same_numbers_in_every_process():
    """Four families of one size: any turn of four directions would do, and one is always taken."""
    code = (
        "import numpy as np; from scipy.sparse import csr_array; "
        "from screenwise.represent.reduction import principal_scores; "
        "print(principal_scores(csr_array(np.repeat(np.eye(4), 14, axis=0)), 3).round(9).tobytes().hex())"
    )
    said = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)]
    assert said[0] == said[1]
    assert len(said[0]) > 1000
