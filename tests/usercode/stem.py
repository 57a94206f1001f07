"""What `Programs` starts once: it forks for each program, which then runs as if it were started.

It runs without a file, as a worker does, and nothing of the tests is imported.
"""

import json
import os
import pickle
import runpy
import sys
import traceback
import types
from pathlib import Path

import attrs

import seedwise  # noqa: F401 - so that no program has to
from seedwise.model.options.study import RunOptions
from seedwise.usercode.code import take_snapshot
from seedwise.usercode.importing import has_imported, hold  # noqa: F401 - for the steps
from seedwise.usercode.pack import pack

kept = [sys.modules["__main__"]]


def _new_main():
    main = types.ModuleType("__main__")
    kept.append(main)
    sys.modules["__main__"] = main
    main.__spec__ = main.__loader__ = None
    return main


def script(path="main.py", *argv):
    """Run a file as ``python path`` does."""
    main = _new_main()
    main.__file__ = str(Path(path).absolute())
    sys.argv[:] = [path, *argv]
    sys.path[0] = str(Path(main.__file__).parent)
    exec(compile(Path(path).read_bytes(), main.__file__, "exec"), vars(main))
    return main


def module(name, *argv):
    """Run a module as ``python -m name`` does."""
    main = _new_main()
    sys.argv[:] = ["-m", *argv]
    sys.path[0] = str(Path.cwd())
    runpy._run_module_as_main(name)
    return main


def text(source):
    """Run a text as ``python -c`` does, and as a notebook does with its cells."""
    main = _new_main()
    sys.argv[:] = ["-c"]
    sys.path[0] = ""
    exec(compile(source, "<string>", "exec"), vars(main))
    return main


def packed(main, to="sent", **options):
    """Pack a program's loss into a folder, and return the shipment."""
    found = pack(main.loss, RunOptions.from_keywords(options))
    folder = Path(to).absolute()
    folder.mkdir(exist_ok=True)
    for copy, content in found.files.items():
        (folder / copy).parent.mkdir(parents=True, exist_ok=True)
        (folder / copy).write_bytes(content)
    # A fork has the id of the process that it comes from, and is to be another here.
    code = attrs.evolve(found.shipment.code, folder=str(folder))
    shipment = attrs.evolve(found.shipment, sender="", code=code)
    (folder / "shipment").write_bytes(pickle.dumps(shipment))
    return shipment


def received(path):
    """Return the shipment that lies in a folder."""
    return pickle.loads(Path(path, "shipment").read_bytes())


def snapshot():
    """Take a snapshot: the copies of the modules, and all files."""
    code, files = take_snapshot(None, {})
    modules = {name: each.copy for name, each in code.modules.items()}
    return {"modules": modules, "files": sorted(files)}


def _answer(request):
    os.chdir(request["folder"])
    sys.dont_write_bytecode = True
    namespace = dict(globals())
    try:
        exec(request["steps"], namespace)
        return {"answer": namespace.get("answer")}
    except BaseException as error:
        return {"error": type(error).__name__, "text": traceback.format_exc()}


def _main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what programs print is not for the tests
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                out.write(json.dumps(_answer(json.loads(line))) + "\n")
                out.flush()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)


_main()
