"""The named datasets: list them, or write one as a table."""

from pathlib import Path

from screenwise.data.datasets import DATASETS, DatasetInfo, data_folders, write_dataset_table
from screenwise.errors import DatasetError
from screenwise.recipes.outcome import Outcome


def datasets(name: str | None = None, to: Path | None = None) -> Outcome:
    """List the datasets, describe one, or write one as a table that `screenwise fit` reads."""
    if name is None:
        if to is not None:
            message = "Say which dataset to write: screenwise datasets NAME --to FILE."
            raise DatasetError(message)
        table = [
            {"name": one.name, "kind": one.kind, "size": one.size, "here": _where(one), "licence": one.licence}
            for one in DATASETS.values()
        ]
        return Outcome(table=table, notes=["screenwise datasets NAME shows the source; --to FILE writes the table."])
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
    if to is None:
        return Outcome(facts)
    rows = write_dataset_table(name, to)
    return Outcome(facts | {"rows written": rows}, files={"table": str(to)})


def _where(info: DatasetInfo) -> str:
    if info.embedded:
        return "embedded"
    here = all(any((folder / file.path).exists() for folder in data_folders()) for file in info.files)
    if here:
        return "data folder"
    return "to fetch" if all(file.fetch for file in info.files) else "not here"
