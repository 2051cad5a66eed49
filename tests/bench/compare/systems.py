"""What is compared: Quire and its peers, each with the commands that measure it and the reason why it cannot be.

Peers are found under one folder (--peers, default $PEERS_HOME, else ~/.cache/peers) laid out as
  llama/bin/      llama-batched-bench and llama-server, with their libraries
  venv-openvino/  a virtual environment with openvino-genai and numpy
  venv-vllm/      a virtual environment with vllm (its build for CPUs) and transformers
  model/          the model: *.Q4_1.gguf and *.Q4_0.gguf
  bf16/           the same model as transformers stores it
"""

import dataclasses
import json
import math
import os
import pathlib

import processes

HERE = pathlib.Path(__file__).resolve().parent
DRIVERS = HERE / "drivers"
MAX_MODEL_LENGTH = 8192  # Of the model that is compared.
KV_BYTES_PER_TOKEN = 23_040  # Its keys and values in bfloat16: 2 x 30 layers x 3 heads x 64 x 2 bytes.


@dataclasses.dataclass
class Group:
    """Points that one call measures: every length at every batch size. `steady`: the second way of rates.py."""

    batches: list
    lengths: list
    output: int
    steady: bool = False

    def max_tokens(self):
        """Tokens of all sequences together, at most. In a steady run the first go on until the last have begun."""
        return max(self.batches) * min(max(self.lengths) + self.output + 512 * self.steady, MAX_MODEL_LENGTH)


def most_tokens(groups):
    return max(group.max_tokens() for group in groups)


@dataclasses.dataclass
class Server:
    """How a server is started and spoken to."""

    command: list
    protocol: str  # As load.py names it.
    model_name: str = ""
    env: dict = dataclasses.field(default_factory=dict)


def _missing(*paths):
    """Why a system cannot be measured, or None."""
    absent = [str(path) for path in paths if not path or not pathlib.Path(path).exists()]
    return "not there: " + ", ".join(absent) if absent else None


def _model_file(folder, quantisation):
    pattern = f"*.{quantisation}.gguf"
    return min((folder / "model").glob(pattern), default=folder / "model" / pattern)


def parse_points(text, translate=None):
    """Lines of JSON among other output, each a point as rates.py prints it or as `translate` makes of it."""
    objects = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [translate(found) if translate else found for found in objects]


class System:
    """A system to measure. A method that returns None says that this one has no such thing."""

    name = ""
    files = ()  # What must be there.
    sections = None  # Those it takes part in; None: all.

    def __init__(self, options):
        self.options = options
        self.log = options.output / "logs" / (self.name.replace(" ", "-") + ".log")

    def missing(self):
        return _missing(*self.files)

    def run(self, command, env=None):
        return processes.run([str(part) for part in command], self.log, self.options.timeout, env)

    def throughput(self, groups, seed):
        """For each group, its points {"batch", "input", "prefill", "decode"}, in tokens a second."""

    def server(self, port, slots, context):
        """A Server that can run `slots` sequences of `context` tokens at once."""

    def cached_generation(self, input_tokens, output_tokens, seed):
        """{"cached_s", "recomputed_s"} of one greedy generation."""


class Quire(System):
    name = "Quire"
    kv_flags = ()

    def __init__(self, options):
        super().__init__(options)
        self.files = (options.quire, options.model)

    def _kv_bytes(self, context, sequences):
        plan = self.run([self.options.quire, "plan", self.options.model, "--context", context, "--concurrency",
                         sequences, "--json", *self.kv_flags])
        return json.loads(plan)["kv_bytes"]

    def _bench(self, *arguments):
        return json.loads(self.run([self.options.quire, "bench", "--model", self.options.model, "--json", "--threads",
                                    self.options.threads, *self.kv_flags, *arguments]))

    def throughput(self, groups, seed):
        return [self._group(group, seed) for group in groups]

    def _group(self, group, seed):
        sequences = max(group.batches)
        report = self._bench(
            "--batch-sizes", ",".join(map(str, group.batches)), "--input-len", ",".join(map(str, group.lengths)),
            "--output-len", group.output, "--seed", seed,
            "--kv-cache-memory", self._kv_bytes(group.max_tokens() // sequences, sequences),
            *(["--max-num-seqs", sequences, "--max-num-batched-tokens", sequences] if sequences > 256 else []),
            *(["--steady-decode"] if group.steady else []))
        return [{"batch": row["batch_size"], "input": row["input_tokens"], "prefill": row["prefill_tokens_per_second"],
                 "decode": row["decode_tokens_per_second"]} for row in report["throughput"]]

    def server(self, port, slots, context):
        return Server([self.options.quire, "serve", self.options.model, "--port", port, "--http-port", "-1", "--threads",
                       self.options.threads, "--max-num-seqs", slots, "--max-model-len", context, "--kv-cache-memory",
                       self._kv_bytes(context, slots), *self.kv_flags], "grpc")

    def cached_generation(self, input_tokens, output_tokens, seed):
        cache = self._bench("--generate", output_tokens, "--input-len", input_tokens, "--seed", seed)["kv_cache"]
        return {"cached_s": cache["cached_seconds"], "recomputed_s": cache["recomputed_seconds"]}


class QuireWithKv(Quire):
    """Quire with a KV cache that it does not have by default: beside it, not one of its peers."""

    sections = ("long", "memory")

    def __init__(self, options, kind, *kv_flags):
        self.name = f"{Quire.name}, {kind} KV"
        super().__init__(options)
        self.kv_flags = kv_flags


class Llama(System):
    def __init__(self, options, quantisation):
        self.name = f"llama.cpp {quantisation}"
        super().__init__(options)
        self.bin = options.peers / "llama/bin"
        self.model = _model_file(options.peers, quantisation)
        self.env = {"LD_LIBRARY_PATH": str(self.bin)}
        self.files = (self.bin / "llama-batched-bench", self.bin / "llama-server", self.model)
        self.serves = quantisation == "Q4_0"  # The faster of the two speaks for it where a whole server is measured.

    def throughput(self, groups, seed):
        del seed  # It draws its own tokens.
        return [self._group(group) for group in groups]

    def _group(self, group):
        text = self.run([self.bin / "llama-batched-bench", "-m", self.model, "-t", self.options.threads, "-tb",
                         self.options.threads, "-c", group.max_tokens(), "-npp", ",".join(map(str, group.lengths)),
                         "-ntg", group.output, "-npl", ",".join(map(str, group.batches)), "--output-format", "jsonl"],
                        self.env)
        return parse_points(text, lambda row: {"batch": row["pl"], "input": row["pp"], "prefill": row["speed_pp"],
                                               "decode": row["speed_tg"]})

    def server(self, port, slots, context):
        if not self.serves:
            return None
        return Server([self.bin / "llama-server", "-m", self.model, "-t", self.options.threads, "-np", slots, "-c",
                       slots * context, "--port", port, "--no-webui"], "openai", env=self.env)


class PythonPeer(System):
    """A peer that a driver of ours calls in the peer's own virtual environment."""

    def drive(self, driver, model, env=None, **job):
        job = {"threads": self.options.threads, **job}
        return self.run([self.python, DRIVERS / driver, model, json.dumps(job)], env)

    def rates(self, driver, model, groups, seed, env=None):
        """All groups in one process, since loading takes long."""
        text = self.drive(driver, model, env, groups=[dataclasses.asdict(group) for group in groups], seed=seed,
                          max_length=MAX_MODEL_LENGTH, kv_bytes=most_tokens(groups) * KV_BYTES_PER_TOKEN)
        points = iter(parse_points(text))
        return [[next(points) for _ in range(len(group.batches) * len(group.lengths))] for group in groups]


class OpenVino(PythonPeer):
    name = "OpenVINO Q4_0"

    def __init__(self, options):
        super().__init__(options)
        self.python = options.peers / "venv-openvino/bin/python"
        self.model = _model_file(options.peers, "Q4_0")
        self.files = (self.python, self.model)

    def throughput(self, groups, seed):
        return self.rates("openvino_throughput.py", self.model, groups, seed)


class Vllm(PythonPeer):
    name = "vLLM bf16"

    def __init__(self, options):
        super().__init__(options)
        self.python = options.peers / "venv-vllm/bin/python"
        self.model = options.peers / "bf16"
        self.files = (self.python, self.model / "config.json")

    def _env(self, tokens):
        processors = sorted(os.sched_getaffinity(0))[:self.options.threads]
        return {"VLLM_CPU_KVCACHE_SPACE": str(math.ceil(tokens * KV_BYTES_PER_TOKEN / 2**30)),
                "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, processors)), "HF_HUB_OFFLINE": "1",
                "VLLM_NO_USAGE_STATS": "1"}

    def throughput(self, groups, seed):
        tokens = max(most_tokens(groups), MAX_MODEL_LENGTH)  # It insists on room for one sequence of the full length.
        return self.rates("vllm_throughput.py", self.model, groups, seed, self._env(tokens))

    def server(self, port, slots, context):
        command = [self.python, "-m", "vllm.entrypoints.openai.api_server", "--model", self.model,
                   "--served-model-name", "m", "--dtype", "bfloat16", "--max-model-len", context, "--max-num-seqs",
                   slots, "--enable-prefix-caching", "--host", "127.0.0.1", "--port", port]
        return Server(command, "openai", "m", self._env(slots * context))


class Transformers(PythonPeer):
    name = "transformers bf16"

    def __init__(self, options):
        super().__init__(options)
        self.python = options.peers / "venv-vllm/bin/python"
        self.model = options.peers / "bf16"
        self.files = (self.python, self.model / "config.json")

    def cached_generation(self, input_tokens, output_tokens, seed):
        text = self.drive("transformers_cache.py", self.model, {"HF_HUB_OFFLINE": "1"}, input=input_tokens,
                          output=output_tokens, seed=seed)
        return parse_points(text)[-1]


def all_systems(options):
    """Ours first."""
    return [Quire(options), QuireWithKv(options, "int8", "--kv-cache-dtype", "int8"),
            QuireWithKv(options, "int8/int4", "--kv-cache-dtype", "int8", "--kv-cache-dtype-v", "int4"),
            QuireWithKv(options, "int4", "--kv-cache-dtype", "int4"),
            Llama(options, "Q4_1"), Llama(options, "Q4_0"), OpenVino(options), Vllm(options), Transformers(options)]
