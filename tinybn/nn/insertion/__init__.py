"""Normalization inserted at named places of a model that is there already."""

from tinybn.nn.insertion.insert import insert_normalization

__all__ = ["insert_normalization"]
