"""Where should BatchNorm stand? Trains one network with it in each place that people put it, and compares.

    python examples/bn_placement.py                        # an MLP with ReLU on MNIST, 7 placements × 5 seeds
    python examples/bn_placement.py --activation sigmoid
    python examples/bn_placement.py --net cnn --placements none before after --seeds 3
    python examples/bn_placement.py --data digits          # the small data set that comes with the package
    python examples/bn_placement.py --quick                # a short check that everything works

Prints a table, and leaves a folder with results.jsonl, settings.json, table.md and curves.png.
The arms are built in tinybn/study/arms.py, a run is made and measured in tinybn/study/protocol.py.
"""

import sys

from tinybn import study

if __name__ == "__main__":
    sys.exit(study.main())
