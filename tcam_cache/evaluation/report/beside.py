"""A published table beside the rows made here: averages, classes, and where each figure stands."""

from collections.abc import Mapping, Sequence

from tcam_cache.config.tables import TABLES
from tcam_cache.evaluation.compare import LEVEL, Comparison, SystemScores
from tcam_cache.evaluation.published import (
    DATASETS,
    TITLES,
    PublishedRow,
    is_youtube_objects,
    published,
    published_ablation,
    youtube_objects_classes,
)
from tcam_cache.evaluation.report.tables import Cell, Table, published_note

# Rows of Table 3 that are points of Fig. 3.
_OF_FIGURE = {"C+ C- + CRF + ASC": "n 0", "C+ C- + CRF + ASC + CAM-TMP": "n 1"}
_HERE = "here"


def tables_beside(name: str, comparison: Comparison, classes: Sequence[str], layout: str = "") -> list[Table]:
    """Return a published table beside the systems of a comparison.

    Args:
        name: "table1", "table2", "table3" or "fig3".
        comparison: of systems that have the names of published rows where there are such.
        classes: of the data set.
        layout: of the manifest, which tells a published data set from others of its classes.

    Returns:
        The averages; of Table 1 also CorLoc by class, and what each system learned from.
    """
    tables = [_averages(name, comparison, is_youtube_objects(classes))]
    if name == "table1":
        datasets = [layout] if layout in DATASETS else DATASETS
        tables += [_by_class(dataset, comparison, classes) for dataset in datasets]
        tables.append(_sources())
    return tables


def figures(name: str) -> dict[str, dict[str, str]]:
    """Return the published figures of a table as text, by system and data set.

    >>> figures("table2")["TCAM"], figures("fig3")["n 1"]
    ({'ytov1': '84.4', 'ytov2.2': '72.1'}, {'ytov1': '73.0'})
    """
    if name in ("table3", "fig3"):
        ablation = {system: {"ytov1": f"{value:.1f}"} for system, value in published_ablation().items()}
        if name == "table3":
            return ablation
        return {point: ablation[system] for system, point in _OF_FIGURE.items()}
    texts: dict[str, dict[str, str]] = {}
    for dataset in DATASETS:
        for row in published(dataset):
            if name == "table1":
                texts.setdefault(row.method, {})[dataset] = row.average_text
            elif row.cl is not None:
                texts.setdefault(row.method, {})[dataset] = f"{row.cl:.1f}"
    return texts


def _averages(name: str, comparison: Comparison, same_classes: bool) -> Table:
    table, texts = TABLES[name], figures(name)
    ours = {system.name: system for system in comparison.systems}
    datasets = [one for one in DATASETS if any(one in of for of in texts.values())]
    read_in = {row.method: row.source for one in reversed(DATASETS) for row in published(one)}
    where = dict.fromkeys(texts, "TCAM Table 2" if name == "table2" else "TCAM Table 3")
    where |= {system: read_in[system] for system in texts} if name == "table1" else {}
    rows = [
        (
            system,
            *(texts.get(system, {}).get(dataset) for dataset in datasets),
            *_ours(ours.get(system), table.measure),
            where.get(system),
        )
        for system in dict.fromkeys([*texts, *(row.system for row in table.rows)])
    ]
    header = ("system", *(TITLES[one] for one in datasets), _HERE, f"{LEVEL} % interval", "published in")
    what = f"{_HERE}: {comparison.split}, {comparison.frames} frames of {comparison.videos} video(s)"
    notes = [f"{what}, boxes by {comparison.boxes}.", published_note(same_classes), table.note]
    return Table(table.title, header, tuple(rows), " ".join(filter(None, notes)))


def _ours(system: SystemScores | None, measure: str) -> tuple[Cell, Cell]:
    if system is None or measure not in system.measures:
        return None, None
    estimate = system.measures[measure]
    interval = estimate.interval
    return estimate.value.text(), None if interval is None else f"[{interval[0]:.1f}, {interval[1]:.1f}]"


def _by_class(dataset: str, comparison: Comparison, classes: Sequence[str]) -> Table:
    """Return CorLoc by class of every published system, ours below its own where the classes are the same."""
    names = youtube_objects_classes()
    ours = {system.name: system for system in comparison.systems} if is_youtube_objects(classes) else {}
    rows: list[tuple[Cell, ...]] = []
    for row in published(dataset):
        rows.append((row.method, *(row.corloc.get(one) for one in names), row.average_text))
        if row.method in ours:
            rows.append(_our_classes(row, ours[row.method], names))
    note = "" if ours else "CorLoc by class of the systems made here is in table.md of the comparison."
    return Table(f"By class, {TITLES[dataset]}", ("system", *names, "Avg"), tuple(rows), note)


def _our_classes(row: PublishedRow, system: SystemScores, names: Sequence[str]) -> tuple[Cell, ...]:
    known: Mapping[str, float] = {name: value.mean for name, value in system.per_class.items()}
    average = system.measures[TABLES["table1"].measure].value.text()
    return (f"{row.method}, {_HERE}", *(known.get(name) for name in names), average)


def _sources() -> Table:
    known = {row.method: row for dataset in reversed(DATASETS) for row in published(dataset)}
    rows = [
        (row.method, row.reference, row.source, row.learned_from, row.note)
        for row in (known[method] for method in figures("table1"))
    ]
    return Table(
        "Where each figure was published",
        ("system", "reference", "read in", "learned from", "note"),
        tuple(rows),
    )
