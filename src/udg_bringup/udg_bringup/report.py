"""The report page of a run of trials: one HTML file without links to other files."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import imageio.v3 as iio
import numpy as np

from udg_description.physics import LIFT_RISE_M

STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.3rem .6rem;text-align:right}
th{background:#f3f3f3}td.text,th.text{text-align:left}.yes{color:#0a7a2f;font-weight:600}.no{color:#b3261e;font-weight:600}
td img{display:block;height:6.5rem}code{background:#f3f3f3;padding:.1rem .3rem}
"""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """What one trial leaves behind."""

    object: str
    seed: int
    trial: int
    success: bool
    raised_m: float  # most that the object was raised
    time_s: float  # simulated time at the end
    wall_s: float  # wall-clock time of the whole trial
    tick_ms: np.ndarray  # (N,) depth images out -> command in
    pictures: tuple[np.ndarray, ...] = ()  # (H, W, 3) uint8: start, middle, end
    cause: str = ""  # why it failed, one of udg_datagen.evaluation.trial_cause's; "" where it did not


def by_object(records: Sequence[TrialRecord]) -> dict[str, dict[str, int]]:
    """Count trials and successes per object, in order of first appearance."""
    counts: dict[str, dict[str, int]] = {}
    for record in records:
        count = counts.setdefault(record.object, {"trials": 0, "successes": 0})
        count["trials"] += 1
        count["successes"] += int(record.success)
    return counts


def percentiles_ms(times_ms: np.ndarray) -> dict[str, float | None]:
    """Median and 99th percentile, None where nothing was measured."""
    if len(times_ms) == 0:
        return {"p50": None, "p99": None}
    return {"p50": round(float(np.percentile(times_ms, 50)), 1), "p99": round(float(np.percentile(times_ms, 99)), 1)}


def html_page(
    *,
    title: str,
    records: Sequence[TrialRecord],
    settings: Mapping[str, object],
    by_stage_ms: Mapping[str, np.ndarray],
    video: str | None,
) -> str:
    """The page. `video` is the name of the film beside the page, if there is one."""
    successes = sum(record.success for record in records)
    tick_ms = np.concatenate([record.tick_ms for record in records]) if records else np.empty(0)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>",
        f"<h1>{html.escape(title)}</h1>",
        f"<p><b>{successes} of {len(records)}</b> trials lifted the object by {LIFT_RISE_M} m for one second.</p>",
        f"<video src={html.escape(video)} width=640 controls muted loop></video>" if video else "",
        f"<p>Not lifted: {_causes(records)}.</p>" if successes < len(records) else "",
        "<h2>By object</h2>",
        _table(
            ("object", "trials", "successes"),
            [(name, count["trials"], count["successes"]) for name, count in by_object(records).items()],
        ),
        "<h2>Trials</h2>",
        _trial_table(records),
        "<h2>Tick: newest depth image out to command in</h2>",
        _histogram_svg(tick_ms),
        _table(
            ("stage", "median [ms]", "p99 [ms]", "max [ms]"),
            [(name, *_figures(times)) for name, times in {"whole tick": tick_ms, **by_stage_ms}.items()],
        ),
        "<h2>Settings</h2>",
        _table(("setting", "value"), list(settings.items())),
        "</html>",
    ]
    return "\n".join(part for part in parts if part)


def by_cause(records: Sequence[TrialRecord]) -> dict[str, int]:
    """Number of failed trials by cause, the most frequent first."""
    return dict(Counter(record.cause or "not_lifted" for record in records if not record.success).most_common())


def _causes(records: Sequence[TrialRecord]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in by_cause(records).items())


def _words(record: TrialRecord) -> str:
    return (record.cause or "not_lifted").replace("_", " ")


def _figures(times_ms: np.ndarray) -> tuple[str, ...]:
    if len(times_ms) == 0:
        return ("-", "-", "-")
    return tuple(f"{value:.1f}" for value in (*np.percentile(times_ms, (50, 99)), times_ms.max()))


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def row(cells: Sequence[object], tag: str) -> str:
        inner = "".join(
            f"<{tag}{' class=text' if i == 0 else ''}>{html.escape(str(cell))}</{tag}>" for i, cell in enumerate(cells)
        )
        return f"<tr>{inner}</tr>"

    return f"<table>{row(head, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"


def _trial_table(records: Sequence[TrialRecord]) -> str:
    head = "".join(
        f"<th{' class=text' if name == 'object' else ''}>{name}</th>"
        for name in ("trial", "object", "result", "raised [m]", "time [s]", "tick p50 [ms]", "wall [s]")
    )
    columns = max((len(record.pictures) for record in records), default=0)
    head += f"<th class=text colspan={columns}>start, middle, end</th>" if columns else ""
    rows = []
    for record in records:
        failed = f"<span class=no>{html.escape(_words(record))}</span>"
        result = "<span class=yes>lifted</span>" if record.success else failed
        pictures = "".join(f"<td><img src={_data_url(picture)} alt=''></td>" for picture in record.pictures)
        p50 = percentiles_ms(record.tick_ms)["p50"]
        rows.append(
            f"<tr><td>{record.trial + 1}<td class=text>{html.escape(record.object)}<td>{result}"
            f"<td>{record.raised_m:.3f}<td>{record.time_s:.1f}<td>{'-' if p50 is None else p50}"
            f"<td>{record.wall_s:.1f}{pictures}</tr>"
        )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _data_url(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    iio.imwrite(buffer, picture, extension=".jpg", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _histogram_svg(times_ms: np.ndarray, width: int = 640, height: int = 200) -> str:
    """A histogram as inline SVG; times above the axis are counted in its last bar."""
    if len(times_ms) == 0:
        return "<p>No tick was measured.</p>"
    top_ms = max(20.0, float(np.ceil(np.percentile(times_ms, 99.5) / 10.0) * 10.0))
    counts, edges = np.histogram(np.clip(times_ms, 0.0, top_ms), bins=50, range=(0.0, top_ms))
    scale_x, scale_y = width / top_ms, (height - 10) / counts.max()
    bars = "".join(
        f"<rect x='{left * scale_x:.1f}' y='{height - count * scale_y:.1f}' width='{width / 50 - 1:.1f}' "
        f"height='{count * scale_y:.1f}' fill='#3367a8'/>"
        for left, count in zip(edges[:-1], counts, strict=True)
        if count
    )
    labels = "".join(
        f"<text x='{ms * scale_x:.1f}' y='{height + 16}' font-size='12' text-anchor='middle'>{ms:.0f}</text>"
        for ms in np.linspace(0.0, top_ms, 6)
    )
    return (
        f"<svg viewBox='-20 0 {width + 60} {height + 24}' width='{width + 60}' role='img'>"
        f"<line x1='0' x2='{width}' y1='{height}' y2='{height}' stroke='#888'/>{bars}{labels}"
        f"<text x='{width + 22}' y='{height + 16}' font-size='12'>ms</text></svg>"
    )
