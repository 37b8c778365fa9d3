"""The study as a command: options, progress, the folder of results."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tinybn import data
from tinybn.errors import DataError
from tinybn.study.arms import ACTIVATIONS, NETS, PLACEMENTS
from tinybn.study.protocol import OPTIMIZERS, Run, Settings, run_arm, save_run, steps_per_run
from tinybn.study.report import plot, table

DEFAULTS = {"mnist": {"epochs": 3, "batch_size": 128}, "digits": {"epochs": 40, "batch_size": 32}}
LEARNING_RATES = {"sgd": 0.05, "adam": 1e-3}
QUICK = {"seeds": 2, "epochs": 1, "max_train": 2_000}  # a check that everything works; says nothing about placements


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; returns the exit status: 0, 2 for an error in options or data, 130 after Ctrl-C."""
    options = parse(arguments)
    try:
        images, name = load_data(options.data)
        settings = make_settings(options, name)
        steps_per_run(images, settings)  # refuses a batch that is larger than the training images
        folder = make_folder(options.out, settings)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    (folder / "settings.json").write_text(json.dumps(asdict(settings), indent=2) + "\n", encoding="utf-8")
    runs: list[Run] = []
    try:
        run_all(images, settings, folder, runs)
    except KeyboardInterrupt:
        where = f", in {folder / 'results.jsonl'}" if runs else ""
        print(f"\ninterrupted: {len(runs)} finished runs{where}", file=sys.stderr)
        return 130
    summary = table(runs)
    (folder / "table.md").write_text(summary + "\n", encoding="utf-8")
    print(f"\n{summary}\n")
    try:
        plot(runs, settings, folder / "curves.png")
    except ImportError:
        print("no picture: matplotlib is not installed (pip install 'tinybn[plots]')")
    print(f"results, settings, table and picture are in {folder}")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    defaults = Settings()
    parser = argparse.ArgumentParser(
        description="Train one network with BatchNorm in each place that people put it, over several seeds.",
    )
    add = parser.add_argument
    add("--data", choices=("auto", "mnist", "digits"), default="auto", help="default: auto, MNIST if it can be had")
    add("--net", choices=NETS, default=defaults.net, help="default: %(default)s")
    add("--activation", choices=tuple(ACTIVATIONS), default=defaults.activation, help="default: %(default)s")
    add("--placements", nargs="+", metavar="PLACEMENT", default=PLACEMENTS, help=f"default: {' '.join(PLACEMENTS)}")
    add("--seeds", type=int, help=f"runs per placement; default: {defaults.seeds}")
    add("--epochs", type=int, help="default: 3, with digits 40")
    add("--batch-size", type=int, help="default: 128, with digits 32")
    add("--optimizer", choices=tuple(OPTIMIZERS), default=defaults.optimizer, help="default: sgd, with momentum 0.9")
    add("--lr", type=float, help="default: 0.05 for sgd, 0.001 for adam")
    add("--out", type=Path, help="a new folder for the results; default: one below runs/")
    add("--quick", action="store_true", help="a short check that everything works")
    return parser.parse_args(arguments)


def load_data(wanted: str) -> tuple[data.TrainTest, str]:
    """MNIST or the bundled digits; "auto" takes MNIST where it can be had and says so where it cannot."""
    if wanted == "digits":
        return data.digits(), "digits"
    try:
        return data.mnist(), "mnist"
    except data.DataUnavailableError as error:
        if wanted == "mnist":
            raise DataError(str(error)) from None
        print("MNIST is not here and cannot be downloaded: using the bundled 8×8 digits", file=sys.stderr)
        return data.digits(), "digits"


def make_settings(options: argparse.Namespace, name: str) -> Settings:
    """Options over the quick ones over those that suit the data."""
    chosen: dict[str, Any] = {**DEFAULTS[name], "lr": LEARNING_RATES[options.optimizer]}
    if options.quick:
        chosen.update(QUICK)
    given = {key: getattr(options, key) for key in ("seeds", "epochs", "batch_size", "lr")}
    chosen.update({key: value for key, value in given.items() if value is not None})
    return Settings(
        data=name,
        net=options.net,
        activation=options.activation,
        placements=tuple(options.placements),
        optimizer=options.optimizer,
        **chosen,
    )


def make_folder(out: Path | None, settings: Settings) -> Path:
    """A new folder; one that has something in it is left alone."""
    if out is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        out = Path("runs") / f"placement-{settings.data}-{settings.net}-{settings.activation}-{stamp}"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: exists already and is not an empty folder; name a new one")
    out.mkdir(parents=True, exist_ok=True)
    return out


def run_all(images: data.TrainTest, settings: Settings, folder: Path, runs: list[Run]) -> None:
    """Every placement with every seed, seed by seed, so that an interrupted study has whole comparisons."""
    arms = [(seed, placement) for seed in range(settings.seeds) for placement in settings.placements]
    with tqdm(total=len(arms) * steps_per_run(images, settings), unit="step", file=sys.stderr) as bar:
        for seed, placement in arms:
            bar.set_description(f"{placement}, seed {seed}")
            run = run_arm(images, settings, placement, seed, bar.update)
            save_run(run, folder)
            runs.append(run)
