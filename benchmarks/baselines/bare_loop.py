"""The least that classifies files: draft-mode decode, resize, invoke. Prints frames per second.

``python bare_loop.py MODEL FILE...``. One inference thread; the clock starts at the first file.
"""

import json
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
source = interpreter.get_input_details()[0]
target = interpreter.get_output_details()[0]
height, width = source["shape"][1:3]
size = (int(width), int(height))
files = sys.argv[2:]
best = []
start = time.monotonic()
for file in files:
    with Image.open(file) as picture:
        picture.draft("RGB", size)
        pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
    interpreter.set_tensor(source["index"], pixels[np.newaxis])
    interpreter.invoke()
    best.append(int(np.argmax(interpreter.get_tensor(target["index"])[0])))
print(json.dumps({"fps": len(files) / (time.monotonic() - start), "best": best}))
