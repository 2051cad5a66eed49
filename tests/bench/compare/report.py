"""The results as Markdown: a table for each section, a row for each thing measured, a column for each system."""

import machine
from sections import SECTIONS
from summary import METRICS


def number(value):
    """Three digits that mean something, more where the number is large anyway; counts as they are."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell(spread):
    """The median, with the range of the rounds behind it if there were several."""
    if spread is None:
        return ""
    text = number(spread["median"])
    return f"{text} ({number(spread['min'])} - {number(spread['max'])})" if spread["rounds"] > 1 else text


def label(row):
    """What a row says, as "decode tok/s, batch 16, input 128"."""
    metric = METRICS[row["metric"]]
    params = row["params"]
    details = []
    if "workload" in params:
        what = {"shared": "clients with one prefix", "chat": "chats"}[params["workload"]]
        details.append(f"{params['clients']} {what}")
    elif "batch" in params:
        details.append(f"{params['batch']} x {params['input']} tokens")
    elif "sequences" in params:
        details.append(f"{params['sequences']} sequences of {params['tokens']} tokens")
    elif "tokens" in params:
        details.append(f"{params['tokens']} tokens")
    return ", ".join([f"{metric.label}{' (' + metric.unit + ')' if metric.unit else ''}", *details])


def advantage_cell(row):
    if "advantage" not in row:
        return ""
    return f"{cell(row['advantage'])} x {row['best_peer']}"


def table(rows, systems):
    """Systems without a single value in these rows have no column."""
    columns = [name for name in systems if any(name in row["systems"] for row in rows)]
    lines = ["| | " + " | ".join(columns) + " | ours against the best peer |", "|---" * (len(columns) + 2) + "|"]
    for row in rows:
        cells = [cell(row["systems"].get(name)) for name in columns]
        lines.append("| " + " | ".join([label(row), *cells, advantage_cell(row)]) + " |")
    return "\n".join(lines)


def rounds(count):
    if count == 1:
        return "One round."
    return (f"Medians of {count} rounds, in brackets the lowest and the highest; within a round all systems are "
            "measured in turn.")


def markdown(results):
    """The whole report of what compare.py writes as JSON."""
    parts = ["# Quire and its peers on one machine", machine.caption(results["machine"]),
             f"{rounds(results['rounds'])} The last column says how many times better ours is than the best peer of "
             "the same round: above 1, ours is faster, smaller or sooner."]
    for name, (title, measure) in SECTIONS.items():
        rows = [row for row in results["summary"] if row["section"] == name]
        if rows:
            parts += [f"## {title}", " ".join(measure.__doc__.split()), table(rows, results["systems"])]
    notes = [f"- {note}" for note in results["skipped"]]
    if notes:
        parts += ["## Not measured", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"
