# ruff: noqa: PLC0415 - each peer is imported where it is the one that runs
"""One peer's part of design_speed, run by it in the peer's own environment: ``python design.py FOLDER NAME``.

Reads the arrays that the benchmark wrote to the folder and prints one JSON object: CPU seconds of one
thread without imports, the size it was run at, and what it chose.
"""

import json
import os
import sys
import time
import warnings
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402 - after the number of threads

PICKS = 100


class Known:
    """A fitted classifier whose probabilities are known."""

    def __init__(self, probability):
        self.probability = probability

    def predict_proba(self, features):  # noqa: D102
        return self.probability


def clocked(function):
    began = time.process_time()
    result = function()
    return result, time.process_time() - began


def answer(function, rows, picks=PICKS, **more):
    result, seconds = clocked(function)
    return {"cpu_s": seconds, "rows": rows, "picks": picks, "chosen": np.asarray(result).tolist()} | more


def labelled(folder):
    features, target = np.load(folder / "features.npy"), np.load(folder / "target.npy")
    y = np.full(len(features), np.nan)
    y[: len(target)] = target > np.median(target)
    return features, y, len(target)


def scikit_activeml(folder, task):
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import Badge, CoreSet, TypiClust
    from sklearn.linear_model import LogisticRegression

    features, y, _ = labelled(folder)
    if task == "badge":
        classifier = SklearnClassifier(LogisticRegression(max_iter=50), classes=[0, 1]).fit(features, y)
        query = Badge(random_state=0)
        return answer(lambda: query.query(features, y, classifier, fit_clf=False, batch_size=PICKS), len(features))
    query = CoreSet(random_state=0) if task == "k_center" else TypiClust(random_state=0)
    return answer(lambda: query.query(features, y, batch_size=PICKS), len(features))


def modal(folder, task):
    from modAL.uncertainty import entropy_sampling

    probability = np.load(folder / "class_draws.npy").mean(axis=0)
    known, features = Known(probability), np.load(folder / "features.npy")
    return answer(lambda: entropy_sampling(known, features, n_instances=PICKS)[0], len(probability))


def baal(folder, task):
    from baal.active.heuristics import BALD, BatchBALD

    draws = np.load(folder / "class_draws.npy").transpose(1, 2, 0).copy()  # candidates, classes, members
    if task == "batch_bald":
        few = draws[:2000]
        return answer(lambda: BatchBALD(num_samples=2)(few)[:2], len(few), 2)
    scores, seconds = clocked(lambda: BALD().compute_score(draws))
    np.save(folder / "baal_bald.npy", scores)
    return {"cpu_s": seconds, "rows": len(draws), "picks": PICKS, "chosen": []}


def bmdal_reg(folder, task):
    import torch
    from bmdal_reg.bmdal import selection
    from bmdal_reg.bmdal.feature_data import TensorFeatureData
    from bmdal_reg.bmdal.feature_maps import IdentityFeatureMap
    from bmdal_reg.bmdal.features import Features

    torch.set_num_threads(1)
    features, _, known = labelled(folder)
    identity = IdentityFeatureMap(features.shape[1])
    train = Features(identity, TensorFeatureData(torch.from_numpy(features[:known])))
    pool = Features(identity, TensorFeatureData(torch.from_numpy(features[known:])))
    noise = float(np.sqrt(np.load(folder / "noise.npy")))
    made = {
        "k_center": lambda: selection.MaxDistSelectionMethod(pool, train, verbosity=0),
        "lcmd": lambda: selection.LargestClusterMaxDistSelectionMethod(pool, train, verbosity=0),
        "badge_regression": lambda: selection.KmeansppSelectionMethod(pool, train, sel_with_train=False, verbosity=0),
        "maxdet": lambda: selection.MaxDetFeatureSpaceSelectionMethod(
            pool, train, sel_with_train=True, noise_sigma=noise, verbosity=0
        ),
        "bait": lambda: selection.BaitFeatureSpaceSelectionMethod(
            pool, train, sel_with_train=True, noise_sigma=noise, verbosity=0
        ),
    }[task]
    return answer(lambda: made().select(PICKS).numpy() + known, len(features) - known)


def process_of(folder):
    import torch
    from botorch.models import SingleTaskGP
    from gpytorch.kernels import RBFKernel, ScaleKernel

    torch.set_num_threads(1)
    features, target = np.load(folder / "features.npy"), np.load(folder / "target.npy")
    length, noise = float(np.load(folder / "length.npy")), float(np.load(folder / "noise.npy"))
    x, y = torch.from_numpy(features[: len(target)]).double(), torch.from_numpy(target).double()[:, None]
    model = SingleTaskGP(x, y, torch.full_like(y, noise), covar_module=ScaleKernel(RBFKernel()), outcome_transform=None)
    model.covar_module.base_kernel.lengthscale, model.covar_module.outputscale = length, 1.0
    model.mean_module.constant = 0.0
    model.eval()
    return torch, model, torch.from_numpy(features).double()


def botorch(folder, task):
    torch, model, pool = process_of(folder)
    with torch.no_grad():
        if task == "gp_posterior":
            return answer(lambda: _moments(torch, model, pool[:10_000], folder), 10_000, 0)
        if task == "thompson":
            from botorch.sampling.pathwise import draw_matheron_paths

            def draw():
                paths = draw_matheron_paths(model, torch.Size([PICKS]))
                return torch.cat([paths(part).argmax(1) for part in pool[:20_000].split(5_000)])

            return answer(draw, 20_000)
    from botorch.acquisition import qUpperConfidenceBound
    from botorch.optim import optimize_acqf_discrete

    score, few = qUpperConfidenceBound(model, beta=1.0), pool[500:2500]

    def pick():
        return optimize_acqf_discrete(score, q=3, choices=few)[1].numpy()

    return answer(pick, len(few), 3)


def _moments(torch, model, pool, folder):
    found = [model.posterior(part) for part in pool.split(1000)]
    mean = torch.cat([one.mean[:, 0] for one in found]).numpy()
    variance = torch.cat([one.variance[:, 0] for one in found]).numpy()
    np.save(folder / "botorch_moments.npy", np.stack([mean, variance]))
    return []


PEERS = {
    "scikit-activeml": (scikit_activeml, "skactiveml", ("k_center", "badge", "typical")),
    "modAL": (modal, "modAL", ("entropy",)),
    "baal": (baal, "baal", ("bald", "batch_bald")),
    "bmdal_reg": (bmdal_reg, "bmdal_reg", ("k_center", "lcmd", "badge_regression", "maxdet", "bait")),
    "botorch": (botorch, "botorch", ("gp_posterior", "thompson", "gp_ucb_small")),
}
"""Peer -> its function, the package it needs, and its tasks."""


def main():
    warnings.simplefilter("ignore")
    folder, peer, task = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    function = PEERS[peer][0]
    print(json.dumps(function(folder, task)))


if __name__ == "__main__":
    main()
