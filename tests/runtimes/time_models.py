"""Time exported detectors in turns: python time_models.py RUNTIME ROUNDS IMAGE.npy MODEL ...

Prints a JSON list for each model: the milliseconds of each round, the first two left out.
"""

import json
import sys
import time

import numpy as np
import run_model

runtime, rounds, image, *models = sys.argv[1:]
image = np.load(image)
networks = [getattr(run_model, runtime)(model) for model in models]
taken = [[] for _ in models]
for number in range(2 + int(rounds)):
    for network, times in zip(networks, taken):
        start = time.perf_counter()
        network(image)
        if number >= 2:
            times.append(1000 * (time.perf_counter() - start))
print("\n" + json.dumps(taken))
