"""The smallest complete program: an MLP with BatchNorm before its ReLUs learns MNIST.

python examples/mnist_mlp.py            # five epochs, about 98 % on the test images
python examples/mnist_mlp.py --quick    # one epoch on the small data set that comes with the package
"""

import argparse

import tinybn as tb
from tinybn import nn

parser = argparse.ArgumentParser(description="An MLP with BatchNorm on MNIST.")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--quick", action="store_true", help="one epoch on the bundled digits")
options = parser.parse_args()

tb.manual_seed(options.seed)
train, test = tb.data.digits() if options.quick else tb.data.mnist()
height, width = train.image_shape

model = nn.Sequential(
    nn.Flatten(),
    nn.Linear(height * width, 256, bias=False),  # BatchNorm takes a bias away and adds its own
    nn.BatchNorm1d(256),
    nn.ReLU(),
    nn.Linear(256, 256, bias=False),
    nn.BatchNorm1d(256),
    nn.ReLU(),
    nn.Linear(256, train.classes),
)
optimizer = tb.optim.Adam(model.parameters(), lr=1e-3)
loader = tb.data.DataLoader(train, batch_size=128, shuffle=True, drop_last=True)

for epoch in range(1 if options.quick else options.epochs):
    loss = tb.train.fit(model, loader, optimizer)
    result = tb.train.evaluate(model.eval(), tb.data.DataLoader(test, batch_size=500))
    print(f"epoch {epoch + 1}: training loss {loss:.4f}, test accuracy {result.accuracy:.2%}")
