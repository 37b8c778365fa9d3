"""A net with three faults around its BatchNorms: the doctor names them, their repairs are applied, and none is left.

python examples/normalization_doctor.py                       # MNIST, below a minute
python examples/normalization_doctor.py --quick               # the small data set that comes with the package
python examples/normalization_doctor.py --html report.html    # the first report as a page, too
"""

import argparse
from pathlib import Path

import tinybn as tb
from tinybn import nn

parser = argparse.ArgumentParser(description="What is wrong with this net's normalization?")
parser.add_argument("--epochs", type=int, default=3, help="before the repairs, and again after them")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--html", type=Path, metavar="FILE", help="write the first report to this file")
parser.add_argument("--quick", action="store_true", help="the bundled digits in place of MNIST")
options = parser.parse_args()

tb.manual_seed(options.seed)
train, _ = tb.data.digits() if options.quick else tb.data.mnist()
height, width = train.image_shape

model = nn.Sequential(
    nn.Flatten(),
    nn.Linear(height * width, 128, bias=False),
    nn.BatchNorm1d(128),
    nn.ReLU(),
    nn.Dropout(0.5),  # 1. in front of a BatchNorm: evaluation, without it, does not meet the running statistics
    nn.Linear(128, 64),  # 2. with a bias that the BatchNorm behind it takes away again
    nn.BatchNorm1d(64),
    nn.ReLU(),
    nn.Linear(64, train.classes),
)
loader = tb.data.DataLoader(train, batch_size=64, shuffle=True, drop_last=True)
# 3. Decay of all parameters, those of the BatchNorms among them.
optimizer = tb.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)

for _ in range(options.epochs):
    tb.train.fit(model, loader, optimizer)
report = nn.diagnose(model, loader, optimizer)
print(report, end="\n\n")
if options.html is not None:
    options.html.write_text(report.to_html(), encoding="utf-8")

# A repair is a line of Python over these names. It may move parts that others name, so: one, then another look.
for _ in range(len(report.findings)):
    if not report.healthy:
        print("applied:", report.findings[0].repair)
        names = {"tb": tb, "model": model, "loader": loader, "optimizer": optimizer}
        exec(report.findings[0].repair, names)
        model, loader, optimizer = names["model"], names["loader"], names["optimizer"]
        report = nn.diagnose(model, loader, optimizer)

for _ in range(options.epochs):
    tb.train.fit(model, loader, optimizer)
print("\nrepaired, and trained again:", nn.diagnose(model, loader, optimizer), sep="\n")
