"""ModuleList, ModuleDict, ParameterList, ParameterDict, and Sequential as a list: each operation next to PyTorch's."""

import copy
import operator
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from oracle import load_torch

import tinybn as tb
from tinybn.errors import DTypeError


@pytest.fixture
def torch():
    return load_torch()


class Maker:
    """Parts of one of the two libraries, that can be told apart by their sizes."""

    def __init__(self, library):
        self.library, self.nn = library, library.nn

    def layer(self, size):
        return self.nn.Linear(size, 1)

    def layers(self, *sizes):
        return [self.layer(size) for size in sizes]

    def tensor(self, size):
        return self.library.zeros(size)

    def tensors(self, *sizes):
        return [self.tensor(size) for size in sizes]


def described(container):
    """Names and sizes of all state, and the children as text; PyTorch has them in a dict of their own."""
    state = [(name, tuple(value.shape)) for name, value in container.state_dict().items()]
    parts = vars(container).get("_modules", vars(container))
    return state, [(name, repr(part)) for name, part in parts.items() if hasattr(part, "named_children")]


def both_do(torch, build, operation):
    """Whether both give the same result and are the same afterwards, or both refuse."""
    outcomes = []
    for library in (torch, tb):
        make = Maker(library)
        container = build(make)
        try:
            result = operation(container, make)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError):
            assert described(container) == described(build(make)) or library is torch, "refused, but changed"
            outcomes.append("refused")
            continue
        result = container if result is None else result
        text = described(result) if hasattr(result, "named_children") else _plain(result)
        outcomes.append((described(container), text, result is container))
    assert outcomes[1] == outcomes[0]


def _plain(result):
    """Parts by their text, tensors by their shapes, within tuples and lists too."""
    if isinstance(result, tuple | list):
        return [_plain(part) for part in result]
    if hasattr(result, "shape"):
        return type(result).__name__, tuple(result.shape)
    return repr(result)


# --- modules in an order ----------------------------------------------------------------------------------------------

ROW_OPERATIONS = {
    "length": lambda c, m: len(c),
    "iteration": lambda c, m: list(c),
    "index": lambda c, m: [c[0], c[2], c[-1], c[np.int64(1)]],
    "index out of range": lambda c, m: c[3],
    "negative index out of range": lambda c, m: c[-4],
    "index of another type": lambda c, m: c["0"],
    "slice": lambda c, m: [list(c[1:]), list(c[::-1]), list(c[5:])],
    "names of a slice": lambda c, m: c[1:],
    "contains": lambda c, m: [c[1] in c, m.layer(2) in c],
    "assignment": lambda c, m: c.__setitem__(-2, m.layer(9)),
    "assignment out of range": lambda c, m: c.__setitem__(3, m.layer(9)),
    "assignment of a number": lambda c, m: c.__setitem__(0, 3),
    "deletion": lambda c, m: c.__delitem__(0),
    "deletion from the end": lambda c, m: c.__delitem__(-2),
    "deletion of a slice": lambda c, m: c.__delitem__(slice(0, 2)),
    "deletion out of range": lambda c, m: c.__delitem__(3),
    "append": lambda c, m: c.append(m.layer(9)),
    "append of a number": lambda c, m: c.append(3),
    "extend": lambda c, m: c.extend(m.layers(8, 9)),
    "extend by a generator": lambda c, m: c.extend(layer for layer in m.layers(8, 9)),
    "extend by a number": lambda c, m: c.extend(3),
    "extend by numbers": lambda c, m: c.extend([m.layer(9), 3]),
    "insert": lambda c, m: c.insert(1, m.layer(9)) and None,
    "insert in front": lambda c, m: c.insert(0, m.layer(9)) and None,
    "insert at the end": lambda c, m: c.insert(3, m.layer(9)) and None,
    "pop": lambda c, m: c.pop(1),
    "pop from the end": lambda c, m: c.pop(-1),
    "pop a slice": lambda c, m: list(c.pop(slice(1, 3))),
    "pop out of range": lambda c, m: c.pop(3),
    "sum with a number": lambda c, m: c + 3,
    "sum in place with a number": lambda c, m: operator.iadd(c, 3),
}


@pytest.mark.parametrize("operation", ROW_OPERATIONS)
@pytest.mark.parametrize("kind", ["ModuleList", "Sequential"])
def test_modules_in_an_order(torch, kind, operation):
    def build(make):
        layers = make.layers(1, 2, 3)
        return make.nn.ModuleList(layers) if kind == "ModuleList" else make.nn.Sequential(*layers)

    both_do(torch, build, ROW_OPERATIONS[operation])


@pytest.mark.parametrize(
    "operation",
    [
        lambda c, m: c + m.layers(8, 9),
        lambda c, m: c + m.nn.ModuleList(m.layers(9)),
        lambda c, m: c.__iadd__(m.layers(8, 9)),
        lambda c, m: c[0:0].append(m.layer(9)),
        lambda c, m: m.nn.ModuleList(),
        lambda c, m: m.nn.ModuleList(3),
        lambda c, m: m.nn.ModuleList({"a": m.layer(1)}),
        lambda c, m: c(1),
    ],
)
def test_module_lists(torch, operation):
    both_do(torch, lambda make: make.nn.ModuleList(make.layers(1, 2, 3)), operation)


@pytest.mark.parametrize(
    "operation",
    [
        lambda c, m: c + m.nn.Sequential(*m.layers(8, 9)),
        lambda c, m: c.__iadd__(m.nn.Sequential(*m.layers(8, 9))),
        lambda c, m: c.insert(-1, m.layer(9)),
        lambda c, m: c.insert(4, m.layer(9)),
        lambda c, m: c.insert(-4, m.layer(9)),
        lambda c, m: c.insert(0, 3),
        lambda c, m: c * 2,
        lambda c, m: 3 * c,
        lambda c, m: c.__imul__(2),
        lambda c, m: c.__imul__(1),
        lambda c, m: c * 0,
        lambda c, m: c.__imul__(-1),
        lambda c, m: c * 1.5,
        lambda c, m: c.__imul__(1.5),
        lambda c, m: c + m.layers(8, 9),
    ],
)
def test_sequentials(torch, operation):
    both_do(torch, lambda make: make.nn.Sequential(*make.layers(1, 2, 3)), operation)


def test_deleting_from_a_sequential_with_names_gives_numbers(torch):
    def build(make):
        return make.nn.Sequential(OrderedDict(a=make.layer(1), b=make.layer(2), c=make.layer(3)))

    both_do(torch, build, lambda c, m: c.__setitem__(1, m.layer(9)))
    both_do(torch, build, lambda c, m: c.__delitem__(1))


@pytest.mark.parametrize("index", [-1, -3])
def test_module_lists_insert_before_a_negative_index_as_lists_do(index):  # PyTorch's raise
    layers = tb.nn.ModuleList(Maker(tb).layers(1, 2, 3))
    expected, new = list(layers), tb.nn.ReLU()
    layers.insert(index, new)
    expected.insert(index, new)
    assert list(layers) == expected
    assert [name for name, _ in layers.named_children()] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("index", [4, -4])
def test_module_lists_have_no_gaps(index):  # PyTorch's would
    with pytest.raises(IndexError, match=rf"^ModuleList: index {index} is out of range for 3 modules"):
        tb.nn.ModuleList(Maker(tb).layers(1, 2, 3)).insert(index, tb.nn.ReLU())


@pytest.mark.parametrize("sizes", [(), (1,), (1, 1), (1, 2, 2, 3), (1, 1, 2, 1, 1, 1)])
def test_text_of_a_module_list(torch, sizes):
    def text(library):
        make = Maker(library)
        inner = make.nn.Sequential(make.layer(5), make.nn.ReLU())
        return repr(make.nn.Sequential(make.nn.ModuleList(make.layers(*sizes)), make.nn.ModuleList([inner, inner])))

    assert text(tb) == text(torch)


def test_a_list_can_be_extended_by_itself():
    layers = tb.nn.ModuleList(Maker(tb).layers(1, 2))
    layers.extend(layers)
    assert list(layers) == [layers[0], layers[1]] * 2


# --- modules under keys -----------------------------------------------------------------------------------------------


def module_dict(make):
    return make.nn.ModuleDict({"b": make.layer(1), "a": make.layer(2), "0": make.layer(3)})


MODULE_DICT_OPERATIONS = {
    "keys": lambda c, m: [list(c), list(c.keys()), len(c)],
    "values": lambda c, m: list(c.values()),
    "items": lambda c, m: list(c.items()),
    "index": lambda c, m: [c["b"], c["0"]],
    "missing key": lambda c, m: c["c"],
    "key of an attribute": lambda c, m: c["training"],
    "contains": lambda c, m: ["a" in c, "c" in c, "training" in c, 3 in c],
    "assignment": lambda c, m: c.__setitem__("c", m.layer(9)),
    "assignment to a key that is there": lambda c, m: c.__setitem__("a", m.layer(9)),
    "assignment of a number": lambda c, m: c.__setitem__("c", 3),
    "assignment to a key with a dot": lambda c, m: c.__setitem__("c.d", m.layer(9)),
    "assignment to an empty key": lambda c, m: c.__setitem__("", m.layer(9)),
    "assignment to a number": lambda c, m: c.__setitem__(1, m.layer(9)),
    "assignment to a method": lambda c, m: c.__setitem__("keys", m.layer(9)),
    "deletion": lambda c, m: c.__delitem__("b"),
    "deletion of a missing key": lambda c, m: c.__delitem__("c"),
    "pop": lambda c, m: c.pop("a"),
    "pop a missing key": lambda c, m: c.pop("c"),
    "clear": lambda c, m: c.clear(),
    "update": lambda c, m: c.update({"z": m.layer(8), "b": m.layer(9)}),
    "update by pairs": lambda c, m: c.update([("z", m.layer(8)), ["b", m.layer(9)]]),
    "update by another": lambda c, m: c.update(m.nn.ModuleDict({"z": m.layer(8)})),
    "update by a number": lambda c, m: c.update(3),
    "update by triples": lambda c, m: c.update([("a", "b", m.layer(1))]),
    "update by numbers": lambda c, m: c.update({"z": m.layer(8), "y": 3}),
    "call": lambda c, m: c(1),
    "empty": lambda c, m: m.nn.ModuleDict(),
    "equal": lambda c, m: [c == c, c == m.nn.ModuleDict(c), hash(c) == hash(c)],
    "an empty module goes": lambda c, m: [c.update({"e": m.nn.Sequential()}), c.__delitem__("e")],
}


@pytest.mark.parametrize("operation", MODULE_DICT_OPERATIONS)
def test_module_dicts(torch, operation):
    both_do(torch, module_dict, MODULE_DICT_OPERATIONS[operation])


def test_text_of_a_module_dict(torch):
    assert repr(module_dict(Maker(tb))) == repr(module_dict(Maker(torch)))
    assert repr(tb.nn.ModuleDict()) == repr(torch.nn.ModuleDict())


# --- parameters -------------------------------------------------------------------------------------------------------


def parameter_list(make):
    return make.nn.ParameterList([*make.tensors(1, 2), "text", make.nn.Parameter(make.tensor(3))])


PARAMETER_LIST_OPERATIONS = {
    "length": lambda c, m: [len(c), len(list(c.parameters())), list(c.state_dict())],
    "iteration": lambda c, m: list(c),
    "index": lambda c, m: [c[0], c[-1], c[2], c[np.int64(1)]],
    "index out of range": lambda c, m: c[4],
    "slice": lambda c, m: list(c[1:]),
    "names of a slice": lambda c, m: c[::2],
    "assignment": lambda c, m: c.__setitem__(-1, m.tensor(9)),
    "assignment of text": lambda c, m: [c.__setitem__(2, "other"), c[2]],
    "assignment out of range": lambda c, m: c.__setitem__(4, m.tensor(9)),
    "append": lambda c, m: c.append(m.tensor(9)),
    "extend": lambda c, m: c.extend(m.tensors(8, 9)),
    "extend in place": lambda c, m: c.__iadd__(m.tensors(8, 9)),
    "extend by a tensor": lambda c, m: c.extend(m.tensor(9)),
    "extend by a number": lambda c, m: c.extend(3),
    "call": lambda c, m: c(1),
    "empty": lambda c, m: m.nn.ParameterList(),
}


@pytest.mark.parametrize("operation", PARAMETER_LIST_OPERATIONS)
def test_parameter_lists(torch, operation):
    both_do(torch, parameter_list, PARAMETER_LIST_OPERATIONS[operation])


def parameter_dict(make):
    return make.nn.ParameterDict({"b": make.tensor(1), "a": make.nn.Parameter(make.tensor(2)), "text": "abc"})


PARAMETER_DICT_OPERATIONS = {
    "keys": lambda c, m: [list(c), list(c.keys()), list(reversed(c)), len(c)],
    "values": lambda c, m: list(c.values()),
    "items": lambda c, m: list(c.items()),
    "parameters": lambda c, m: [list(c.state_dict()), list(c.parameters())],
    "index": lambda c, m: [c["a"], c["text"]],
    "missing key": lambda c, m: c["c"],
    "contains": lambda c, m: ["a" in c, "c" in c, "training" in c],
    "get": lambda c, m: [c.get("a"), c.get("c"), c.get("c", 3)],
    "assignment": lambda c, m: c.__setitem__("c", m.tensor(9)),
    "assignment to a key that is there": lambda c, m: c.__setitem__("b", m.tensor(9)),
    "assignment to a key with a dot": lambda c, m: c.__setitem__("c.d", m.tensor(9)),
    "assignment to a method": lambda c, m: c.__setitem__("keys", m.tensor(9)),
    "assignment to a number": lambda c, m: c.__setitem__(1, m.tensor(9)),
    "deletion": lambda c, m: c.__delitem__("b"),
    "deletion of a missing key": lambda c, m: c.__delitem__("c"),
    "setdefault": lambda c, m: [c.setdefault("a", 3), c.setdefault("c", m.tensor(9)), c.setdefault("d")],
    "pop": lambda c, m: c.pop("a"),
    "pop a missing key": lambda c, m: c.pop("c"),
    "popitem": lambda c, m: [c.popitem(), c.popitem()],
    "popitem of an empty one": lambda c, m: m.nn.ParameterDict().popitem(),
    "clear": lambda c, m: c.clear(),
    "copy": lambda c, m: c.copy(),
    "copy shares": lambda c, m: [c.copy()["a"] is c["a"]],
    "fromkeys": lambda c, m: c.fromkeys(["z", "y"], m.tensor(9)),
    "update by a plain dict, in the order of its keys": lambda c, m: c.update({"z": m.tensor(8), "y": m.tensor(9)}),
    "update by an ordered dict": lambda c, m: c.update(OrderedDict(z=m.tensor(8), y=m.tensor(9))),
    "update by pairs": lambda c, m: c.update([("z", m.tensor(8)), ["b", m.tensor(9)]]),
    "update by another": lambda c, m: c.update(m.nn.ParameterDict([("z", m.tensor(8)), ("y", m.tensor(9))])),
    "update by a number": lambda c, m: c.update(3),
    "or": lambda c, m: c | m.nn.ParameterDict({"z": m.tensor(8)}),
    "or from the right": lambda c, m: list(({"z": m.tensor(8)} | c).items()),
    "or in place": lambda c, m: c.__ior__(m.nn.ParameterDict({"z": m.tensor(8)})),
    "call": lambda c, m: c(1),
    "empty": lambda c, m: m.nn.ParameterDict(),
}


@pytest.mark.parametrize("operation", PARAMETER_DICT_OPERATIONS)
def test_parameter_dicts(torch, operation):
    both_do(torch, parameter_dict, PARAMETER_DICT_OPERATIONS[operation])


def test_tensors_become_parameters_that_share_their_memory():
    given = tb.zeros(3)
    for container, key in ((tb.nn.ParameterList([given]), 0), (tb.nn.ParameterDict({"a": given}), "a")):
        assert isinstance(container[key], tb.nn.Parameter)
        assert np.shares_memory(container[key].data, given.data)
        own = tb.nn.Parameter(given)
        container[key] = own
        assert container[key] is own


def test_integers_are_refused_and_change_nothing():
    parameters = tb.nn.ParameterList(tb.zeros(2) for _ in range(2))
    with pytest.raises(DTypeError, match="only floating tensors"):
        parameters.extend([tb.zeros(3), tb.tensor([1])])
    named = tb.nn.ParameterDict()
    with pytest.raises(DTypeError, match="only floating tensors"):
        named.update({"a": tb.zeros(3), "b": tb.tensor([1])})
    assert len(parameters) == 2 and len(named) == 0


def test_text_of_parameters():
    parts = tb.nn.ParameterDict([("list", tb.nn.ParameterList([tb.zeros(2, 3), 5])), ("scalar", tb.zeros(()))])
    assert repr(parts["list"]) == (
        "ParameterList(\n  (0): Parameter containing: [float32 of size 2x3]\n  (1): Object of type: int\n)"
    )
    assert repr(tb.nn.Sequential(tb.nn.ParameterList([tb.zeros(2)]))) == (
        "Sequential(\n  (0): ParameterList(\n    (0): Parameter containing: [float32 of size 2]\n  )\n)"
    )
    assert repr(tb.nn.ParameterList()) == "ParameterList()"


# --- in a model -------------------------------------------------------------------------------------------------------


def model(library):
    class Model(library.nn.Module):
        def __init__(self):
            super().__init__()
            self.scales = library.nn.ParameterList([library.ones(3), library.ones(1)])
            self.layers = library.nn.ModuleList(library.nn.Linear(3, 3) for _ in range(2))
            self.acts = library.nn.ModuleDict({"tanh": library.nn.Tanh(), "prelu": library.nn.PReLU()})
            self.shifts = library.nn.ParameterDict({"z": library.zeros(3), "a": library.zeros(3)})

        def forward(self, x):
            for layer, scale, name in zip(self.layers, self.scales, self.acts, strict=True):
                x = self.acts[name](layer(x)) * scale
            return x + self.shifts["z"] * self.shifts["a"]

    return Model()


def test_a_model_of_containers_is_that_of_torch(torch):
    ours, theirs = model(tb).double(), model(torch).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for method in ("named_parameters", "named_modules", "named_children"):
        assert [n for n, _ in getattr(ours, method)()] == [n for n, _ in getattr(theirs, method)()], method
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((4, 3))
    y, expected = ours(x), theirs(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach().data, expected.detach().numpy(), rtol=1e-12)
    y.sum().backward()
    expected.sum().backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-10, atol=1e-14, err_msg=name)
    ours.eval()
    assert not ours.layers.training and not ours.acts["tanh"].training


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
@pytest.mark.parametrize("build", [module_dict, parameter_list, parameter_dict])
def test_containers_are_copied(build, duplicate):
    container = build(Maker(tb))
    other = duplicate(container)
    assert repr(other) == repr(container)
    assert described(other) == described(container)
    assert all(a is not b for a, b in zip(other.parameters(), container.parameters(), strict=True))


@pytest.mark.parametrize(
    ("do", "error", "message"),
    [
        (lambda: tb.nn.ModuleList([tb.nn.ReLU()])[1], IndexError, r"^ModuleList: index 1 is out of range for 1 parts"),
        (lambda: tb.nn.ModuleList([3]), TypeError, r"^ModuleList: '0' is 3; expected a Module"),
        (lambda: tb.nn.ModuleList(3), TypeError, r"^ModuleList: expected an iterable to extend with, got int"),
        (lambda: tb.nn.ModuleDict({"a.b": tb.nn.ReLU()}), ValueError, r"^ModuleDict: 'a.b' cannot name a module"),
        (lambda: tb.nn.ModuleDict({"keys": tb.nn.ReLU()}), ValueError, r"^ModuleDict: 'keys' cannot name a module"),
        (lambda: tb.nn.ModuleDict({1: tb.nn.ReLU()}), TypeError, r"^ModuleDict: the key is 1; expected a string"),
        (lambda: tb.nn.ModuleDict()["a"], KeyError, r"a"),
        (lambda: tb.nn.ParameterList(tb.zeros(2)), TypeError, r"^ParameterList: expected an iterable .* got Tensor"),
        (lambda: tb.nn.ParameterDict({"_keys": 1}), ValueError, r"^ParameterDict: '_keys' cannot name"),
        (lambda: tb.nn.ParameterDict().popitem(), KeyError, r"popitem"),
        (lambda: tb.nn.Sequential(tb.nn.ReLU()) * 0, ValueError, r"^Sequential: expected to be repeated once or more"),
    ],
)
def test_errors_name_the_container(do, error, message):
    with pytest.raises(error, match=message):
        do()
