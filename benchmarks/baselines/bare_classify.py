"""The least that names one picture: import, load, decode, invoke, print.

``python bare_classify.py MODEL LABELS IMAGE``.
"""

import json
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

model, labels, image = sys.argv[1:]
interpreter = Interpreter(model_path=model, num_threads=1)
interpreter.allocate_tensors()
source = interpreter.get_input_details()[0]
target = interpreter.get_output_details()[0]
height, width = source["shape"][1:3]
size = (int(width), int(height))
with Image.open(image) as picture:
    picture.draft("RGB", size)
    pixels = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR))
interpreter.set_tensor(source["index"], pixels[np.newaxis])
interpreter.invoke()
scores = interpreter.get_tensor(target["index"])[0]
best = int(np.argmax(scores))
with open(labels, encoding="utf-8") as file:
    names = file.read().splitlines()
scale, zero_point = target["quantization"]
confidence = (int(scores[best]) - zero_point) * scale if scale else float(scores[best])
print(json.dumps({"label": names[best], "confidence": confidence}))
