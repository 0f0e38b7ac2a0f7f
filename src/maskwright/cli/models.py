"""``maskwright models``: the catalogue, and which of its files are on this machine."""

from __future__ import annotations

from typing import Any


def list_models(*, as_json: bool) -> None:
    """Print name, parameters, size and file of every named model. Needs neither the network nor torch."""
    from rich.table import Table

    from maskwright.cli.terminal import print_json, print_table

    rows = _rows()
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("file", no_wrap=True, overflow="fold")
    for row in rows:
        size = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f} MB"
        place = row["path"] or f"[dim]{_absent(row)}[/dim]"
        table.add_row(row["name"], f"{row['parameters'] / 1e6:.1f} M", size, place)
    print_table(table)


def _absent(row: dict[str, Any]) -> str:
    if row["address"] is None:
        return f"missing from this installation: {row['destination']}"
    return f"not here yet; downloaded to {row['destination']} when first used"


def _rows() -> list[dict[str, Any]]:
    from maskwright.weights.catalog import CATALOG
    from maskwright.weights.fetch import cached_path, present

    rows = []
    for row in CATALOG.values():
        path = present(row.name)
        rows.append(
            {
                "name": row.name,
                "parameters": row.parameters,
                "bytes": path.stat().st_size if path else row.size,
                "path": str(path) if path else None,
                "destination": str(cached_path(row.name)),
                "address": row.address,
                "licence": row.licence,
            }
        )
    return rows
