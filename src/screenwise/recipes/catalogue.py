"""The named datasets: list them, or write one as a table."""

from pathlib import Path

from screenwise.data.datasets import DATASETS, POOLS, DatasetInfo, Pool, data_folders, write_dataset_table
from screenwise.errors import DatasetError
from screenwise.recipes.outcome import Outcome


def datasets(name: str | None = None, to: Path | None = None, *, pools: bool = False) -> Outcome:
    """List the datasets, describe one, or write one as a table that `screenwise fit` reads.

    Parameters
    ----------
    name
        A key of `DATASETS`; None lists all.
    to
        Table to write: .csv, .tsv or .parquet.
    pools
        List the pools to replay instead: what a hit is, and the budget (random start + rounds x wells).
    """
    if name is None:
        if to is not None:
            message = "Say which dataset to write: screenwise datasets NAME --to FILE."
            raise DatasetError(message)
        return _pools() if pools else _all()
    if name not in DATASETS:
        message = f"There is no dataset {name!r}; the datasets are {', '.join(DATASETS)}."
        raise DatasetError(message)
    info = DATASETS[name]
    facts = {
        "name": name,
        "title": info.title,
        "kind": info.kind,
        "size": info.size,
        "licence": info.licence,
        "source": info.source,
        "sha256": info.sha256,
        "here": _where(info),
    }
    if info.pool is not None:
        facts |= _replay(info.pool)
    if to is None:
        return Outcome(facts)
    rows = write_dataset_table(name, to)
    return Outcome(facts | {"rows written": rows}, files={"table": str(to)})


def _all() -> Outcome:
    table = [
        {"name": one.name, "kind": one.kind, "size": one.size, "here": _where(one), "licence": one.licence}
        for one in DATASETS.values()
    ]
    return Outcome(table=table, notes=["screenwise datasets NAME shows the source; --to FILE writes the table."])


def _pools() -> Outcome:
    table = [
        {"name": name} | _replay(one.pool) | {"here": _where(one)}
        for name, one in POOLS.items()
        if one.pool is not None
    ]
    notes = [
        "screenwise simulate --pool NAME replays a pool; the budget is the random start + rounds x wells.",
        "screenwise datasets NAME shows the size, licence and source.",
    ]
    return Outcome(table=table, notes=notes)


def _replay(pool: Pool) -> dict[str, str]:
    candidates = f"{pool.candidates:,} at random" if pool.candidates else "all"
    return {"objective": pool.objective, "hits": pool.rule, "budget": pool.budget, "candidates": candidates}


def _where(info: DatasetInfo) -> str:
    if info.embedded:
        return "embedded"
    if info.packaged:
        return "in scikit-learn"
    here = all(any((folder / file.path).exists() for folder in data_folders()) for file in info.files)
    if here:
        return "data folder"
    return "to fetch" if all(file.fetch for file in info.files) else "not here"
