"""Python as a session with turns: it marks its prompts and its commands' output (OSC 133).

    [profile.python]
    command = ["python3", "/usr/share/clsess/contrib/profiles/python.py"]
    turns = "marks"

A prompt is any number of lines. The value of each expression that is a statement of the outermost level
is shown, as at Python's own prompt. An exception, and a mistake in the syntax, is the status 1.
Python 3.8 or later, with its readline.
"""

import ast
import os
import sys
import traceback
import types

import readline

# Several lines are one prompt. Python itself turns this off, since its own prompt reads single lines.
readline.parse_and_bind("set enable-bracketed-paste on")
readline.parse_and_bind("set enable-active-region off")

# Whose the marks are: those of another program in this one do not count.
ID = f"python-{os.getpid()}-{os.urandom(4).hex()}"
# The terminal, whatever a prompt makes of sys.stdout.
TERMINAL = sys.stdout


def mark(what):
    return f"\x1b]133;{what};aid={ID}\x07"


def say(text):
    TERMINAL.write(text)
    TERMINAL.flush()


def flush():
    """What was printed comes before the mark that ends it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass


def run(source, names):
    """Runs it; the status."""
    try:
        tree = ast.parse(source, "<stdin>")
        for statement in tree.body:
            # Of a single one the value is shown.
            code = compile(ast.Interactive([statement]), "<stdin>", "single")
            exec(code, names)
        return 0
    except SystemExit:
        raise
    except BaseException as error:
        # Without this function's frame, which is all that a mistake in the syntax has.
        behind = error.__traceback__.tb_next
        if isinstance(error, SyntaxError) and error.filename == "<stdin>":
            behind = None
        traceback.print_exception(type(error), error, behind)
        return 1


def main():
    """Asks and runs until there is no more."""
    # A module for the prompts alone.
    own = sys.modules["__main__"] = types.ModuleType("__main__")
    # Readline has to know what takes no room on the screen.
    prompt = f"\x01{mark('A')}\x02>>> \x01{mark('B')}\x02"
    while True:
        try:
            source = input(prompt)
        except EOFError:
            return
        except KeyboardInterrupt:
            say("\n" + mark("D;130"))
            continue
        if not source.strip():
            continue
        say(mark("C"))
        status = run(source, own.__dict__)
        flush()
        say(mark(f"D;{status}"))


main()
