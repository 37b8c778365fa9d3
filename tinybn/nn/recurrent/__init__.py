"""Recurrent nets, with batch or layer normalization of their gates."""

from tinybn.nn.recurrent.cells import GRUCell, LSTMCell, RNNCell
from tinybn.nn.recurrent.layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]
