"""A program that embeds a warm agent as a subprocess, and knows one small protocol for that:

- it writes `{"cmd":"send","prompt":"..."}`, `{"cmd":"restart"}` and `{"cmd":"shutdown"}`, a line each;
- it reads `{"type":"ready"}`, `text_delta` (`text`), `result` (`result`), `restarted`, `error` (`message`);
- bad JSON, an unknown command and an empty prompt each give an `error`, and all goes on;
- a turn that takes too long gives an `error`, then `ready`.

It is row A of a list of programs that clsess replaces, written from that page alone. It asks for nothing
else, and takes nothing else. Its tests are run by

    python3 row_a.py --hangs PROMPT COMMAND...

where COMMAND begins such a subprocess, whose agent answers "you said: PROMPT", and to a prompt that begins
with "recall" the earlier prompts of the conversation. It never answers the one that is given by --hangs, and
COMMAND has a time for a turn that can be waited for.
"""

import argparse
import json
import queue
import subprocess
import sys
import threading
import unittest

COMMAND = []
HANGS = ""
# Longer than any turn here takes on a machine that is busy.
PATIENCE = 60
FIELDS = {"ready": None, "text_delta": "text", "result": "result", "restarted": None, "error": "message"}


class Failed(Exception):
    """The agent said `error`."""


class Agent:
    """The subprocess."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.expect("ready")

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def write(self, data):
        """Bytes as they are."""
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def command(self, **fields):
        """A line."""
        self.write(json.dumps(fields).encode() + b"\n")

    def next(self):
        """The next line as its type and its text; None at the end."""
        line = self.lines.get(timeout=PATIENCE)
        if not line:
            return None
        assert line.endswith(b"\n"), line
        message = json.loads(line)
        kind = message["type"]
        assert kind in FIELDS, f"there is no type {kind}: {line}"
        if FIELDS[kind] is None:
            return kind, ""
        text = message[FIELDS[kind]]
        assert isinstance(text, str), line
        return kind, text

    def expect(self, kind):
        """The text of the next line, which is of this type."""
        said = self.next()
        if said is None or said[0] != kind:
            raise AssertionError(f"{kind} was expected: {said}")
        return said[1]

    def answer(self):
        """The deltas and the result of a turn."""
        deltas = []
        while True:
            said = self.next()
            assert said is not None, "it ended in the middle of a turn"
            kind, text = said
            if kind == "text_delta":
                deltas.append(text)
            elif kind == "result":
                return deltas, text
            elif kind == "error":
                raise Failed(text)
            else:
                raise AssertionError(f"{kind} in a turn")

    def send(self, prompt):
        """The answer to a prompt."""
        self.command(cmd="send", prompt=prompt)
        deltas, result = self.answer()
        assert "".join(deltas) == result, (deltas, result)
        return result

    def restart(self):
        """A conversation without a past."""
        self.command(cmd="restart")
        self.expect("restarted")

    def end(self):
        """The exit code; nothing more is said."""
        assert self.next() is None
        return self.process.wait(timeout=PATIENCE)

    def close(self):
        """Whatever has become of it, it ends."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class RowA(unittest.TestCase):
    """The protocol, a rule at a time."""

    def setUp(self):
        self.agent = Agent(COMMAND)
        self.addCleanup(self.agent.close)

    def error(self):
        """The message of the error that comes next."""
        message = self.agent.expect("error")
        self.assertTrue(message.strip())
        return message

    def test_turns_and_memory(self):
        """The conversation keeps its memory between turns, and `restart` begins another one."""
        self.assertEqual(self.agent.send("my name is Ada"), "you said: my name is Ada")
        self.assertEqual(self.agent.send("and I like tea"), "you said: and I like tea")
        self.assertEqual(self.agent.send("recall"), "my name is Ada\nand I like tea")
        self.agent.restart()
        self.assertEqual(self.agent.send("who am I"), "you said: who am I")
        self.assertEqual(self.agent.send("recall"), "who am I")

    def test_prompts_as_they_are(self):
        """Many lines, what a terminal would take for a command, all of Unicode."""
        for prompt in ("one\ntwo\n\nthree", "/clear", "!ls", "  @file ", "-x", 'say "hi"\t\\n', "héé 😀"):
            self.assertEqual(self.agent.send(prompt), "you said: " + prompt)
        self.agent.command(cmd="send", prompt="x" * 100_000)
        self.assertEqual(self.agent.answer()[1], "you said: " + "x" * 200)

    def test_what_is_no_command(self):
        """One error for each, and all goes on."""
        wrong = [b"nonsense\n", b'{"cmd":"send","prompt":\n', b"[1]\n", b'{"cmd":"dance"}\n', b"{}\n",
                 b'{"cmd":"send"}\n', b'{"cmd":"send","prompt":""}\n', b'{"cmd":"send","prompt":" \\n"}\n']
        for line in wrong:
            self.agent.write(line)
            self.error()
        self.assertEqual(self.agent.send("still there"), "you said: still there")
        # At once: the answers come in the row of the lines.
        self.agent.command(cmd="send", prompt="first")
        self.agent.write(b"nonsense\n")
        self.agent.command(cmd="send", prompt="second")
        self.assertEqual(self.agent.answer()[1], "you said: first")
        self.error()
        self.assertEqual(self.agent.answer()[1], "you said: second")

    def test_sends_at_once(self):
        """They run one after the other, and their lines do not mix."""
        prompts = [f"number {number}" for number in range(5)]
        for prompt in prompts:
            self.agent.command(cmd="send", prompt=prompt)
        for prompt in prompts:
            deltas, result = self.agent.answer()
            self.assertEqual(("".join(deltas), result), ("you said: " + prompt,) * 2)
        self.assertEqual(self.agent.send("recall"), "\n".join(prompts))

    def test_a_turn_that_takes_too_long(self):
        """Error, then ready; nothing of it is in the next answer."""
        self.agent.command(cmd="send", prompt=HANGS)
        self.error()
        self.agent.expect("ready")
        self.assertEqual(self.agent.send("and now"), "you said: and now")

    def test_restart_in_a_turn(self):
        """What ran and what waited ends with an error."""
        self.agent.command(cmd="send", prompt=HANGS)
        self.agent.command(cmd="send", prompt="behind it")
        self.agent.command(cmd="restart")
        self.error()
        self.error()
        self.agent.expect("restarted")
        self.assertEqual(self.agent.send("who am I"), "you said: who am I")
        self.assertEqual(self.agent.send("recall"), "who am I")

    def test_shutdown(self):
        """It ends, and says nothing."""
        self.assertEqual(self.agent.send("hi"), "you said: hi")
        self.agent.command(cmd="shutdown")
        self.assertEqual(self.agent.end(), 0)

    def test_shutdown_in_a_turn(self):
        """The turn ends with an error."""
        self.agent.command(cmd="send", prompt=HANGS)
        self.agent.command(cmd="shutdown")
        self.error()
        self.assertEqual(self.agent.end(), 0)

    def test_the_end_of_stdin(self):
        """What was asked is told."""
        self.agent.command(cmd="send", prompt="last words")
        self.agent.process.stdin.close()
        self.assertEqual(self.agent.answer()[1], "you said: last words")
        self.assertEqual(self.agent.end(), 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--hangs", required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    HANGS, COMMAND = options.hangs, options.command
    unittest.main(argv=sys.argv[:1])
