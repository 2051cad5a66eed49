#!/usr/bin/env python3
"""Writes golden.json: what an independent implementation makes of the model that the tests run.

    python3 make_golden.py MODEL.gguf [OUTPUT.json]

Needs torch, transformers and gguf (the fixture records the versions that made it). The weights are dequantised to
float32 and the forward pass is transformers' own, so nothing of Quire has a part in the result. The fixture holds token
ids, never text, so that it judges the model and not a tokenizer.

golden.json:
  made_with   versions, and the model file's name and sha256
  prompts[]   name, token_ids, and for the greedy continuation of GREEDY_TOKENS tokens (past end-of-sequence too):
              greedy[] the tokens, margins[] the likeliest token's lead over the second at each step in nats,
              top[] {step, token_ids, logprobs} the TOP likeliest at the steps TOP_STEPS
  passage     passage.txt: token_ids; greedy[] and margins[], at i for the token that follows token_ids[0..i];
              mean_nll, the mean of -log p(token_ids[i + 1] | token_ids[0..i])
"""
import hashlib
import json
import pathlib
import sys

import torch
import transformers

GREEDY_TOKENS = 48
TOP = 5
TOP_STEPS = (0, 9, 31)
PASSAGE = pathlib.Path(__file__).with_name("passage.txt").read_text()


def chat(*turns):
    """The model's chat format, spelt out; the assistant's turn is open."""
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    return text + "<|im_start|>assistant\n"


SYSTEM = ("system", "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
PROMPTS = {
    "one token": "The",
    "one letter": "x",
    "newline": "\n",
    "fact": "The capital of France is",
    "story": "Once upon a time, in a village at the foot of a mountain, there lived a girl who",
    "science": "Photosynthesis is the process by which plants",
    "letter": "Dear Ms Alvarez,\n\nThank you for your letter of 3 March. I am writing to",
    "python": "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
    "cpp": "#include <vector>\n\n// Returns the largest element.\nint Largest(const std::vector<int>& values) {\n",
    "sql": "-- The ten customers with the most orders\nSELECT",
    "json": '{"name": "Ada", "age": 36, "languages": ["English", "French"], "address": {',
    "shell": "#!/bin/bash\nset -e\nfor file in *.txt; do\n",
    "digits": "1, 1, 2, 3, 5, 8, 13, 21, 34,",
    "arithmetic": "12 + 7 = 19\n23 + 4 = 27\n31 + 8 =",
    "list": "Things to take on a walk in the rain:\n1. A coat\n2. An umbrella\n3.",
    "markdown": "# Installation\n\n## Requirements\n\n- Linux\n- Python 3.10 or later\n-",
    "french": "Il était une fois un roi qui",
    "german": "Am nächsten Morgen ging der alte Mann",
    "spanish": "La receta de la tortilla de patatas lleva",
    "russian": "Москва является столицей",
    "chinese": "中国的首都是",
    "arabic and emoji": "مرحبا بالعالم 🌍🚀 means",
    "chat question": chat(SYSTEM, ("user", "What is gravity?")),
    "chat, several turns": chat(SYSTEM, ("user", "Name a fruit."), ("assistant", "Apple."), ("user", "Another one, please.")),
    "chat, task": chat(("system", "You answer in one sentence."), ("user", "Why is the sky blue?")),
    "long prose": PASSAGE[: PASSAGE.index("A short note on measuring things")],
    "long mixture": PASSAGE[PASSAGE.index("def moving_average") : PASSAGE.index("Le petit marché")],
}


def leads(logits):
    """(likeliest token, its lead over the second) for each row."""
    values, tokens = logits.topk(2, dim=-1)
    return tokens[:, 0].tolist(), [round(lead, 3) for lead in (values[:, 0] - values[:, 1]).tolist()]


def continue_greedily(model, token_ids):
    greedy, margins, top = [], [], []
    cache, tokens = None, torch.tensor([token_ids])
    for step in range(GREEDY_TOKENS):
        out = model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache, logits = out.past_key_values, out.logits[0]
        (token,), (margin,) = leads(logits)
        greedy.append(token)
        margins.append(margin)
        if step in TOP_STEPS:
            logprobs, ids = logits[0].log_softmax(-1).topk(TOP)
            top.append({"step": step, "token_ids": ids.tolist(), "logprobs": [round(p, 4) for p in logprobs.tolist()]})
        tokens = torch.tensor([[token]])
    return {"token_ids": token_ids, "greedy": greedy, "margins": margins, "top": top}


def judge_passage(model, token_ids):
    hidden = model.model(torch.tensor([token_ids])).last_hidden_state[0]
    greedy, margins, nll = [], [], 0.0
    for begin in range(0, len(token_ids) - 1, 256):  # All logits at once would take half a gigabyte.
        targets = token_ids[begin + 1 : begin + 257]
        logits = model.lm_head(hidden[begin : begin + len(targets)])
        tokens, leads_here = leads(logits)
        greedy += tokens
        margins += leads_here
        nll += torch.nn.functional.cross_entropy(logits.double(), torch.tensor(targets), reduction="sum").item()
    return {"token_ids": token_ids, "greedy": greedy, "margins": margins, "mean_nll": round(nll / len(greedy), 6)}


def main():
    path = pathlib.Path(sys.argv[1])
    output = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path(__file__).with_name("golden.json")
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)  # Sums in one order, and no waiting for a second core that others use.
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    model.eval()
    golden = {
        "made_with": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "model": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
        "prompts": [
            {"name": name, **continue_greedily(model, tokenizer(text).input_ids)} for name, text in PROMPTS.items()
        ],
        "passage": judge_passage(model, tokenizer(PASSAGE).input_ids),
    }
    output.write_text(json.dumps(golden, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")


if __name__ == "__main__":
    main()
