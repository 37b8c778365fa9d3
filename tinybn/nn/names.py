"""What a module is called in the model that it is part of."""

import gc

from tinybn.nn.module import Module


def name_of(module: Module) -> str:
    """The longest name that a living model has for a module, such as "blocks.2.norm"; "" if it stands alone.

    A module does not know where it stands. Messages about it should say so all the same, and they are rare enough to
    look through everything that is alive.
    """
    # By type(value), as isinstance would ask a weak proxy for its __class__, and one whose referent is gone raises.
    alive = (value for value in gc.get_objects() if issubclass(type(value), Module))
    roots = [value for value in alive if value is not module]
    names = (name for root in roots for name, part in root.named_modules() if part is module)
    return max(names, key=len, default="")
