"""The dfengine program, as the wheel carries it."""
import os
import sys


def main():
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "dfengine")
    os.execv(program, ["dfengine", *sys.argv[1:]])


if __name__ == "__main__":
    main()
