"""The report as one HTML page, beside its contact sheets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from streamgen.training.report.tables import Table, hardware_line, tables

__all__ = ["page"]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --yes: #1a7f37; --no: #c62828; }
@media (prefers-color-scheme: dark) { :root { --yes: #56d364; --no: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; padding: 0 1rem; }
p { max-width: 60rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .7rem; text-align: right; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
.yes { color: var(--yes); } .no { color: var(--no); font-weight: 600; }
img { display: block; height: auto; max-width: 100%; }
figure { margin: 1.5rem 0; } figcaption { font-weight: 600; }
"""


def page(report: Mapping[str, Any]) -> str:
    """A whole page that needs nothing but the contact sheets.

    Args:
        report: what `streamgen.bench.figures.report` makes of the results.
    """
    results = report["results"]
    made_of = f"streamgen {report['streamgen']}, {report['measured']}, {hardware_line(report['hardware'])}"
    body = [f"<h1>The embedded models, judged</h1>\n<p>{escape(made_of)}</p>"]
    body += [_section(table) for table in tables(results)]
    body += _sheets(results.get("core", {}).get("sheets", {}))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>The embedded models, judged</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _section(table: Table) -> str:
    note = f"<p>{escape(table.note)}</p>\n" if table.note else ""
    rows = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    header = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    shown = (
        f'<div class="wide"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'
        if table.rows
        else ""
    )
    return f"<h2>{escape(table.title)}</h2>\n{note}{shown}"


def _cell(text: str) -> str:
    mark = f' class="{text}"' if text in ("yes", "no") else ""
    return f"<td{mark}>{escape(text)}</td>"


def _sheets(sheets: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for kind, title in (("views", "All styles, one step"), ("styles", "Style by style")):
        if kind in sheets:
            yield f"<h2>{title}</h2>"
        for name, path in sheets.get(kind, {}).items():
            alt = f"Contact sheet: {name}"
            yield (
                f'<figure><figcaption>{escape(name)}</figcaption>\n<a href="{escape(path)}">'
                f'<img loading="lazy" src="{escape(path)}" alt="{escape(alt)}"></a></figure>'
            )
