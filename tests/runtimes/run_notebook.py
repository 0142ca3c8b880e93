"""Run in an environment that has nbclient: python run_notebook.py NOTEBOOK.ipynb RESULT.ipynb

Executes the notebook in its folder and writes it with its outputs, as far as it came.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

source, result = map(Path, sys.argv[1:])
notebook = nbformat.read(source, as_version=4)
nbformat.validate(notebook)
try:
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(source.parent)}}).execute()
finally:
    nbformat.write(notebook, result)
