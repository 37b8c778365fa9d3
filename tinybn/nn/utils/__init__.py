"""What can be done with parameters and their gradients, under the names of ``torch.nn.utils``."""

from tinybn.nn.utils import parametrizations, parametrize
from tinybn.nn.utils.clip import clip_grad_norm_, clip_grad_value_
from tinybn.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "vector_to_parameters",
]
