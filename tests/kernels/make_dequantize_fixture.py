"""Writes dequantize_fixture.h: random blocks of every format, and what the `gguf` Python package makes of them.

    python make_dequantize_fixture.py > dequantize_fixture.h
"""

import gguf
import numpy as np

FORMATS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
# Where in a block the float16 scales lie.
SCALES = {
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}


def random_rows(rng, name):
    if name == "F32":
        return rng.standard_normal(16, dtype=np.float32).view(np.uint8)
    if name == "F16":
        return rng.standard_normal(16).astype(np.float16).view(np.uint8)
    if name == "BF16":
        return rng.standard_normal(16, dtype=np.float32).view(np.uint16)[1::2].copy().view(np.uint8)
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (2 if elements == 32 else 1, size), dtype=np.uint8)
    for block in blocks:
        for at in SCALES[name]:
            block[at : at + 2] = np.array([rng.standard_normal() * 0.05], np.float16).view(np.uint8)
    return blocks.reshape(-1)


def literal(data, indent="     "):
    digits = data.tobytes().hex()
    return "\n".join(f'{indent}"{digits[i:i + 108]}"' for i in range(0, len(digits), 108))


rng = np.random.default_rng(1)
print("// Written by make_dequantize_fixture.py; do not edit.")
print("#pragma once\n\n#include \"kernels/dtype.h\"\n\nnamespace quire {\n")
print("struct DequantizeFixture {\n  DType dtype;\n  const char* blocks;  // The file's bytes, in hexadecimal.")
print("  const char* values;  // float32, little-endian.\n};\n")
print("inline constexpr DequantizeFixture kDequantizeFixtures[] = {")
for name in FORMATS:
    rows = random_rows(rng, name)
    values = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType[name]).astype(np.float32)
    print(f"    {{DType::k{name},\n{literal(rows)},\n{literal(values)}}},")
print("};\n\n}  // namespace quire")
