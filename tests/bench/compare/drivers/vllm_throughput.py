"""Prefill and decode rates of vLLM: vllm_throughput.py MODEL_FOLDER JOB; see rates.py."""

import json
import sys

import rates
from vllm import LLM, SamplingParams
from vllm.sampling_params import RequestOutputKind


class Engine:
    def __init__(self, model, job):
        self.llm = LLM(model, dtype="bfloat16", max_model_len=job["max_length"], enable_prefix_caching=False)
        self.max_length = job["max_length"]
        self.next_id = 0

    def generate(self, prompts, new_tokens):
        params = SamplingParams(max_tokens=new_tokens, ignore_eos=True, temperature=0)
        self.llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False)

    def steps(self, prompts):
        engine = self.llm.llm_engine
        ids = {}
        for index, prompt in enumerate(prompts):
            params = SamplingParams(max_tokens=self.max_length - len(prompt), ignore_eos=True, temperature=0,
                                    output_kind=RequestOutputKind.DELTA)
            name = f"steady-{self.next_id}"
            engine.add_request(name, {"prompt_token_ids": prompt}, params)
            ids[name] = index
            self.next_id += 1
        try:
            while True:
                yield {ids[output.request_id]: len(output.outputs[0].token_ids) for output in engine.step()}
        finally:
            engine.abort_request(list(ids))
            while engine.has_unfinished_requests():
                engine.step()


if __name__ == "__main__":
    rates.main(Engine(sys.argv[1], json.loads(sys.argv[2])))
