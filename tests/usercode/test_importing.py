"""The import of a snapshot: a loss gives what it gives in the program that defines it."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from tests.usercode.programs import DECORATED, LOSS, ProgramError, losing, write

ELSEWHERE = Path("/")
COMPILED = Path(sysconfig.get_config_var("DESTSHARED"))
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")

MODES = """
    import enum, dataclasses
    class Mode(enum.Enum):
        EXACT = 1
    @dataclasses.dataclass
    class Config:
        n: int
    class Diverged(Exception): pass
    NOTHING = object()
"""

CACHES = """
    import contextvars, functools, threading
    var, local = contextvars.ContextVar("var"), threading.local()
    @functools.cache
    def cached(x): return x
    class Model:
        @functools.lru_cache
        def of(self, x): return x + self.own
        @functools.cached_property
        def own(self): return 1.0
    @functools.singledispatch
    def single(x): raise TypeError
    single.register(float, lambda x: x)
"""
USE_CACHES = "var.set(2.0)\nreturn cached(1.0) + Model().of(3.0) + single(2.0) + var.get()"

#: Files, how they are started if not by ``python main.py``, and the value of the loss.
PROGRAMS = {
    "classes that are imported in a function": (
        {
            "modes.py": MODES,
            "engine.py": """
                def simulate(mode, config):
                    from modes import Mode, Config
                    return 10.0 * (mode is Mode.EXACT) + isinstance(config, Config)
            """,
            "main.py": losing(
                "return simulate(Mode.EXACT, Config(5))",
                "from modes import Mode, Config\nfrom engine import simulate",
            ),
        },
        11.0,
    ),
    "a sentinel and an exception": (
        {
            "modes.py": MODES,
            "engine.py": """
                import modes
                def simulate(x=modes.NOTHING):
                    if x is modes.NOTHING:
                        raise modes.Diverged
                    return 1.0
            """,
            "main.py": losing(
                """
                try:
                    return engine.simulate(NOTHING)
                except Diverged:
                    return 2.0
                """,
                "import engine\nfrom modes import NOTHING, Diverged",
            ),
        },
        2.0,
    ),
    "a registry that an import fills": (
        {
            "registry.py": "known = {}",
            "plugins/__init__.py": "",
            "plugins/seven.py": "import registry\nregistry.known['seven'] = 7.0",
            "main.py": losing(
                "return registry.known['seven']",
                "import importlib, registry\nimportlib.import_module('plugins.' + 'seven')",
            ),
        },
        7.0,
    ),
    "settings of the script": (
        {
            "main.py": losing(
                "return float(decimal.Decimal(1) / 3) + (np.geterr()['over'] == 'raise')",
                "import decimal, numpy as np\nnp.seterr(all='raise')\n"
                "decimal.setcontext(decimal.Context(prec=6))",
            )
        },
        1.333333,
    ),
    "a package whose modules import one another": (
        {
            "mysim/__init__.py": "from mysim.core import simulate",
            "mysim/core.py": "import mysim.constants\n"
            "def simulate(): return mysim.constants.K + len(mysim.constants.core.__name__)",
            "mysim/constants.py": "from mysim import core\nK = 1.0",
            "main.py": losing("return mysim.simulate()", "import mysim"),
        },
        11.0,
    ),
    "a module that holds itself and what can't be pickled": (
        {
            "held.py": "import sys, threading, ctypes\nme = sys.modules[__name__]\n"
            "lock = threading.Lock()\nlibrary = ctypes.CDLL(None)\nfile = open('/dev/null')",
            "main.py": losing("return float(held.me is held)", "import held"),
        },
        1.0,
    ),
    "caches of the script": (
        {
            "main.py": losing(
                USE_CACHES,
                CACHES,
            )
        },
        9.0,
    ),
    "caches of a text": ({"start": f"text({losing(USE_CACHES, CACHES)!r})"}, 9.0),
    "a namespace package": (
        {
            "space/inner/deep.py": "from . import other\nK = other.K",
            "space/inner/other.py": "K = 4.0",
            "main.py": losing("return space.inner.deep.K", "import space.inner.deep"),
        },
        4.0,
    ),
    "data of a package": (
        {
            "pkg/__init__.py": "",
            "pkg/data/one.txt": "1",
            "pkg/reads.py": """
                import importlib.resources, pkgutil
                from pathlib import Path
                def total():
                    one = importlib.resources.files("pkg").joinpath("data/one.txt").read_text()
                    two = pkgutil.get_data("pkg", "data/one.txt")
                    three = (Path(__file__).parent / "data" / "one.txt").read_text()
                    return float(one) + float(two) + float(three)
            """,
            "main.py": losing("return pkg.reads.total()", "import pkg.reads"),
        },
        3.0,
    ),
    "compiled modules beside the script and in a package": (
        {
            "pkg/__init__.py": "",
            f"pkg/_heapq{SUFFIX}": (COMPILED / f"_heapq{SUFFIX}").read_bytes(),
            f"xxlimited{SUFFIX}": (COMPILED / f"xxlimited{SUFFIX}").read_bytes(),
            "main.py": losing(
                "h = []\npkg._heapq.heappush(h, 5.0)\nreturn h[0] + xxlimited.foo(1, 2)",
                "import pkg._heapq, xxlimited",
            ),
        },
        8.0,
    ),
    "a module named as one of Python's": (
        {
            "wave.py": "K = 5.0",
            "main.py": losing("return wave.K", "import wave"),
        },
        5.0,
    ),
    "a module named as one of Python's, which comes first": (
        {
            "lib/wave.py": "K = 5.0",
            "main.py": losing(
                "import wave\nreturn hasattr(wave, 'K') + 1.0",
                "import sys\nsys.path.append('lib')",
            ),
        },
        1.0,
    ),
    "a module that is loaded from a file": (
        {
            "lib/plug-in.py": "K = 6.0\ndef f(): return K",
            "main.py": losing(
                "return plug.f()",
                """
                import importlib.util, sys
                from pathlib import Path
                path = Path(__file__).parent / "lib" / "plug-in.py"
                spec = importlib.util.spec_from_file_location("plug", path)
                plug = sys.modules["plug"] = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(plug)
                """,
            ),
        },
        6.0,
    ),
    "a module under two names": (
        {
            "new.py": "import sys\nK = []\nsys.modules['old'] = sys.modules[__name__]",
            "main.py": losing(
                "import old\nreturn float(old.K is new.K)",
                "import new",
            ),
        },
        1.0,
    ),
    "modules that are imported when the loss is called": (
        {
            "late.py": "import later\nK = later.K",
            "later.py": "K = 3.0",
            "main.py": losing("from late import K\nimport later as l\nreturn K + l.K"),
        },
        6.0,
    ),
    "a module of a package with relative imports": (
        {
            "pkg/__init__.py": "K = 2.0",
            "pkg/low.py": "K = 3.0",
            "pkg/fit.py": losing(
                "from . import low\nreturn K + low.K + len(__package__)", "from . import K"
            ),
            "start": "module('pkg.fit')",
        },
        8.0,
    ),
    "a package that is run": (
        {
            "pkg/__init__.py": "",
            "pkg/losses.py": losing("return 4.0"),
            "pkg/__main__.py": "from .losses import loss\nprint(1)",
            "start": "module('pkg')",
        },
        4.0,
    ),
    "a text": (
        {
            "helper.py": "K = 2.0",
            "start": f"text({losing('return helper.K + K', 'import helper; K = 1.0')!r})",
        },
        3.0,
    ),
    "a text that imports when the loss is called": (
        {
            "helper.py": "K = 2.0",
            "start": f"text({losing('import helper; return helper.K')!r})",
        },
        2.0,
    ),
    "another encoding": (
        {
            "latin.py": "# -*- coding: latin-1 -*-\nK = len('é')".encode("latin-1"),
            "bom.py": "\ufeffK = 'é'".encode(),
            "windows.py": b"K = '''a\r\nb'''\r\n",
            "main.py": losing(
                "return latin.K + len(bom.K) + len(windows.K) * 10.0",
                "import latin, bom, windows",
            ),
        },
        32.0,
    ),
    "a module that does not compile beside those that are used": (
        {
            "pkg/__init__.py": "",
            "pkg/good.py": "K = 1.0",
            "pkg/bad.py": "def f(:",
            "main.py": losing("return pkg.good.K", "import pkg.good"),
        },
        1.0,
    ),
    "a loss below the main guard": (
        {
            "main.py": LOSS
            + "def helper(x): return x + SHIFT\nSHIFT = 1.0\n"
            + "class Model:\n    def run(self): return helper(2.0)\n"
            + "if __name__ == '__main__':\n    scale = 3.0\n    "
            + DECORATED
            + "    def loss(params, seed): return scale * isinstance(Model(), Model)"
            + " + Model().run()\n"
        },
        6.0,
    ),
    "what the main guard defines anew": (
        {
            "main.py": losing("return 1.0", "def helper(): return 10.0")
            + "if __name__ == '__main__':\n    def helper(): return 20.0\n    "
            + DECORATED.replace("'made'", "'other'")
            + "    def loss(params, seed): return 2.0 + helper()\n"
        },
        22.0,
    ),
    "a closure of a factory": (
        {
            "factory.py": LOSS
            + "KEY = object()\ndef make(k):\n    key = KEY\n    "
            + DECORATED
            + "    def loss(params, seed): return k + 1.0\n    return loss\n",
            "main.py": "import factory\nif __name__ == '__main__':\n    loss = factory.make(2)",
        },
        3.0,
    ),
    "a closure that the import of the script makes": (
        {
            "factory.py": LOSS
            + "def make(k):\n    "
            + DECORATED
            + "    def loss(params, seed): return k\n    return loss\n",
            "main.py": "import factory\nlock = factory.sw\nloss = factory.make(2.5)",
        },
        2.5,
    ),
    "a loss of a loop": (
        {
            "main.py": LOSS
            + "losses = {}\nfor k in (1.0, 2.0):\n    "
            + DECORATED.replace("'made'", "f'made {k}'")
            + "    def loss(params, seed, k=k): return k\n    losses[k] = loss\nloss = losses[1.0]"
        },
        1.0,
    ),
    "a loss with a decorator between": (
        {
            "deco.py": """
                import functools
                def twice(f):
                    @functools.wraps(f)
                    def inner(*args): return 2 * f(*args)
                    return inner
            """,
            "main.py": LOSS
            + "import deco\n"
            + DECORATED
            + "@deco.twice\ndef loss(params, seed): return 4.0",
        },
        8.0,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_loss_gives_there_what_it_gives_here(name, programs, tmp_path):
    files, value = PROGRAMS[name]
    files = dict(files)
    start = files.pop("start", "script()")
    write(tmp_path, files)
    assert programs.here_and_there(tmp_path, start) == (value, value)


# What is imported is the snapshot.


SIMPLE = {
    "helper.py": """
        K = 1.0
        def fails(x):
            raise ValueError(x)  # this very line
    """,
    "main.py": losing("return helper.K", "import helper"),
}


def sent(programs, folder: Path, files=SIMPLE, start="script()", options="") -> str:
    """Return steps that receive a loss, which was sent from a folder."""
    programs.run(write(folder, files), f"packed({start}, {options})")
    return f"import sys, os\nshipment = received({str(folder / 'sent')!r})\n"


def test_what_was_edited_since_is_not_what_runs(programs, tmp_path):
    steps = sent(programs, tmp_path)
    (tmp_path / "helper.py").write_text("K = 2.0\n")
    (tmp_path / "main.py").write_text("raise SystemExit")
    steps += """
import inspect, traceback
answer = [shipment.load()({}, 3)]
helper = sys.modules["helper"]
try:
    helper.fails(3)
except ValueError:
    answer += [traceback.format_exc(), inspect.getsource(helper.fails), helper.__file__]
"""
    value, shown, source, file = programs.run(ELSEWHERE, steps)
    assert value == 1.0
    assert f'File "{tmp_path}/helper.py", line 4, in fails' in shown
    assert "raise ValueError(x)  # this very line" in shown
    assert source == "def fails(x):\n    raise ValueError(x)  # this very line\n"
    assert file == str(tmp_path / "helper.py")


def test_what_is_gone_is_read_from_the_copies(programs, tmp_path):
    files, value = PROGRAMS["data of a package"]
    steps = sent(programs, tmp_path / "project", files)
    (tmp_path / "project" / "sent").rename(tmp_path / "sent")
    steps = steps.replace("/project", "")
    (tmp_path / "project").rename(tmp_path / "away")
    steps += f"""
code = attrs.evolve(shipment.code, folder={str(tmp_path / "sent")!r})
shipment = attrs.evolve(shipment, code=code)
answer = shipment.load()({{}}, 3), sys.modules["pkg.reads"].__file__
"""
    assert programs.run(ELSEWHERE, steps) == [
        value,
        f"{tmp_path}/sent{tmp_path}/project/pkg/reads.py",
    ]


def test_a_compiled_module_that_has_changed_is_read_from_its_copy_or_refused(programs, tmp_path):
    files, value = PROGRAMS["compiled modules beside the script and in a package"]
    steps = sent(programs, tmp_path, files)
    (tmp_path / f"xxlimited{SUFFIX}").write_bytes(b"not it")
    value_of = steps + "answer = shipment.load()({}, 3)"
    assert programs.run(ELSEWHERE, value_of) == value
    Path(f"{tmp_path}/sent{tmp_path}/xxlimited{SUFFIX}").unlink()
    with pytest.raises(ProgramError, match="has changed since the run began") as caught:
        programs.run(ELSEWHERE, value_of)
    assert caught.value.kind == "ImportError"


def test_each_module_is_imported_once(programs, tmp_path):
    files = {
        "count.py": "import builtins\nbuiltins.n = getattr(builtins, 'n', 0) + 1",
        "main.py": losing("return n", "import count, builtins\nbuiltins.n += 10"),
    }
    steps = sent(programs, tmp_path, files)
    steps += """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as threads:
    losses = list(threads.map(lambda _: shipment.load(), range(16)))
again = received(shipment.code.folder).load()
answer = [len({id(loss) for loss in [*losses, again]}), again({}, 3)]
answer += [sys.modules["__main__"] is sys.modules["__mp_main__"]]
"""
    assert programs.run(ELSEWHERE, steps) == [1, 11, True]


def test_the_surroundings_are_the_drivers(programs, tmp_path):
    steps = sent(programs, tmp_path, SIMPLE, "script('main.py', 'one', '2')")
    steps += "sys.path.append('/of/the/worker')\nshipment.load()\n"
    steps += "answer = [os.getcwd(), sys.argv, sys.path[0], '/of/the/worker' in sys.path]"
    expected = [str(tmp_path), ["main.py", "one", "2"], str(tmp_path), True]
    assert programs.run(ELSEWHERE, steps) == expected


def test_arguments_that_are_not_forwarded(programs, tmp_path):
    steps = sent(programs, tmp_path, options="forward_sys_argv_to_workers=False")
    steps += "sys.argv[:] = ['own']\nshipment.load()\nanswer = sys.argv"
    assert programs.run(ELSEWHERE, steps) == ["own"]


def test_a_working_directory_that_is_not_there(programs, tmp_path):
    steps = sent(programs, tmp_path)
    steps += "code = attrs.evolve(shipment.code, cwd='/not/there')\n"
    steps += "answer = attrs.evolve(shipment, code=code).load()({}, 3)"
    assert programs.run(ELSEWHERE, steps) == 1.0


def test_an_import_that_fails_fails_again_and_leaves_nothing(programs, tmp_path):
    guarded = "import os\nif __name__ != '__main__': 1 / 0\n"
    files = {**SIMPLE, "main.py": losing("return 1.0", f"import helper\n{guarded}")}
    steps = sent(programs, tmp_path, files)
    steps += """
before, main = set(sys.modules), sys.modules["__main__"]
answer = []
for _ in range(2):
    try:
        shipment.load()
    except ZeroDivisionError as error:
        answer += [str(error), sorted(set(sys.modules) - before), len(sys.meta_path)]
        answer += [sys.modules["__main__"] is main, sys.argv, os.getcwd()]
"""
    answer = programs.run(ELSEWHERE, steps)
    assert answer[:6] == answer[6:]
    assert (answer[0], answer[1], answer[3], answer[5]) == ("division by zero", [], True, "/")


def test_a_module_that_fails_below_the_loss_can_be_tried_again(programs, tmp_path):
    files = {
        "flaky.py": "import builtins\nbuiltins.n = getattr(builtins, 'n', 0) + 1\n"
        "if n == 1: raise OSError('not yet')",
        "main.py": losing("import flaky\nreturn 1.0"),
    }
    steps = sent(programs, tmp_path, files)
    steps += """
loss = shipment.load()
try:
    loss({}, 3)
except OSError as error:
    answer = [str(error), "flaky" in sys.modules, loss({}, 3)]
"""
    assert programs.run(ELSEWHERE, steps) == ["not yet", False, 1.0]


# Which processes may hold it.


HOLDS = """
def loads(**how):
    try:
        return shipment.load(**how)({}, 3)
    except ImportError as error:
        return type(error).__name__
answer = [loads(), loads(as_imported=True)]
"""
FOREIGN = "ForeignCodeError"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", [1.0, 1.0]),
        ("shipment.load()", [1.0, 1.0]),
        # The program of the driver, in another process, such as a worker that has imported it.
        ("script()", [FOREIGN, 1.0]),
        ("script('other.py')", [FOREIGN, FOREIGN]),
        ("sys.path.insert(0, shipment.code.cwd); import helper", [FOREIGN, FOREIGN]),
        ("script(); open('helper.py', 'a').write('K = 2.0')", [FOREIGN, FOREIGN]),
        ("text('a = 1')", [1.0, 1.0]),
        ("text('a = 1'); sys.ps1 = '>>>'", [FOREIGN, FOREIGN]),
    ],
)
def test_who_may_hold_it(before, expected, programs, tmp_path):
    steps = sent(programs, tmp_path, {**SIMPLE, "other.py": ""})
    assert programs.run(tmp_path, f"{steps}\n{before}\n{HOLDS}") == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("", 1.0),
        ("argv=('main.py', '2')", FOREIGN),
        ("cwd='/'", FOREIGN),
        ("hashes={**shipment.code.hashes, 'a': ''}", FOREIGN),
        ("modules={}", FOREIGN),
        ("folder='/elsewhere'", 1.0),
    ],
)
def test_two_runs_in_one_process(change, expected, programs, tmp_path):
    """On a cluster that was passed, they may have the same code, and other arguments."""
    steps = sent(programs, tmp_path)
    steps += f"""
first = attrs.evolve(shipment, code=attrs.evolve(shipment.code, folder='/'))
first.load()
shipment = attrs.evolve(shipment, code=attrs.evolve(shipment.code, {change}))
{HOLDS}
main = sys.modules["__main__"]
answer = [answer[0], sys.argv[:], os.getcwd(), "helper" in sys.modules]
for one in (first, shipment, shipment):  # each that has loaded it; the last leaves nothing
    answer += [sys.modules["__main__"] is main]
    one.release()
answer += [sys.modules["__main__"] is main, "helper" in sys.modules, os.getcwd()]
"""
    held = programs.run(ELSEWHERE, steps)
    assert held[:4] == [expected, ["main.py"], str(tmp_path), True]
    n_more = 3 if expected == 1.0 else 1
    assert held[4:7] == [i < n_more for i in range(3)]
    assert held[7:] == [False, False, "/"]


def test_a_process_with_other_code_refuses(programs, tmp_path):
    steps = sent(programs, tmp_path, {**SIMPLE, "other.py": "import helper\nhelper.K = 7.0"})
    with pytest.raises(ProgramError, match=r"\(helper, __main__\)") as caught:
        programs.run(tmp_path, f"{steps}\nscript('other.py')\nshipment.load()")
    assert caught.value.kind == FOREIGN
