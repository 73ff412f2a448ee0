"""Tables of a benchmark from its rows alone, as Markdown and as a page."""

from __future__ import annotations

import html
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from udg_datagen.benchmark.protocol import SEEN
from udg_datagen.benchmark.rows import Row
from udg_datagen.clusters import Difference, Outcomes, Share, mean_difference, mean_share, p_text, share
from udg_datagen.evaluation.policy import NOT_RUN
from udg_description.files import write_atomically
from udg_sim.objects.library import SIZES

PAGE_NAME, TABLES_NAME, SUMMARY_NAME = "index.html", "tables.md", "summary.json"
NEW = SEEN[1:]
"""Objects that no policy of the folder was trained on."""
_WHOLE = "mean"
_KINDS = (*((one, (one,)) for one in SEEN), ("new objects", NEW))


class Table(NamedTuple):
    """A table with a title, and what is to be said of it."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    remark: str = ""


def judged(rows: Iterable[Row]) -> list[Row]:
    """The trials that count; what one policy was trained on is trained in the rows of all."""
    counted = [row for row in rows if row.cause != NOT_RUN]
    trained = {row.object for row in counted if row.seen == SEEN[0]}
    return [replace(row, seen=SEEN[0]) if row.object in trained else row for row in counted]


def policies_of(rows: Iterable[Row]) -> list[str]:
    """Policies in the order of their names."""
    return sorted({row.policy for row in rows})


def outcomes(rows: Iterable[Row]) -> list[tuple[str, bool]]:
    """(object, success) of trials."""
    return [(row.object, row.success) for row in rows]


def cell(rows: Sequence[Row], seen: Iterable[str], sizes: Collection[str] = tuple(SIZES)) -> Share:
    """Share of one cell of the main table; of several sizes: the mean of those with trials, each counting alike."""
    chosen = [row for row in rows if row.seen in tuple(seen)]
    return mean_share([outcomes(row for row in chosen if row.size == one) for one in sizes])


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of all tables; JSON."""
    counted = judged(rows)
    present = {seen: {row.size for row in counted if row.seen == seen} for seen in SEEN}
    found: dict[str, Any] = {"trials": len(counted), "not_run": len(rows) - len(counted), "policies": {}}
    for policy in policies_of(counted):
        own = [row for row in counted if row.policy == policy]
        found["policies"][policy] = {
            "trials": len(own),
            "objects": len({row.object for row in own}),
            "successes": sum(row.success for row in own),
            "sizes": [size for size in SIZES if any(row.size == size for row in own)],
            "new_objects": _mean(own, NEW, present),
            **{
                seen: {
                    **{size: _figures(cell(own, (seen,), (size,))) for size in SIZES},
                    _WHOLE: _mean(own, (seen,), present),
                }
                for seen in SEEN
                if any(row.seen == seen for row in own)
            },
            "causes": dict(Counter(row.cause for row in own if not row.success).most_common()),
        }
    found["paired"] = {f"{b} - {a}, {label}": _compared(a, b, one) for a, b, label, one in differences(counted)}
    return found


def _compared(a: str, b: str, one: Difference) -> dict[str, Any]:
    """The difference B - A as JSON values; None for what too few objects do not tell."""
    values = {name: None if value != value else round(value, 5) for name, value in one._asdict().items()}
    return {"success": {b: values.pop("b"), a: values.pop("a")}, **values}


def _mean(own: Sequence[Row], seen: Sequence[str], present: Mapping[str, set[str]]) -> dict[str, Any] | None:
    """The mean over sizes; None where sizes are missing that others have tried."""
    tried = {row.size for row in own if row.seen in seen}
    return _figures(cell(own, seen)) if tried == set().union(*(present[one] for one in seen)) else None


def _figures(of: Share) -> dict[str, Any] | None:
    if not of.trials:
        return None
    interval = [round(of.lower, 4), round(of.upper, 4)]
    return {"success": round(of.value, 4), "interval_95": interval, "trials": of.trials, "objects": of.objects}


def differences(rows: Sequence[Row]) -> list[tuple[str, str, str, Difference]]:
    """All pairs of policies on the trials of both, by kind of object: means of sizes, each counting alike.

    Under different rules a policy is compared with itself alone.
    """
    by: dict[tuple[str, str, str], dict[tuple[str, int], bool]] = defaultdict(dict)
    for row in rows:
        by[row.policy, row.seen, row.size][row.object, row.seed] = row.success
    return [
        (a, b, label, one)
        for a, b in itertools.combinations(policies_of(rows), 2)
        if _comparable(a, b)
        for label, seen in _KINDS
        if (one := mean_difference([_both(by, a, b, seen, size) for size in SIZES])).trials
    ]


def _comparable(a: str, b: str) -> bool:
    (own, rules), (other, others) = (name.partition(" [")[::2] for name in (a, b))
    return own == other or rules == others


def _both(
    by: Mapping[tuple[str, str, str], Outcomes], a: str, b: str, seen: Iterable[str], size: str
) -> tuple[Outcomes, Outcomes]:
    first, second = (
        {key: won for kind in seen for key, won in by.get((name, kind, size), {}).items()} for name in (a, b)
    )
    return first, second


def tables(rows: Sequence[Row]) -> list[Table]:
    """All tables."""
    counted = judged(rows)
    return [
        _main(counted, len(rows) - len(counted)),
        _paired(counted),
        _causes(counted),
        _phases(counted),
        _categories(counted),
    ]


def _main(rows: Sequence[Row], not_run: int) -> Table:
    names = policies_of(rows)
    own = {name: [row for row in rows if row.policy == name] for name in names}
    lines = []
    for label, seen in _KINDS:
        tried = {name: [one for one in SIZES if cell(own[name], seen, (one,)).trials] for name in names}
        present = [one for one in SIZES if any(one in sizes for sizes in tried.values())]
        common = [one for one in present if all(one in sizes for sizes in tried.values())]
        lines += [(label, one, *(str(cell(own[name], seen, (one,))) for name in names)) for one in present]
        if present:
            whole = (str(cell(own[name], seen)) if tried[name] == present else "-" for name in names)
            lines.append((label, _WHOLE, *whole))
        if common and common != present:
            shared = (str(cell(own[name], seen, common)) for name in names)
            lines.append((label, f"{_WHOLE} of {', '.join(common)}", *shared))
    remark = (
        "Success [%] with 95 % intervals that take the trials of one object as a cluster. trained: objects that a "
        "policy here was trained on; seen: others of categories that our training objects have; unseen: of other "
        "categories; new objects: seen and unseen. mean: of the sizes, each counting alike. In parentheses: trials."
    )
    if not_run:
        remark += f" {not_run} trials could not be run and do not count."
    return Table("Success", ("objects", "size", *(f"{name} ({len(own[name]):,})" for name in names)), lines, remark)


def _paired(rows: Sequence[Row]) -> Table:
    def percent(value: float) -> str:
        return "-" if value != value else f"{100 * value:+.1f}"

    lines = [
        (
            f"{b} - {a}",
            label,
            str(one.trials),
            str(one.objects),
            f"{percent(one.difference)} [{percent(one.lower)}, {percent(one.upper)}]",
            p_text(one.p),
        )
        for a, b, label, one in differences(rows)
    ]
    return Table(
        "Policies on the same trials",
        ("", "of", "trials", "objects", "difference [%]", "p"),
        lines,
        "Means of the sizes that both tried, each counting alike. p: of a test that exchanges two policies in all "
        "trials of an object at once.",
    )


def _causes(rows: Sequence[Row]) -> Table:
    return _counts("Causes of failures", [row for row in rows if not row.success], rows, "cause", lambda row: row.cause)


def _phases(rows: Sequence[Row]) -> Table:
    return _counts(
        "How far failed trials got",
        [row for row in rows if not row.success],
        rows,
        "phase",
        lambda row: row.phase or "not there",
    )


def _counts(title: str, chosen: Sequence[Row], rows: Sequence[Row], what: str, of: Callable[[Row], str]) -> Table:
    names = policies_of(rows)
    counts = Counter((row.policy, of(row)) for row in chosen)
    kinds = [kind for kind, _ in Counter(of(row) for row in chosen).most_common()]
    return Table(title, (what, *names), [(kind, *(str(counts[name, kind]) for name in names)) for kind in kinds])


def _categories(rows: Sequence[Row]) -> Table:
    names = policies_of(rows)
    of = {kind: [row for row in rows if row.category == kind] for kind in sorted({row.category for row in rows})}
    lines = [
        (
            category,
            str(len({row.object for row in chosen})),
            *(str(share(outcomes(row for row in chosen if row.policy == name))) for name in names),
        )
        for category, chosen in of.items()
    ]
    return Table("By category", ("category", "objects", *names), lines)


def markdown(found: Sequence[Table]) -> str:
    """Tables as Markdown."""
    parts = []
    for table in found:
        parts += [f"## {table.title}\n", f"{table.remark}\n"] if table.remark else [f"## {table.title}\n"]
        lines = [table.head, ("---",) * len(table.head), *table.rows]
        parts += ["\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"]
    return "\n".join(parts)


def extremes(rows: Sequence[Row], count: int) -> tuple[list[str], list[str]]:
    """Objects that all policies together lift least and most often, in that order; ties by name."""
    sums: dict[str, list[int]] = {}
    for row in judged(rows):
        one = sums.setdefault(row.object, [0, 0])
        one[0] += row.success
        one[1] += 1
    order = sorted(sums, key=lambda name: (sums[name][0] / sums[name][1], name))
    half = min(count, len(order) // 2)
    return order[:half], order[len(order) - half :][::-1]


_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.5em 0 2em}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}
td{font-variant-numeric:tabular-nums}p{color:#555;max-width:75ch}img,video{max-width:100%}code{font-size:13px}"""


def page(found: Sequence[Table], told: Mapping[str, Any], pictures: Mapping[str, str], films: Mapping[str, str]) -> str:
    """One HTML file. pictures: PNG in base64 by caption; films: paths relative to the page by caption."""
    parts = [f"<!doctype html><meta charset=utf-8><title>Benchmark</title><style>{_STYLE}</style><h1>Benchmark</h1>"]
    for table in found:
        parts.append(f"<h2>{html.escape(table.title)}</h2>")
        if table.remark:
            parts.append(f"<p>{html.escape(table.remark)}</p>")
        lines = [f"<tr>{''.join(f'<th>{html.escape(text)}' for text in table.head)}"]
        lines += [f"<tr>{''.join(f'<td>{html.escape(text)}' for text in line)}" for line in table.rows]
        parts.append(f"<table>{''.join(lines)}</table>")
    for caption, data in pictures.items():
        parts.append(f"<h2>{html.escape(caption)}</h2><img alt='' src='data:image/png;base64,{data}'>")
    for caption, path in films.items():
        parts.append(f"<h2>{html.escape(caption)}</h2><video controls src='{html.escape(path, quote=True)}'></video>")
    parts.append(f"<h2>Settings</h2><pre><code>{html.escape(json.dumps(told, indent=1))}</code></pre>")
    return "\n".join(parts) + "\n"


def write_report(
    folder: Path,
    rows: Sequence[Row],
    told: Mapping[str, Any],
    pictures: Mapping[str, str] | None = None,
    films: Mapping[str, str] | None = None,
) -> None:
    """Tables (Markdown), figures (JSON) and the page into the folder."""
    found = tables(rows)
    write_atomically(folder / TABLES_NAME, "# Benchmark\n\n" + markdown(found))
    write_atomically(folder / SUMMARY_NAME, json.dumps(summary(rows), indent=1) + "\n")
    write_atomically(folder / PAGE_NAME, page(found, told, pictures or {}, films or {}))
