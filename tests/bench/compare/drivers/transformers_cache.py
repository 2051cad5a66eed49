"""Seconds of one greedy generation by transformers, with its KV cache and without.

transformers_cache.py MODEL_FOLDER JOB prints {"cached_s", "recomputed_s"}. The weights stay in the type that the folder
has them in.
"""

import json
import random
import sys
import time

import rates
import torch
from transformers import AutoModelForCausalLM


def seconds_to_generate(model, prompt, new_tokens, use_cache):
    start = time.perf_counter()
    with torch.inference_mode():
        output = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, use_cache=use_cache,
                                min_new_tokens=new_tokens, max_new_tokens=new_tokens)
    assert output.shape[1] == prompt.shape[1] + new_tokens
    return time.perf_counter() - start


def main(folder, job):
    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    prompt = torch.tensor(rates.random_prompts(random.Random(job["seed"]), 1, job["input"]))
    seconds_to_generate(model, prompt, 8, use_cache=True)
    print(json.dumps({"cached_s": seconds_to_generate(model, prompt, job["output"], use_cache=True),
                      "recomputed_s": seconds_to_generate(model, prompt, job["output"], use_cache=False)}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
