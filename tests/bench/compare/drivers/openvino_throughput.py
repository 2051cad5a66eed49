"""Prefill and decode rates of OpenVINO GenAI: openvino_throughput.py MODEL.gguf JOB; see rates.py."""

import json
import math
import sys

import numpy
import openvino
import openvino_genai as genai
import rates


class Engine:
    def __init__(self, model, job):
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = math.ceil(job["kv_bytes"] / 2**30)
        scheduler.max_num_batched_tokens = 2048
        scheduler.max_num_seqs = 256
        scheduler.enable_prefix_caching = False
        self.pipe = genai.ContinuousBatchingPipeline(
            model, scheduler, "CPU", {"INFERENCE_NUM_THREADS": job["threads"]})
        self.max_length = job["max_length"]
        self.next_id = 0

    @staticmethod
    def _greedy(new_tokens):
        config = genai.GenerationConfig()
        config.max_new_tokens = new_tokens
        config.ignore_eos = True
        config.do_sample = False
        return config

    @staticmethod
    def _tensor(prompt):
        return openvino.Tensor(numpy.array([prompt], dtype="int64"))

    def generate(self, prompts, new_tokens):
        self.pipe.generate([self._tensor(prompt) for prompt in prompts], [self._greedy(new_tokens)] * len(prompts))

    def steps(self, prompts):
        handles = []
        for prompt in prompts:
            config = self._greedy(self.max_length - len(prompt))
            handles.append(self.pipe.add_request(self.next_id, self._tensor(prompt), config))
            self.next_id += 1
        try:
            while True:
                self.pipe.step()
                counts = {}
                for index, handle in enumerate(handles):
                    if handle.can_read():
                        counts[index] = sum(len(output.generated_ids) for output in handle.read().values())
                yield counts
        finally:
            for handle in handles:
                handle.cancel()
            while self.pipe.has_non_finished_requests():
                self.pipe.step()


if __name__ == "__main__":
    rates.main(Engine(sys.argv[1], json.loads(sys.argv[2])))
