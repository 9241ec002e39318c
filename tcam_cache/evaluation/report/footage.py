"""The report of footage without true boxes: a strip through time for each clip, the least sure first."""

from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from tcam_cache.evaluation.report.pictures import contact_sheet, encoded_jpeg, label, scale
from tcam_cache.evaluation.report.style import STYLE
from tcam_cache.files import make_folder, storage_errors, write_bytes, write_text

STRIPS = "strips"
TILE_HEIGHT, CAPTION_WIDTH = 200, 150
CURVE_WIDTH, CURVE_HEIGHT = 600, 56
SURE, UNSURE = 0.7, 0.4


@dataclass(frozen=True)
class ReportedClip:
    """A clip and the boxes that were found in it.

    Attributes:
        name: unique, such as the path of its video.
        tag: that boxes are of.
        frames: number of frames.
        boxes: number of frames with a box.
        confidence: (T,) float in [0, 1] of each frame's box, NaN without one; None where it is not known.
        presence: (T,) float in [0, 1] of each frame; None where it is not known.
        strip: yields some frames in time order as (caption, (H, W, 3) uint8 with box); called once.
    """

    name: str
    tag: str
    frames: int
    boxes: int
    confidence: np.ndarray | None
    presence: np.ndarray | None
    strip: Callable[[], Iterable[tuple[str, np.ndarray]]]

    @property
    def sureness(self) -> float:
        """The mean confidence of its boxes; 0 without any."""
        if self.confidence is None or np.isnan(self.confidence).all():
            return 0.0
        return float(np.nanmean(self.confidence))


def write_footage_report(
    folder: Path | str,
    clips: Sequence[ReportedClip],
    title: str,
    lines: Sequence[str] = (),
    embed: bool = False,
) -> Path:
    """Write index.html, and a picture for each clip beside it, and return the path of the page.

    Args:
        folder: created if missing; files of an earlier report are replaced.
        clips: in any order; they are shown from the least sure to the surest.
        title: of the page.
        lines: shown below the title.
        embed: whether pictures lie in the page itself, which is then one file.

    Raises:
        StorageError: the file system refuses a write.
    """
    folder = make_folder(folder)
    index = folder / "index.html"
    with storage_errors(index):
        index.unlink(missing_ok=True)
    shown = sorted(clips, key=lambda clip: (clip.sureness, clip.name))
    figures, kept = [], set()
    for number, clip in enumerate(shown):
        picture = encoded_jpeg(_strip(clip))
        if embed:
            source = f"data:image/jpeg;base64,{b64encode(picture).decode()}"
        else:
            source = f"{STRIPS}/{number:04d}.jpg"
            write_bytes(folder / source, picture)
            kept.add(folder / source)
        figures.append(_figure(clip, source))
    with storage_errors(folder):
        for stale in set((folder / STRIPS).glob("[0-9]*.jpg")) - kept:
            stale.unlink()
    write_text(index, _page(shown, figures, title, lines))
    return index


def _strip(clip: ReportedClip) -> np.ndarray:
    tiles = []
    for caption, pixels in clip.strip():
        width = max(1, round(pixels.shape[1] * TILE_HEIGHT / pixels.shape[0]))
        tile = scale(pixels, width, TILE_HEIGHT)
        room = max(0, CAPTION_WIDTH - width)  # an upright frame is narrower than what is said of it
        tiles.append(label(np.pad(tile, ((0, 0), (0, room), (0, 0)), constant_values=255), caption))
    return contact_sheet(tiles, len(tiles)) if tiles else np.full((24, TILE_HEIGHT, 3), 255, np.uint8)


def _page(clips: Sequence[ReportedClip], figures: Sequence[str], title: str, lines: Sequence[str]) -> str:
    tags = sorted({clip.tag for clip in clips})
    options = "".join(f"<option>{escape(tag)}</option>" for tag in tags)
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines)
    known = any(clip.confidence is not None for clip in clips)
    hint = (
        "The least sure clips come first: look at them before you trust the rest. Confidence says how well "
        "independent views of a frame agree; it is not a probability."
        if known
        else "Clips in the order of their names."
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{_STYLE}</style></head>\n<body><main>"
        f"<header><h1>{escape(title)}</h1>{paragraphs}</header>\n"
        f"<section><div class=controls><label>Tag <select id=tag><option value=''>all</option>{options}"
        "</select></label><label>Order <select id=order><option value=sure>least sure first</option>"
        "<option value=name>by name</option><option value=boxes>fewest boxes first</option></select></label>"
        f"<span id=count></span></div><p class=note>{hint}</p>"
        f"<div class=figures id=clips>{''.join(figures)}</div></section>\n</main>"
        f"<dialog id=zoom><img alt=''></dialog><script>{_SCRIPT}</script></body></html>\n"
    )


def _figure(clip: ReportedClip, source: str) -> str:
    share = clip.boxes / clip.frames if clip.frames else 0.0
    level = "sure" if clip.sureness >= SURE else "unsure" if clip.sureness < UNSURE else "middling"
    facts = [f"{clip.boxes:,} boxes in {clip.frames:,} frames"]
    if clip.confidence is not None:
        facts.insert(0, f"confidence {clip.sureness:.2f}")
    name, tag = escape(clip.name), escape(clip.tag)
    curves = {"confidence": clip.confidence, "presence": clip.presence}
    drawn = "".join(_curve(kind, values) for kind, values in curves.items() if values is not None)
    return (
        f'<figure class={level} data-tag="{tag}" data-name="{name}" data-sure={clip.sureness:.4f} '
        f"data-boxes={share:.4f}><figcaption><em>{tag}</em><code>{name}</code><span>{', '.join(facts)}</span>"
        f'</figcaption><div class=scroll><img loading=lazy src="{escape(source)}" alt="{name}"></div>'
        f"{f'<div class=curves>{drawn}</div>' if drawn else ''}</figure>"
    )


def _curve(kind: str, values: np.ndarray) -> str:
    """Return a curve over the frames of a clip as inline SVG; it is broken where values are NaN."""
    count = len(values)
    # More points than pixels would only make the page heavy.
    kept = np.unique(np.linspace(0, count - 1, min(count, CURVE_WIDTH)).round().astype(int))
    runs: list[list[str]] = [[]]
    for t in kept:
        if np.isnan(values[t]):
            runs.append([])
            continue
        x = CURVE_WIDTH * t / max(1, count - 1)
        runs[-1].append(f"{x:.1f},{CURVE_HEIGHT * (1 - float(values[t])):.1f}")
    lines = "".join(
        f'<polyline points="{" ".join(run if len(run) > 1 else run * 2)}"/>' for run in runs if run
    )
    return (
        f'<div class="curve {kind}"><span>{kind}</span><svg viewBox="0 -2 {CURVE_WIDTH} {CURVE_HEIGHT + 4}" '
        f'preserveAspectRatio="none" role="img" aria-label="{kind} over time">'
        f'<line class="grid" x1="0" x2="{CURVE_WIDTH}" y1="{CURVE_HEIGHT / 2}" y2="{CURVE_HEIGHT / 2}"/>'
        f"{lines}</svg></div>"
    )


_STYLE = """
figure.sure { border-left-color: var(--true); }
figure.middling { border-left-color: #d9a400; }
figure img { cursor: zoom-in; max-width: none; height: 170px; }
.controls { display: flex; flex-wrap: wrap; gap: 8px 18px; align-items: center; margin-bottom: 8px; }
select { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px; padding: 2px 6px; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 2px 18px;
  margin-top: 4px; }
.curve { display: flex; gap: 8px; align-items: center; font-size: 12px; color: var(--soft); min-width: 0; }
.curve span { width: 72px; flex: none; }
.curve svg { flex: 1; height: 34px; min-width: 0; overflow: visible; }
.curve .grid { stroke: var(--line); }
.curve polyline { fill: none; stroke: var(--main); stroke-width: 2; vector-effect: non-scaling-stroke; }
.curve.presence polyline { stroke: var(--predicted); }
dialog { border: 0; padding: 0; max-width: 98vw; max-height: 96vh; overflow: auto; background: var(--paper); }
dialog img { display: block; width: 100%; min-width: min(1200px, 95vw); cursor: zoom-out; }
@media (max-width: 700px) { figure img { height: 120px; } }
"""
_SCRIPT = """
const clips = document.getElementById('clips'), all = [...clips.children];
const tag = document.getElementById('tag'), order = document.getElementById('order');
const zoom = document.getElementById('zoom');
function show() {
  const by = {sure: (a, b) => a.dataset.sure - b.dataset.sure,
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, {numeric: true}),
    boxes: (a, b) => a.dataset.boxes - b.dataset.boxes}[order.value];
  const kept = all.filter(one => !tag.value || one.dataset.tag === tag.value).sort(by);
  clips.replaceChildren(...kept);
  document.getElementById('count').textContent = kept.length + ' of ' + all.length + ' clips';
}
tag.onchange = order.onchange = show;
clips.onclick = event => {
  if (event.target.tagName !== 'IMG') return;
  zoom.firstElementChild.src = event.target.src;
  zoom.showModal();
};
zoom.onclick = () => zoom.close();
show();
"""
