"""What the drivers of peers share: the prompts, and prefill and decode rates by the definitions of `quire bench`.

Runs under the peers' own Python, so it uses nothing but the standard library. A driver gives an engine with
  generate(prompts, new_tokens)  generates all at once; returns when the last one has ended
  steps(prompts)                 generates without end; yields after each step {index of prompt: its new tokens}
and calls main(): the groups come as JSON in the last argument, each point goes out as one line of JSON.
"""

import json
import random
import sys
import time

# Ids that are ordinary text in the vocabulary of the model that is compared (49,152 tokens).
TOKEN_IDS = (1000, 49000)


def random_prompts(rng, count, length):
    return [[rng.randrange(*TOKEN_IDS) for _ in range(length)] for _ in range(count)]


def seconds_to_generate(engine, prompts, new_tokens, clock=time.perf_counter):
    start = clock()
    engine.generate(prompts, new_tokens)
    return clock() - start


def steady_decode_rate(steps, num_prompts, new_tokens, clock=time.perf_counter):
    """Tokens a second from when every sequence has its first token until each has had `new_tokens` more."""
    started = set()
    for counts in steps:
        started |= {index for index, count in counts.items() if count}
        if len(started) == num_prompts:
            break
    start, tokens = clock(), 0
    while tokens < num_prompts * new_tokens:
        tokens += sum(next(steps).values())
    seconds = clock() - start
    steps.close()
    return tokens / seconds


def measure(engine, group, rng):
    """One point, {"batch", "input", "prefill", "decode"} in tokens a second, for each length and batch size."""
    output = group["output"]
    for length in group["lengths"]:
        for batch in group["batches"]:
            prompts = random_prompts(rng, batch, length)
            prefill = seconds_to_generate(engine, prompts, 1)
            if group["steady"]:
                decode = steady_decode_rate(engine.steps(prompts), batch, output)
            else:
                whole = seconds_to_generate(engine, prompts, output)
                decode = batch * (output - 1) / (whole - prefill)
            yield {"batch": batch, "input": length, "prefill": batch * length / prefill, "decode": decode}


def main(engine):
    job = json.loads(sys.argv[-1])
    rng = random.Random(job["seed"])
    engine.generate(random_prompts(rng, 1, 128), 8)  # The warm-up.
    for group in job["groups"]:
        for point in measure(engine, group, rng):
            print(json.dumps(point), flush=True)
