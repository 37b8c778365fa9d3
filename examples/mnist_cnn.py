"""A small convolutional net with BatchNorm and dropout learns MNIST.

python examples/mnist_cnn.py            # above 99.1 % on the test images in a few minutes
python examples/mnist_cnn.py --quick    # one epoch on the small data set that comes with the package
"""

import argparse
import time

from tqdm import tqdm

import tinybn as tb
from tinybn import nn

parser = argparse.ArgumentParser(description="A CNN with BatchNorm on MNIST.")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--lr", type=float, default=2e-3, help="Adam's rate at the start; it falls to 0 along a cosine")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--quick", action="store_true", help="one epoch on the bundled digits")
options = parser.parse_args()

tb.manual_seed(options.seed)
train, test = tb.data.digits() if options.quick else tb.data.mnist()
epochs = 1 if options.quick else options.epochs
height, width = train.image_shape

model = nn.Sequential(
    nn.Conv2d(1, 32, 3, padding=1, bias=False),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(32, 64, 3, padding=1, bias=False),
    nn.BatchNorm2d(64),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(64 * (height // 4) * (width // 4), 128, bias=False),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    nn.Dropout(0.3),  # behind the last BatchNorm: in front of one, training and test statistics would differ
    nn.Linear(128, train.classes),
)
loader = tb.data.DataLoader(train, options.batch_size, shuffle=True, drop_last=True)
optimizer = tb.optim.Adam(model.parameters(), lr=options.lr)
schedule = tb.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * len(loader))

started = time.perf_counter()
for epoch in range(epochs):
    with tqdm(total=len(loader), desc=f"epoch {epoch + 1}", leave=False) as bar:
        loss = tb.train.fit(model, loader, optimizer, schedule=schedule, after_step=lambda _: bar.update())
    result = tb.train.evaluate(model.eval(), tb.data.DataLoader(test, batch_size=250))
    seconds = time.perf_counter() - started
    print(f"epoch {epoch + 1}: training loss {loss:.4f}, test accuracy {result.accuracy:.2%}, {seconds:.0f} s")
