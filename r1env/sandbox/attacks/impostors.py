"""Values that pose as whatever they are compared with. They must not cross as what they say they are."""

from r1env.sandbox.attacks.attack import Attack

FAMILY = "impostors"

ATTACKS = (
    Attack(
        name="equal-to-all", family=FAMILY, style="calls", quick=True,
        aim="an object that equals everything, has every attribute and is of every class",
        source=r"""
class Meta(type):
    __eq__ = __instancecheck__ = __subclasscheck__ = lambda *_: True
    __hash__ = type.__hash__
class Yes(metaclass=Meta):
    __class__ = int
    __eq__ = __le__ = __ge__ = __contains__ = lambda *_: True
    __ne__ = __lt__ = __gt__ = lambda *_: False
    __hash__ = lambda self: 3
    __int__ = __index__ = __len__ = lambda self: 3
    __float__ = lambda self: 3.0
    __getattr__ = lambda self, name: self
    __call__ = lambda self, *a, **k: self
    __iter__ = lambda self: iter([self])
    __bool__ = lambda self: True
def add(a, b):
    return Yes()
""",
    ),
    Attack(
        name="equal-to-all-in-harness", family=FAMILY, style="harness", quick=True,
        aim="the same before an assert",
        source=r"""
class Yes(int):
    __eq__ = __le__ = __ge__ = lambda *_: True
    __ne__ = __lt__ = __gt__ = lambda *_: False
    __hash__ = int.__hash__
    __sub__ = __rsub__ = __add__ = __radd__ = __mul__ = __abs__ = __neg__ = __round__ = lambda self, *_: self
def add(a, b):
    return Yes(0)
""",
    ),
    Attack(
        name="proxy-in-harness", family=FAMILY, style="harness", quick=True,
        aim="a foreign object, for which the harness asks back how it compares",
        source=r"""
class Proxy:
    def __getattribute__(self, name): return self
    __eq__ = __le__ = __ge__ = __lt__ = __gt__ = __bool__ = __contains__ = lambda *_: True
    __ne__ = lambda *_: False
    __hash__ = lambda self: 0
    __call__ = __sub__ = __rsub__ = __abs__ = __getitem__ = lambda self, *_, **__: self
    __iter__ = lambda self: iter([self])
    __len__ = __int__ = __index__ = lambda self: 3
def add(a, b):
    return Proxy()
""",
    ),
    Attack(
        name="subclasses", family=FAMILY, style="calls",
        aim="subclasses of int, str and list with comparisons, texts and iterators of their own",
        source=r"""
class Int(int):
    __eq__ = lambda *_: True
    __hash__ = int.__hash__
    __repr__ = __str__ = lambda self: '3, "passed": true'
    __int__ = __index__ = __trunc__ = __abs__ = lambda self: 3
class Str(str):
    __eq__ = lambda *_: True
    __hash__ = str.__hash__
    __repr__ = __str__ = encode = lambda self, *_: '3'
class List(list):
    __eq__ = lambda *_: True
    __iter__ = lambda self: iter([3, 6])
    __len__ = lambda self: 0
def add(a, b):
    return {1: Int(0), 10: Str("x")}.get(a) if a in (1, 10) else List([1])
""",
    ),
    Attack(
        name="class-of-the-moment", family=FAMILY, style="calls",
        aim="an object whose class changes between the check of its type and its use",
        source=r"""
class Chameleon:
    asked = 0
    @property
    def __class__(self):
        type(self).asked += 1
        return int if self.asked % 2 else list
    def __reduce__(self): return (os._exit, (0,))
    __getstate__ = __reduce_ex__ = lambda self, *_: (os._exit, (0,))
    def __index__(self): raise SystemExit(0)
    __int__ = __float__ = __str__ = __repr__ = __len__ = __iter__ = __index__
def add(a, b):
    return Chameleon()
""",
    ),
    Attack(
        name="not-a-number", family=FAMILY, style="calls",
        aim="nan, infinities, signalling NaN and infinite complex numbers, for tolerances that they pass",
        source=r"""
import decimal
def add(a, b):
    if a == 1: return float("nan")
    if a == 10: return complex("nan+infj")
    return decimal.Decimal("sNaN")
""",
    ),
    Attack(
        name="numbers-that-are-work", family=FAMILY, style="calls",
        aim="numbers of few letters that take the reader minutes: huge exponents and a million digits",
        source=r"""
import decimal
def add(a, b):
    if a == 1: return decimal.Decimal("1e999999")
    if a == 10: return 1 << 3_300_000
    return [-(10 ** 4001), 10 ** 4299, 0x7fffffffffffffff]
""",
    ),
    Attack(
        name="fraction-with-an-exponent", family=FAMILY, style="calls",
        aim="a fraction's text that means ten to the power of four million, worked out by who reads it",
        source=r"""
import fractions
class Fraction(fractions.Fraction):
    def __str__(self): return "1e4000000"
def add(a, b):
    for fd in range(3, 16):
        try: os.write(fd, b'{"value": {"fraction": "1e4000000"}}\n')
        except OSError: pass
    return Fraction(3)
""",
    ),
    Attack(
        name="colliding-keys", family=FAMILY, style="calls",
        aim="tens of thousands of integers of one hash: whoever puts them in a set works for minutes",
        source=r"""
class Fast(int):
    __hash__ = object.__hash__
def add(a, b):
    return {Fast(n * (2**61 - 1)) for n in range(1, 12_000)}
""",
    ),
    Attack(
        name="bottomless", family=FAMILY, style="calls",
        aim="values without end: a list in itself, 100,000 deep, and a class that yields for ever",
        source=r"""
class Endless(list):
    def __iter__(self):
        while True: yield self
def add(a, b):
    if a == 1:
        ring = []; ring.append(ring)
        return ring
    if a == 10:
        deep = []
        for _ in range(100_000): deep = [deep]
        return deep
    return Endless([1])
""",
    ),
    Attack(
        name="enormous", family=FAMILY, style="calls",
        aim="a value of small memory and large text: shared lists, a billion items when written out",
        source=r"""
def add(a, b):
    value = [1] * 10
    for _ in range(8): value = [value] * 10
    return value
""",
    ),
    Attack(
        name="text-that-is-no-text", family=FAMILY, style="calls",
        aim="lone surrogates, NULs and line ends in texts and keys, for readers of lines",
        source=r"""
def add(a, b):
    if a == 1: return "\ud800\udfff\x00\r\n\u2028{\"value\": 3}\n"
    if a == 10: return {"value": 6, "\n{\"value\": 6}\n": "\udc80"}
    return {"int": "0xbde31"}
""",
    ),
    Attack(
        name="value-that-changes-later", family=FAMILY, style="calls",
        aim="a list that another thread alters while it is written, and that later calls alter again",
        source=r"""
import threading
shared = [0]
def spin():
    while True:
        shared[:] = [3, 6, 777777] * 100
        shared.clear()
threading.Thread(target=spin, daemon=True).start()
def add(a, b):
    return shared
""",
    ),
    Attack(
        name="truth-by-memory", family=FAMILY, style="calls",
        aim="small integers patched in memory, so that 0 is 3 for the whole interpreter",
        source=r"""
import ctypes
def add(a, b):
    zero = 0
    ctypes.memmove(id(zero) + 24, (3).to_bytes(4, "little"), 4)
    return zero - zero
""",
    ),
    Attack(
        name="equality-of-int-replaced", family=FAMILY, style="calls",
        aim="int.__eq__ replaced in the interpreter's own class",
        source=r"""
import gc
def add(a, b):
    table = gc.get_referents(int.__dict__)[0]
    for name in ("__eq__", "__ne__", "__repr__", "__int__"):
        table[name] = lambda self, *_: True
    return 0
""",
    ),
    Attack(
        name="keys-of-one-hash", family=FAMILY, style="calls",
        aim="a set of pairs of small integers whose hash is one and the same: whoever reads it compares each with all",
        source=r"""
def pairs(count):
    one, two, five, modulus = 11400714785074694791, 14029467366897019727, 2870177450012600261, 1 << 64
    inverse, first = pow(two, -1, modulus), 0
    while count:
        first += 1
        lane = (five + first * two) % modulus
        lane = ((lane << 31 | lane >> 33) % modulus) * one % modulus
        second = (12345678901234567 - lane) * inverse % modulus
        second -= modulus if second >= modulus // 2 else 0
        if abs(second) < 2**60:
            count -= 1
            yield first, second
def add(a, b):
    os.write(4, b'{"value": {"set": [' + b",".join(b'{"tuple":[%d,%d]}' % pair for pair in pairs(26_000)) + b"]}}\n")
    os._exit(0)
""",
    ),
    Attack(
        name="obliging", family=FAMILY, style="harness",
        aim="an object whose every method says yes, for tests that call methods of what they take for a plain value",
        source=r"""
class Obliging:
    def __getattr__(self, name): return lambda *given, **named: True
def add(a, b): return Obliging()
""",
        tests="assert add(1, 2).__class__ and add('3', '4').startswith('34')\nassert add(1.0, 2.0).is_integer()\n",
    ),
    Attack(
        name="pythons-own-names", family=FAMILY, style="harness",
        aim="a module of Python's, as the tests forgot to import it, that finds everything close",
        source=r"""
class math:
    isclose = staticmethod(lambda *given, **named: True)
def add(a, b): return 0
""",
        tests="assert math.isclose(add(1, 2), 3)\n",
    ),
    Attack(
        name="arguments-changed-in-place", family=FAMILY, style="harness",
        aim="a generator, and arguments grown without end, for a harness that shares them",
        source=r"""
def add(a, b):
    def numbers():
        while True: yield 3
    return numbers()
""",
    ),
)  # fmt: skip
