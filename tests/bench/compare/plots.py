#!/usr/bin/env python3
"""Draws what compare.py measured: plots.py RESULTS.json FOLDER. Needs matplotlib.

A plot for each section: bars where there are few points, lines over prompt lengths for longer work. Values are medians
over rounds; whiskers reach from the lowest round to the highest. Each system has one colour in all plots.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (after the choice of a backend that needs no display)
from matplotlib.ticker import FuncFormatter  # noqa: E402

from report import number  # noqa: E402
from summary import METRICS  # noqa: E402

# Told apart by people who see colours differently, too (Okabe and Ito).
COLOURS = ("#d55e00", "#56b4e9", "#0072b2", "#009e73", "#cc79a7", "#7f7f7f", "#e69f00", "#000000", "#f0e442")

LEGEND_INCHES = 0.4


def rows_of(results, section, metric, **params):
    """Rows of one metric whose parameters include these."""
    return [row for row in results["summary"] if row["section"] == section and row["metric"] == metric
            and params.items() <= row["params"].items()]


def whiskers(spreads):
    """Distances from the medians to both ends, as matplotlib wants them; None of a single round."""
    if all(spread["rounds"] == 1 for spread in spreads):
        return None
    below = [spread["median"] - spread["min"] for spread in spreads]
    above = [spread["max"] - spread["median"] for spread in spreads]
    return [below, above]


class Painter:
    """Axes of one figure, with the results and the colours of their systems."""

    def __init__(self, results, panels, title):
        self.results = results
        self.colours = dict(zip(results["systems"], COLOURS))
        columns = 2 if panels in (2, 4) else min(panels, 3)
        lines = -(-panels // columns)
        self.height = 3.7 * lines + LEGEND_INCHES
        self.figure, axes = pyplot.subplots(lines, columns, figsize=(5.4 * columns, self.height), squeeze=False)
        machine = results["machine"]
        self.figure.suptitle(f"{title} ({machine['processor']}, {machine['processors']} processors)", fontsize=12)
        self.axes = list(axes.flat)
        for unused in self.axes[panels:]:
            unused.remove()

    @staticmethod
    def _dress(axes, title, metric):
        axes.set_title(title, fontsize=10.5)
        axes.set_ylabel(METRICS[metric].unit)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)

    def bars(self, axes, rows, metric, title, tick):
        """A group of bars for each row, with its value on each bar; `tick` names a row."""
        systems = [name for name in self.results["systems"] if any(name in row["systems"] for row in rows)]
        width = 0.84 / len(systems)
        for place, name in enumerate(systems):
            shown = [(index, row["systems"][name]) for index, row in enumerate(rows) if name in row["systems"]]
            positions = [index + (place - (len(systems) - 1) / 2) * width for index, _ in shown]
            spreads = [spread for _, spread in shown]
            drawn = axes.bar(positions, [spread["median"] for spread in spreads], width * 0.92, label=name,
                             color=self.colours[name], yerr=whiskers(spreads),
                             error_kw={"linewidth": 0.8, "capsize": 2, "ecolor": "#333333"})
            crowded = len(rows) * len(systems) > 8
            axes.bar_label(drawn, [number(spread["median"]) for spread in spreads], padding=2,
                           fontsize=6.5 if crowded else 8, rotation=90 if crowded else 0)
        axes.set_xticks(range(len(rows)), [tick(row) for row in rows], fontsize=9)
        axes.tick_params(axis="x", length=0)
        self._dress(axes, title, metric)
        axes.margins(y=0.2)
        axes.set_ylim(bottom=0)

    def lines(self, axes, rows, metric, title):
        """A line for each system over the prompts' lengths."""
        for name, colour in self.colours.items():
            shown = sorted((row["params"]["input"], row["systems"][name]) for row in rows if name in row["systems"])
            if shown:
                lengths, spreads = zip(*((length, spread) for length, spread in shown))
                axes.errorbar(lengths, [spread["median"] for spread in spreads], yerr=whiskers(spreads), label=name,
                              color=colour, marker="o", markersize=4, linewidth=1.6, capsize=2, elinewidth=0.8)
        lengths = sorted({row["params"]["input"] for row in rows})
        axes.set_xscale("log", base=2)
        axes.set_xticks(lengths, [f"{length:,}" for length in lengths], fontsize=8)
        axes.set_xticks([], minor=True)
        axes.set_xlabel("prompt tokens of each sequence")
        self._dress(axes, title, metric)
        axes.set_ylim(bottom=0)

    def save(self, path):
        """One legend for all panels, under them, in the order of the systems."""
        found = {}
        for axes in self.figure.axes:
            for handle, name in zip(*axes.get_legend_handles_labels()):
                found.setdefault(name, handle)
        names = [name for name in self.colours if name in found]
        self.figure.tight_layout(rect=(0, LEGEND_INCHES / self.height, 1, 1))
        self.figure.legend([found[name] for name in names], names, loc="lower center", ncols=len(names), frameon=False,
                           fontsize=9)
        self.figure.savefig(path, dpi=150)
        pyplot.close(self.figure)


def panel_title(metric):
    """With the direction that is better, for readers in a hurry."""
    better = {"higher": " (higher is better)", "lower": " (lower is better)", "": ""}[METRICS[metric].better]
    return METRICS[metric].label + better


def paint_bars(results, path, title, panels):
    """`panels`: (rows, metric, title, function that names a row); those without rows are left out."""
    panels = [panel for panel in panels if panel[0]]
    if panels:
        painter = Painter(results, len(panels), title)
        for axes, panel in zip(painter.axes, panels):
            painter.bars(axes, *panel)
        painter.save(path)


def offline(results, folder):
    def tick(row):
        return f"{row['params']['batch']} x {row['params']['input']}"

    paint_bars(results, folder / "offline.png", "Offline: sequences x prompt tokens",
               [(rows_of(results, "offline", metric), metric, panel_title(metric), tick)
                for metric in ("decode", "prefill")])


def longer(results, folder):
    panels = []
    for metric in ("decode", "prefill"):
        for batch in sorted({row["params"]["batch"] for row in rows_of(results, "long", metric)}):
            sequences = f"{batch} sequences" if batch > 1 else "one sequence"
            rows = rows_of(results, "long", metric, batch=batch)
            panels.append((rows, metric, f"{panel_title(metric)}, {sequences}"))
    if panels:
        painter = Painter(results, len(panels), "Longer work")
        for axes, panel in zip(painter.axes, panels):
            painter.lines(axes, *panel)
        painter.save(folder / "long.png")


def wire(results, folder):
    def tick(row):
        what = {"shared": "clients,\none prefix", "chat": "growing\nchats"}[row["params"]["workload"]]
        return f"{row['params']['clients']} {what}"

    paint_bars(results, folder / "wire.png", "Over the wire",
               [(rows_of(results, "wire", metric), metric, panel_title(metric), tick)
                for metric in ("throughput", "ttft_p50", "ttft_p99", "tpot_p50", "peak_rss")])


def servers(results, folder):
    def sequences(row):
        return f"{row['params']['sequences']} x {row['params']['tokens']:,} tokens"

    paint_bars(results, folder / "servers.png", "Servers: memory, start and idleness",
               [(rows_of(results, section, metric), metric, panel_title(metric), tick)
                for section, metric, tick in (("memory", "peak_rss", sequences), ("start", "ready", lambda row: ""),
                                              ("start", "idle_cpu", lambda row: ""))])


def cache(results, folder):
    def tick(row):
        return f"{row['params']['tokens']} tokens"

    paint_bars(results, folder / "cache.png", "One generation with the KV cache and without",
               [(rows_of(results, "cache", metric), metric, panel_title(metric), tick)
                for metric in ("recomputed", "cached", "cache_ratio")])


def main():
    results = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    for paint in (offline, longer, wire, servers, cache):
        paint(results, pathlib.Path(sys.argv[2]))


if __name__ == "__main__":
    main()
