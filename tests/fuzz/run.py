"""Fuzz one target, guided by coverage: `python tests/fuzz/run.py TARGET [libFuzzer options]`."""

import sys

import atheris

with atheris.instrument_imports(include=["callboard.dns"]):
    from targets import TARGETS


def main():
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
