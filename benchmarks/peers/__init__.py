"""What Cotune is compared with, each a script that a user of that tool could have written.

``python -m benchmarks.peers.NAME DATASET --timeout SECONDS --seed N --out FILE.json``
"""

import time

BEGAN = time.monotonic()  # before the libraries are imported: the budget is for everything
