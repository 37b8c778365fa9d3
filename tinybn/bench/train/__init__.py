"""Training steps of small models, raced against PyTorch and JAX: ``python -m tinybn bench train``.

    models       what is trained: four models as lists of layers, their initial weights
    with_*       one file for each framework: a `Trainer` that makes the model of the list and takes steps
    worker       the process in which a trainer runs, pinned to its cores; does what it reads from its standard input
    race         starts the workers, lets them take turns, and collects what they report
    report       the result: rows, ratios, JSON, text
    command      the options

A worker is run as a script, and of this package it imports its trainer alone: the memory of a peer's process is its
own.
"""
