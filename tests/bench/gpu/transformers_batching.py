"""Output tokens a second of transformers' paged continuous batching, where gpu_bench measures Quire's engine.

transformers_batching.py FILE [--small] writes a JSON list, a point for each pair of lengths. The model has Llama-3-8B's shape
and random weights in bfloat16, as gpu_bench's has (bench_plan.cc); --small takes a tiny one.
"""

import json
import pathlib
import random
import sys
import time

import torch
import transformers

LLAMA_3_8B = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
              "num_key_value_heads": 8, "vocab_size": 128256, "rope_theta": 500000.0}
TINY = {"hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 512}
LENGTHS = ((128, 128), (128, 2048), (1000, 1000), (2048, 2048))


def make_model(shape, device):
    config = transformers.LlamaConfig(**shape, max_position_embeddings=8192, tie_word_embeddings=False)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa_paged")
    finally:
        torch.set_default_dtype(before)
    return model.eval()


def measure(model, num_sequences, input_tokens, output_tokens):
    source = random.Random(20261124)
    prompts = [[source.randrange(model.config.vocab_size) for _ in range(input_tokens)] for _ in range(num_sequences)]
    wish = transformers.GenerationConfig(max_new_tokens=output_tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)
    start = time.perf_counter()
    with torch.inference_mode():
        results = model.generate_batch(inputs=prompts, generation_config=wish, progress_bar=False)
    seconds = time.perf_counter() - start
    tokens = sum(len(result.generated_tokens) for result in results.values())
    if tokens != num_sequences * output_tokens:
        raise RuntimeError(f"{tokens} tokens came instead of {num_sequences * output_tokens}")
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, "sequences": num_sequences, "seconds": seconds,
            "output_tokens_per_s": tokens / seconds}


def main(file, small):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not small:
        sys.exit("transformers_batching: torch sees no GPU")
    model = make_model(TINY if small else LLAMA_3_8B, device)
    lengths = ((8, 3),) if small else LENGTHS
    num_sequences = 3 if small else 512
    measure(model, num_sequences, lengths[0][0], 2)  # A warm-up.
    points = []
    for input_tokens, output_tokens in lengths:
        point = measure(model, num_sequences, input_tokens, output_tokens)
        print(point, flush=True)
        points.append({**point, "transformers": transformers.__version__, "device": device})
        pathlib.Path(file).write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], "--small" in sys.argv[2:])
