"""A report as HTML: one page with its style inside and no scripts."""

from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 64rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 0 0 .4rem; }
section { border: 1px solid #ddd; border-left: .4rem solid #d90; border-radius: .3rem; padding: .8rem 1rem;
          margin: 1rem 0; }
section.error { border-left-color: #c22; } section.healthy { border-left-color: #2a7; }
code, pre { font: 13px/1.4 ui-monospace, monospace; background: #f4f4f4; border-radius: .2rem; }
code { padding: .1rem .3rem; } pre { padding: .5rem .7rem; overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .6rem; text-align: left; white-space: nowrap; }
small { color: #666; }
"""

_COLUMNS = {
    "name": "layer",
    "kind": "kind",
    "runs": "runs",
    "examples": "examples",
    "values": "values per mean",
    "batches_seen": "batches seen",
    "mean_shift": "|Δmean|/std (rms, max)",
    "var_ratio": "ln var ratio (rms, max)",
    "loss_batch": "loss with its batch statistics",
    "accuracy_batch": "accuracy",
    "flat_channels": "flat channels: gain",
    "dead_channels": "dead channels",
    "weight_decay": "weight decay",
    "frozen": "frozen",
    "skipped_batches": "skipped batches",
}


def html_page(report: dict[str, Any]) -> str:
    """The page of a report's dict."""
    title = f"{report['model']}: normalization"
    findings = "".join(map(_finding, report["findings"]))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{_summary(report)}"
        f"{findings or _HEALTHY}\n{_layers(report['layers'])}</body></html>\n"
    )


_HEALTHY = '<section class="healthy"><h2>Nothing found</h2></section>\n'


def _summary(report: dict[str, Any]) -> str:
    scores = {"running statistics": report["running"], "batch statistics": report["batch"]}
    body = "".join(
        f"<tr><td>{name}</td><td>{_cell(score['loss'])}</td><td>{_cell(score['accuracy'])}</td></tr>"
        for name, score in scores.items()
        if score is not None
    )
    return (
        f"<p>batches: {report['batches']}, examples: {report['examples']}</p>\n"
        f"<table><tr><th></th><th>loss</th><th>accuracy</th></tr>{body}</table>\n"
    )


def _finding(finding: dict[str, Any]) -> str:
    consequences = "".join(f"<li>{escape(text)}</li>" for text in finding["consequences"])
    return (
        f'<section class="{escape(finding["severity"])}"><h2>{escape(finding["fault"])} '
        f"<code>{escape(finding['layer'] or 'model')}</code></h2>"
        f"<p>{escape(finding['evidence'])}</p>"
        + (f"<ul>{consequences}</ul>" if consequences else "")
        + f"<p>{escape(finding['reason'])} <small>{escape(finding['source'])}</small></p>"
        f"<pre>{escape(finding['repair'])}</pre></section>\n"
    )


def _layers(layers: list[dict[str, Any]]) -> str:
    if not layers:
        return "<p>There are no normalization layers.</p>\n"
    head = "".join(f"<th>{escape(title)}</th>" for title in _COLUMNS.values())
    rows = "".join("<tr>" + "".join(f"<td>{_cell(layer[key])}</td>" for key in _COLUMNS) + "</tr>" for layer in layers)
    return f"<table><tr>{head}</tr>{rows}</table>\n"


def _cell(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if isinstance(value, dict):
        return ", ".join(f"{escape(key)}: {_cell(item)}" for key, item in value.items())
    return escape(str(value))
