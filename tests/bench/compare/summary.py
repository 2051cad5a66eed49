"""From single measurements to what is reported: medians and ranges over rounds, and ratios to the best peer."""

import collections
import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Metric:
    label: str
    unit: str
    better: str  # "higher", "lower", or "" where a ratio would say nothing.


METRICS = {
    "decode": Metric("decode", "tok/s", "higher"),
    "prefill": Metric("prefill", "tok/s", "higher"),
    "throughput": Metric("new tokens", "tok/s", "higher"),
    "ttft_p50": Metric("time to first token, p50", "ms", "lower"),
    "ttft_p99": Metric("time to first token, p99", "ms", "lower"),
    "tpot_p50": Metric("time per output token, p50", "ms", "lower"),
    "errors": Metric("failed requests", "", ""),
    "client_cpu": Metric("load generator, share of one processor", "%", ""),
    "peak_rss": Metric("peak resident memory", "MiB", "lower"),
    "ready": Metric("start until ready", "s", "lower"),
    "idle_cpu": Metric("idle, share of one processor", "%", ""),
    "cached": Metric("generation, KV cached", "s", "lower"),
    "recomputed": Metric("generation, KV recomputed", "s", "lower"),
    "cache_ratio": Metric("recomputed / cached", "x", ""),
}


@dataclasses.dataclass
class Measurement:
    """One value of one system in one round. `params` tells what was measured, as {"batch": 16, "input": 128}."""

    section: str
    metric: str
    system: str
    round: int
    value: float
    params: dict = dataclasses.field(default_factory=dict)

    def key(self):
        return (self.section, self.metric, tuple(self.params.items()))


def percentile(values, fraction):
    """Interpolates linearly between the two nearest values; None of no values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = fraction * (len(ordered) - 1)
    below = int(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below])


def spread(values):
    """What is reported of a set of rounds."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)}


def advantage(metric, ours, peers):
    """(how many times better ours is than the best peer, that peer's name), both of one round; None without a peer."""
    if not peers or not METRICS[metric].better:
        return None
    higher = METRICS[metric].better == "higher"
    best = (max if higher else min)(peers, key=peers.get)
    above, below = (ours, peers[best]) if higher else (peers[best], ours)
    return (above / below, best) if below > 0 else None


def summarize(measurements, our_name):
    """One row for each thing measured, in the order of first appearance.

    {"section", "metric", "params", "systems": {name: spread}, "advantage": spread over rounds, "best_peer"}
    """
    by_key = collections.defaultdict(list)
    for measurement in measurements:
        by_key[measurement.key()].append(measurement)
    rows = []
    for (section, metric, params), values in by_key.items():
        by_system, by_round = collections.defaultdict(list), collections.defaultdict(dict)
        for value in values:
            by_system[value.system].append(value.value)
            by_round[value.round][value.system] = value.value
        row = {"section": section, "metric": metric, "params": dict(params),
               "systems": {system: spread(numbers) for system, numbers in by_system.items()}}
        ratios = []
        for of_round in by_round.values():
            ours = of_round.get(our_name)
            peers = {name: value for name, value in of_round.items() if not name.startswith(our_name)}
            if ours is not None and (ratio := advantage(metric, ours, peers)):
                ratios.append(ratio)
        if ratios:
            row["advantage"] = spread([ratio for ratio, _ in ratios])
            row["best_peer"] = collections.Counter(peer for _, peer in ratios).most_common(1)[0][0]
        rows.append(row)
    return rows
