"""Run steps of a page one after another: ``python notebook.py STEPS.json``."""

import json
import subprocess
import sys
from pathlib import Path


def main() -> None:
    for language, code, where in json.loads(Path(sys.argv[1]).read_text()):
        if language == "python":
            exec(compile(code, where, "exec"), globals())
        else:
            subprocess.run(["bash", "-euo", "pipefail", "-c", code], check=True)


if __name__ == "__main__":
    main()
