"""tflite-support's ImageClassifier over the same files. Prints frames per second.

``python tflite_support_loop.py MODEL FILE...``. One thread; the clock starts at the first file.
"""

import json
import sys
import time

from tflite_support.task import core, processor, vision

options = vision.ImageClassifierOptions(
    base_options=core.BaseOptions(file_name=sys.argv[1], num_threads=1),
    classification_options=processor.ClassificationOptions(max_results=1),
)
classifier = vision.ImageClassifier.create_from_options(options)
files = sys.argv[2:]
best = []
start = time.monotonic()
for file in files:
    image = vision.TensorImage.create_from_file(file)
    best.append(classifier.classify(image).classifications[0].categories[0].index)
print(json.dumps({"fps": len(files) / (time.monotonic() - start), "best": best}))
