"""Settings of the documentation: ``python -m sphinx -W --keep-going docs site``."""

import os
import sys
from pathlib import Path

import seedwise

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "seedwise"
author = "seedwise developers"
project_copyright = author
version = release = seedwise.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "sphinx_design",
    "reference",
]
exclude_patterns = ["_extensions", "conda"]
nitpicky = True
nitpick_ignore = [("py:obj", "code")]  # of RunStopped: it is an attribute of SystemExit

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# The tutorials call `python` and `seedwise`, and mean those of this environment.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

# Tutorials are executed, unless SEEDWISE_DOCS_EXECUTE=off: that shows the rest sooner.
nb_execution_mode = os.environ.get("SEEDWISE_DOCS_EXECUTE", "force")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

numpydoc_show_class_members = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say the types in words

html_theme = "furo"
html_title = f"seedwise {release}"
html_copy_source = False
copybutton_prompt_text = "$ "
