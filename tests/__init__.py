"""The tests: a folder for each room of the code; what they share lies here."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
