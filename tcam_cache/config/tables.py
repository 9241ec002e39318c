"""The published tables that can be made again: rows, their CAMs, their settings of the decoder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# The CAMs that the paper's decoder learns from; of all others only annotated frames are needed.
LEARNED = "layercam"
CAM = "cam"
# The CAM methods of Table 1 by their published names.
CAM_METHODS: Mapping[str, str] = {
    "CAM": CAM,
    "Grad-CAM": "gradcam",
    "Grad-CAM++": "gradcam++",
    "Smooth Grad-CAM++": "smooth-gradcam++",
    "XGrad-CAM": "xgradcam",
    "LayerCAM": LEARNED,
}
# The longest dependency of Fig. 3.
LONGEST = 10
# What the rows of the tables differ in; nothing else may set it.
VARIED = ("method", "neighbours", "crf", "asc")
# The terms of the whole loss, of which rows of Table 3 leave some out.
WHOLE_LOSS: Mapping[str, Any] = {"crf": True, "asc": True}


@dataclass(frozen=True)
class Row:
    """A row of a published table, as it is made here.

    Attributes:
        system: its name, which is that of the published row where there is one.
        method: of the CAMs that are scored, or that the decoder learns from.
        train: settings of the decoder beside those of the preset; None: the CAMs themselves are scored.
    """

    system: str
    method: str = LEARNED
    train: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class PublishedTable:
    """A published table.

    Attributes:
        title: what it shows.
        measure: the compared number, by its name in a comparison.
        rows: those that are made here.
        baseline: the system that differences are taken from.
        note: on the published numbers, or "".
    """

    title: str
    measure: str
    rows: tuple[Row, ...]
    baseline: str = field(default="LayerCAM")
    note: str = ""


def _decoder(system: str, n: int, crf: bool = True, asc: bool = True) -> Row:
    parts = {name: on for name, on in (("crf", crf), ("asc", asc)) if not on}
    return Row(system, train={"neighbours": n, **parts})


_LAYERCAM = Row("LayerCAM")
_TCAM = _decoder("TCAM", 1)
_COLOCAM = Row("CoLo-CAM", train={"preset": "colocam"})

TABLES: Mapping[str, PublishedTable] = {
    "table1": PublishedTable(
        "CorLoc on the test split",
        "corloc_0.5",
        (*(Row(system, method) for system, method in CAM_METHODS.items()), _TCAM, _COLOCAM),
    ),
    "table2": PublishedTable(
        "Classification accuracy (CL) on the test split",
        "cl_accuracy",
        (_LAYERCAM, _TCAM),
        note="Published with a classifier for each CAM method; here one classifier serves them all.",
    ),
    "table3": PublishedTable(
        "CorLoc by the parts of the loss",
        "corloc_0.5",
        (
            _LAYERCAM,
            _decoder("C+ C-", 0, crf=False, asc=False),
            _decoder("C+ C- + CRF", 0, asc=False),
            _decoder("C+ C- + ASC", 0, crf=False),
            _decoder("C+ C- + CRF + ASC", 0),
            _decoder("C+ C- + CRF + ASC + CAM-TMP", 1),
        ),
    ),
    "fig3": PublishedTable(
        "CorLoc by the temporal dependency n",
        "corloc_0.5",
        tuple(_decoder(f"n {n}", n) for n in range(LONGEST + 1)),
        baseline="n 0",
        note="Published as a curve: best at n = 1, below n = 0 after n = 4. Its numbers are given in Table 3 "
        "for n = 0 and 1 alone.",
    ),
}
