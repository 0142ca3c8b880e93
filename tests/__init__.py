"""The tests, in folders named as those of the code; helpers that several of them share are in this folder."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
