"""Data/imported.csv: which marks were imported, and the group of each match."""

from pathlib import Path

from files import read_table


def read_groups(data_dir: Path) -> dict[str, str]:
    """{name of a table of marks: the group of its match}; {} if nothing was imported."""
    path = data_dir / "imported.csv"
    if not path.exists():
        return {}
    return dict(read_table(path, ("name", "group")).itertuples(index=False, name=None))
