"""The protocol as PROTOCOL.md describes it, tried on a live broker. See client.py.

CLSESS_BIN is the clsess binary (only `broker start` of it is used). The agent's API has to answer
"you said: PROMPT", and a prompt that begins with "recall" with the earlier prompts' beginnings.
"""

import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from client import MAX_FRAME, PROTOCOL, Broker, BrokerError, Wire, pack, unpack  # noqa: E402

CLSESS = os.environ.get("CLSESS_BIN", "clsess")
REQUESTS = {"new", "send", "result", "list", "show", "kill", "restart", "cancel", "status", "stop",
            "attach", "resized", "detach", "capture", "type", "keys"}


def new_id():
    """A random uuid in its usual form."""
    return str(uuid.uuid4())


class MessagePack(unittest.TestCase):
    """The encoding alone, on the bytes of the document's example."""

    def test_round_trip(self):
        """Every kind and every form of a length comes back."""
        numbers = [0, -1, -32, -33, 127, 128, 1 << 31, (1 << 64) - 1, -(1 << 63), 1.5]
        lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536]
        values = [None, True, False, *numbers]
        values += [kind * length for length in lengths for kind in ("x", b"x", [1])]
        values += [{str(key): key for key in range(length)} for length in lengths]
        for value in values:
            self.assertEqual(unpack(pack(value)), value)

    def test_example(self):
        """The hello of the document's example."""
        hello = {"type": "hello", "protocol": 1, "version": "0.1.0", "capabilities": []}
        self.assertEqual(pack(hello), bytes.fromhex(
            "84a474797065a568656c6c6fa870726f746f636f6c01a776657273696f6ea5302e312e30"
            "ac6361706162696c697469657390"))

    def test_refused(self):
        """What is cut off or has something behind it."""
        for data in (b"", b"\xc1", b"\xa3ab", b"\x82\xa1a\x01", b"\x80\x80"):
            with self.assertRaises(ValueError):
                unpack(data)


class Live(unittest.TestCase):
    """What all live tests share: one broker and one session that is ready."""

    @classmethod
    def setUpClass(cls):
        subprocess.run([CLSESS, "broker", "start", "--quiet"], stdin=subprocess.DEVNULL, check=True)
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.cwd = directory.name
        cls.broker = Broker()
        cls.addClassCleanup(cls.broker.close)
        cls.name = f"shared-{cls.__name__}"
        cls.broker.new(cls.name, cwd=cls.cwd, trust=True)
        cls.addClassCleanup(cls.broker.kill, cls.name)

    def raw(self):
        """A connection on which nothing has been said yet."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        self.addCleanup(sock.close)
        sock.connect(self.broker.wire.sock.getpeername())
        return Wire(sock)

    def greeted(self):
        """A connection with both hellos exchanged."""
        wire = self.raw()
        wire.send({"type": "hello", "protocol": PROTOCOL, "version": "test"})
        self.assertEqual(wire.receive(60)["type"], "hello")
        return wire

    def session(self, **fields):
        """Another session, ended after the test."""
        name = f"s-{uuid.uuid4().hex[:8]}"
        row = self.broker.new(name, cwd=self.cwd, trust=True, **fields)
        self.addCleanup(self.broker.kill, name)
        return row

    def refused(self, code, call, *args, **fields):
        """The call gets an error of this code; returns it."""
        with self.assertRaises(BrokerError) as caught:
            call(*args, **fields)
        self.assertEqual(caught.exception.code, code, caught.exception)
        self.assertTrue(caught.exception.message)
        self.assertNotIn("\n", caught.exception.message)
        return caught.exception

    def ends(self, wire, code="bad_request"):
        """The connection ends after an error of id 0; the shared one goes on."""
        frame = wire.receive(60)
        self.assertEqual((frame["type"], frame["id"]), ("error", 0), frame)
        self.assertEqual(frame["error"]["code"], code)
        with self.assertRaises(ConnectionError):
            wire.receive(60)
        self.assertIn("pid", self.broker.status())


class Hello(Live):
    """The first frames."""

    def test_hello(self):
        """The broker's hello has what the document says."""
        hello = self.broker.hello
        self.assertEqual((hello["type"], hello["protocol"]), ("hello", 1))
        self.assertTrue(hello["version"])
        self.assertLessEqual(REQUESTS, set(hello["capabilities"]))
        self.assertEqual(hello["state_dir"], f"{self.broker.state}/{self.broker.label}")

    def test_lock_file_names_the_socket(self):
        """Where nobody listens on the socket of the rules, the lock file leads to the broker."""
        other = Broker(socket=f"{self.cwd}/nobody.sock")
        self.addCleanup(other.close)
        self.assertEqual(other.status()["pid"], self.broker.status()["pid"])

    def test_broker_of_another_state_directory(self):
        """It is not taken, unless the user has given its socket."""
        self.addCleanup(os.environ.__setitem__, "CLSESS_STATE_DIR", self.broker.state)
        os.environ["CLSESS_STATE_DIR"] = self.cwd
        self.refused("broker_unreachable", Broker)
        other = Broker(socket=self.broker.wire.sock.getpeername())
        self.addCleanup(other.close)
        self.assertEqual(other.hello, self.broker.hello)

    def test_no_broker(self):
        """Another label has no broker, and one that is no label has none either."""
        self.refused("broker_unreachable", Broker, label="nobody-here")
        self.refused("bad_name", Broker, label="-no")

    def test_incompatible(self):
        """Another protocol number: hello, error of id 0, closed; the request is not run."""
        name = f"never-{uuid.uuid4().hex[:8]}"
        for protocol in (PROTOCOL + 1, 0, 1 << 20):
            wire = self.raw()
            wire.send({"type": "hello", "protocol": protocol, "version": "test"})
            request = {"op": "new", "name": name, "cwd": self.cwd, "env": [], "trust": True,
                       "start_timeout_ms": 0}
            try:
                wire.send({"type": "request", "id": 1, "request": request})
            except OSError:
                pass
            self.assertEqual(wire.receive(60)["protocol"], PROTOCOL)
            self.ends(wire, "incompatible")
        self.assertNotIn(name, [row["name"] for row in self.broker.list()])

    def test_requests_behind_the_hello(self):
        """Requests need not wait for the broker's hello."""
        wire = self.raw()
        wire.send({"type": "hello", "protocol": PROTOCOL, "version": "test"})
        wire.send({"type": "request", "id": 7, "request": {"op": "status"}})
        self.assertEqual(wire.receive(60)["type"], "hello")
        self.assertEqual(wire.receive(60)["id"], 7)

    def test_second_hello(self):
        """There is one hello only."""
        wire = self.greeted()
        wire.send({"type": "hello", "protocol": PROTOCOL, "version": "test"})
        self.ends(wire)


class Turns(Live):
    """Sending prompts."""

    def test_memory(self):
        """A session answers, and knows what was said before."""
        session = self.session()
        name = session["name"]
        uuid.UUID(session["id"])
        report = self.broker.send(name, "first words")
        self.assertEqual((report["reply"], report["outcome"]), ("turn", "completed"), report)
        self.assertEqual(report["answer"], "you said: first words")
        self.assertEqual((report["session"], report["is_error"]), (name, False))
        self.assertEqual(report["permission_denials"], [])
        self.assertNotIn("texts", report)
        self.assertIn("first words", self.broker.send(name, "recall")["answer"])
        by_id = self.broker.send(session["id"], "by id", texts=True)
        self.assertEqual(by_id["texts"], ["you said: by id"])

    def test_exact(self):
        """The prompt's bytes come back."""
        prompt = " \tünï ☃ 😀 \"quotes\" \\n $HOME\r\n\n  last "
        self.assertIn(prompt.strip(), self.broker.send(self.name, prompt)["answer"])

    def test_events(self):
        """The events of a turn: in order, between `queued` and `result`, before the reply."""
        events, turn = [], new_id()
        report = self.broker.send(self.name, "tell me", turn, on_event=events.append)
        kinds = [event["event"] for event in events]
        self.assertEqual((kinds[0], kinds[-1]), ("queued", "result"), kinds)
        self.assertEqual((kinds.count("accepted"), kinds.count("result")), (1, 1))
        numbers = [event["seq"] for event in events]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual({event["session"] for event in events}, {self.name})
        self.assertEqual({event["turn"] for event in events}, {turn})
        text = "".join(event["text"] for event in events if event["event"] == "text")
        self.assertEqual(text, report["answer"])
        self.assertEqual(events[-1]["outcome"], "completed")

    def test_no_wait(self):
        """`accepted` at once, the report by `result`."""
        turn = new_id()
        accepted = self.broker.send(self.name, "later", turn, wait=False)
        self.assertEqual(accepted, {"reply": "accepted", "turn": turn})
        report = self.broker.result(self.name, turn)
        self.assertEqual((report["turn"], report["answer"]), (turn, "you said: later"))
        self.assertEqual(self.broker.result(self.name, turn[:8])["turn"], turn)
        self.assertEqual(self.broker.result(self.name, "-1")["turn"], turn)

    def test_same_turn_twice(self):
        """A known id is answered and not run; with another prompt it is a conflict."""
        session, turn = self.session()["name"], new_id()
        first = self.broker.send(session, "once", turn)
        self.assertEqual(self.broker.send(session, "once", turn)["answer"], first["answer"])
        again = self.broker.send(session, "once", turn, wait=False)
        self.assertEqual(again, {"reply": "accepted", "turn": turn})
        self.refused("key_conflict", self.broker.send, session, "twice", turn)
        self.assertEqual(self.broker.show(session)["turns"], 1)
        self.assertEqual(self.broker.send(session, "recall")["answer"].count("once"), 1)

    def test_cancel(self):
        """A turn that has ended is left as it is; one that is not known is an error."""
        turn = self.broker.send(self.name, "over")["turn"]
        self.assertEqual(self.broker.cancel(self.name, turn)["outcome"], "completed")
        self.refused("no_such_turn", self.broker.cancel, self.name, new_id())
        self.refused("no_such_turn", self.broker.result, self.name, new_id())

    def test_cancel_queued(self):
        """A queued turn is taken back before it runs."""
        session = self.session(wait=False)["name"]
        first, second = new_id(), new_id()
        self.broker.send(session, "in front", first, wait=False)
        self.broker.send(session, "not this one", second, wait=False)
        report = self.broker.cancel(session, second)
        self.assertEqual(report["outcome"], "cancelled")
        self.assertEqual(report["error"]["code"], "cancelled")
        self.assertEqual(self.broker.result(session, first)["outcome"], "completed")

    def test_pipelined(self):
        """Requests on one connection are answered by id, in any order."""
        turn = new_id()
        slow = self.broker.submit("send", session=self.name, turn=turn, prompt="slow", wait=True)
        quick = [self.broker.submit(op) for op in ("status", "list", "no-such-op")]
        self.assertEqual(self.broker.wait(quick[1])["reply"], "sessions")
        self.refused("unknown_request", self.broker.wait, quick[2])
        self.assertEqual(self.broker.wait(slow)["answer"], "you said: slow")
        self.assertEqual(self.broker.wait(quick[0])["reply"], "status")

    def test_more_than_the_limit_at_once(self):
        """More requests than may be under way wait unread and are answered in the end."""
        numbers = [self.broker.submit("status") for _ in range(500)]
        self.assertEqual({self.broker.wait(number)["reply"] for number in numbers}, {"status"})

    def test_in_order(self):
        """After its `queued` event or `accepted` a turn runs before those that come later."""
        session, turns = self.session(wait=False)["name"], [new_id() for _ in range(3)]
        for number, turn in enumerate(turns):
            self.broker.send(session, f"number {number};", turn, wait=False)
        for turn in turns:
            self.assertEqual(self.broker.result(session, turn)["outcome"], "completed")
        answer = self.broker.send(session, "recall")["answer"]
        self.assertEqual([answer.count(f"number {number};") for number in range(3)], [1, 1, 1])
        self.assertLess(answer.index("number 0;"), answer.index("number 1;"))
        self.assertLess(answer.index("number 1;"), answer.index("number 2;"))

    def test_leaving(self):
        """A turn goes on when its client has gone after `accepted`."""
        other, turn = Broker(), new_id()
        other.send(self.name, "I am off", turn, wait=False)
        other.close()
        self.assertEqual(self.broker.result(self.name, turn)["answer"], "you said: I am off")


class Errors(Live):
    """Requests that are refused, and what is not."""

    def test_no_such_session(self):
        """Every request that names a session."""
        broker = self.broker
        error = self.refused("no_such_session", broker.send, "nobody", "hi")
        self.assertIsInstance(error.hint, (str, type(None)))
        self.refused("no_such_session", broker.show, "nobody")
        self.refused("no_such_session", broker.result, "nobody")
        self.refused("no_such_session", broker.restart, "nobody")
        self.refused("no_such_session", broker.cancel, "nobody", new_id())
        self.refused("no_such_session", broker.show, new_id())

    def test_prompts(self):
        """Prompts that are none; nothing is queued."""
        turns = self.broker.show(self.name)["turns"]
        for prompt in ("", " \t\r\n", "\u2003"):
            self.refused("prompt_empty", self.broker.send, self.name, prompt)
        self.refused("prompt_invalid", self.broker.send, self.name, "a\0b")
        self.refused("prompt_too_long", self.broker.send, self.name, "x" * (10485760 + 1))
        self.assertEqual(self.broker.show(self.name)["turns"], turns)

    def test_names(self):
        """Names that are none, one that is taken, and one that may be."""
        for name in ("-x", "", "a b", "x" * 65, "../up", "ä"):
            self.refused("bad_name", self.broker.new, name, cwd=self.cwd, trust=True)
        self.refused("session_exists", self.broker.new, self.name, cwd=self.cwd, trust=True)
        reply = self.broker.request("new", name=self.name, cwd=self.cwd, env=[], trust=True,
                                    start_timeout_ms=0, exists_ok=True)
        self.assertEqual((reply["reply"], reply["created"]), ("session", False))

    def test_directories(self):
        """Directories that are none, and one for which nobody vouches."""
        self.refused("bad_directory", self.broker.request, "new", cwd="relative", env=[],
                     trust=True, start_timeout_ms=0)
        self.refused("bad_directory", self.broker.new, cwd=f"{self.cwd}/missing", trust=True)

    def test_no_agent(self):
        """An environment without `claude`; nothing is left of the session."""
        self.refused("agent_not_found", self.broker.new, "agentless", cwd=self.cwd, trust=True,
                     env={"PATH": self.cwd, "HOME": self.cwd})
        self.refused("no_such_session", self.broker.show, "agentless")

    def test_unknown_request(self):
        """It ends neither the connection nor anything else."""
        self.refused("unknown_request", self.broker.request, "teleport", session=self.name)
        self.assertEqual(self.broker.status()["reply"], "status")

    def test_unknown_fields(self):
        """The broker ignores fields that it does not know, everywhere."""
        wire = self.raw()
        more = {"novel": [1, {"a": b"b"}], "other": 2.5, "nothing": None}
        wire.send({"type": "hello", "protocol": PROTOCOL, "version": "t", "capabilities": ["x"],
                   **more})
        wire.send({**more, "request": {**more, "op": "show", "session": self.name}, "id": 3,
                   "type": "request"})
        self.assertEqual(wire.receive(60)["type"], "hello")
        self.assertEqual(wire.receive(60)["reply"]["name"], self.name)
        self.assertEqual(self.session(settings=more)["state"], "idle")
        self.assertEqual(self.broker.send(self.name, "hi", **more)["outcome"], "completed")

    def test_nil(self):
        """A nil for an optional field counts as left out."""
        nil = dict.fromkeys
        new = {"name": self.name, "cwd": self.cwd, "env": [], "start_timeout_ms": 0}
        requests = [
            {"op": "send", "session": self.name, "turn": new_id(), "prompt": "hi", "wait": False,
             **nil(("timeout_ms", "on_question", "events", "texts"))},
            {"op": "result", "session": self.name, "turn": "-1", **nil(("events", "texts"))},
            {"op": "new", **new, "exists_ok": True,
             **nil(("settings", "resume", "trust", "wait", "umask"))},
            {"op": "new", **new, "exists_ok": True, "settings": nil((
                "model", "permission_mode", "system_prompt", "append_system_prompt", "agent",
                "max_turns", "agent_path", "agent_args", "history", "env_forget"))},
            {"op": "kill", "grace_ms": 0, **nil(("sessions", "all"))},
        ]
        for request in requests:
            with self.subTest(op=request["op"]):
                wire = self.greeted()
                wire.send({"type": "request", "id": 1, "request": request})
                self.assertEqual(wire.receive(60).get("error"), None)
        with self.subTest("hello"):
            wire = self.raw()
            wire.send({"type": "hello", "protocol": PROTOCOL, "version": "t", "capabilities": None})
            self.assertEqual(wire.receive(60)["type"], "hello")

    def test_integer_forms(self):
        """Any integer form that holds the value will do."""
        body = pack({"type": "request", "request": {"op": "status"}, "id": 5})
        self.assertTrue(body.endswith(b"\x05"))
        for form in ("\xcc\x05", "\xcd\0\x05", "\xd0\x05", "\xd2\0\0\0\x05", "\xd3\0\0\0\0\0\0\0\x05"):
            wire, data = self.greeted(), body[:-1] + form.encode("latin-1")
            wire.send_bytes(struct.pack(">I", len(data)) + data)
            self.assertEqual(wire.receive(60)["id"], 5)

    def test_trailing_bytes(self):
        """One map and nothing behind it."""
        body = pack({"type": "request", "id": 1, "request": {"op": "status"}}) + b"\xc0"
        wire = self.greeted()
        wire.send_bytes(struct.pack(">I", len(body)) + body)
        self.ends(wire)

    def test_bad_requests(self):
        """What has an id and something wrong in it is refused under its id."""
        send = {"op": "send", "session": self.name, "turn": new_id(), "prompt": "x", "wait": True}
        wire, turns = self.greeted(), self.broker.show(self.name)["turns"]
        for request in ({}, "status", 1, {"op": 3}, {"op": None}, {"op": "show"},
                        {"op": "show", "session": 1}, {**send, "turn": "5b1f4d0b"},
                        {**send, "on_question": "maybe"}, {**send, "timeout_ms": -1},
                        {**send, "wait": "yes"}, {"op": "kill", "sessions": []}):
            with self.subTest(request=request):
                wire.send({"type": "request", "id": 9, "request": request})
                frame = wire.receive(60)
                self.assertEqual((frame["type"], frame["id"]), ("error", 9), frame)
                self.assertEqual(frame["error"]["code"], "bad_request")
        with self.subTest("not UTF-8"):
            body = pack({"type": "request", "id": 9, "request": send})
            body = body.replace(b"prompt\xa1x", b"prompt\xa1\xff")
            wire.send_bytes(struct.pack(">I", len(body)) + body)
            frame = wire.receive(60)
            self.assertEqual((frame["id"], frame["error"]["code"]), (9, "bad_request"))
        self.assertEqual(self.broker.show(self.name)["turns"], turns)

    def test_no_requests(self):
        """Frames that are no request at all end their own connection only."""
        status = {"op": "status"}
        bodies = [pack(message) for message in (
            {"type": "novel", "id": 1}, {}, [], 1, ["request", 1, status], {"type": "request"},
            {"type": "request", "request": status},
            {"type": "request", "id": "1", "request": status},
            {"type": "request", "id": -1, "request": status})]
        for body in (*bodies, b"", b"\xc1", b"\x81\xa4type"):
            with self.subTest(body=body):
                wire = self.greeted()
                wire.send_bytes(struct.pack(">I", len(body)) + body)
                self.ends(wire)

    def test_frame_too_long(self):
        """Its connection is closed, at once; another one goes on, also in the middle of a turn."""
        number = self.broker.submit("send", session=self.name, turn=new_id(), prompt="on and on",
                                    wait=True)
        wire = self.greeted()
        wire.send_bytes(struct.pack(">I", MAX_FRAME + 1) + b"\x80")
        self.ends(wire)
        self.assertEqual(self.broker.wait(number)["answer"], "you said: on and on")


class Sessions(Live):
    """Looking at sessions and ending them."""

    def test_list_and_show(self):
        """The fields of a row and of a detail."""
        session = self.session()
        self.broker.send(session["name"], "hi")
        until = time.monotonic() + 10  # the state may follow the report a little later
        while self.broker.show(session["id"])["state"] != "idle" and time.monotonic() < until:
            time.sleep(0.01)
        rows = self.broker.list()
        names = [row["name"] for row in rows]
        self.assertEqual(names, sorted(names))
        row = next(row for row in rows if row["id"] == session["id"])
        kinds = {"name": str, "id": str, "state": str, "since": int, "driver": str, "queue": int,
                 "turns": int, "attached": int, "idle_s": int, "cwd": str}
        self.assertEqual({key: type(row.get(key)) for key in kinds}, kinds)
        self.assertEqual((row["state"], row["queue"], row["turns"]), ("idle", 0, 1))
        self.assertTrue(os.path.samefile(row["cwd"], self.cwd))
        self.assertAlmostEqual(row["since"] / 1000, time.time(), delta=60)
        detail = self.broker.show(session["id"])
        self.assertLessEqual(set(kinds), set(detail))
        self.assertEqual(detail["reply"], "detail")
        uuid.UUID(detail["agent_session_id"])
        self.assertGreater(detail["usage"]["output_tokens"], 0)
        self.assertIsInstance(detail["cost_usd"], float)
        os.kill(detail["pid"], 0)

    def test_restart(self):
        """The conversation is kept, or not."""
        name = self.session()["name"]
        self.broker.send(name, "before")
        pid = self.broker.show(name)["pid"]
        self.assertEqual(self.broker.restart(name)["state"], "idle")
        self.assertNotEqual(self.broker.show(name)["pid"], pid)
        self.assertIn("before", self.broker.send(name, "recall")["answer"])
        self.broker.restart(name, fresh=True)
        self.assertNotIn("before", self.broker.send(name, "recall")["answer"])

    def test_kill(self):
        """What killed sessions leave, and one that is not there."""
        said, silent = self.session(), self.session()
        turn = self.broker.send(said["name"], "last words")["turn"]
        agent = self.broker.show(said["name"])
        ended = self.broker.kill(said["name"], silent["name"], "nobody")
        self.assertEqual([entry["session"] for entry in ended],
                         [said["name"], silent["name"], "nobody"])
        self.assertEqual(ended[0]["agent_session_id"], agent["agent_session_id"])
        self.assertTrue(os.path.samefile(ended[0]["cwd"], self.cwd))
        self.assertNotIn("agent_session_id", ended[1])
        self.assertEqual(ended[2]["error"]["code"], "no_such_session")
        self.refused("no_such_session", self.broker.show, said["name"])
        self.assertEqual(self.broker.result(said["id"], turn)["answer"], "you said: last words")
        with self.assertRaises(ProcessLookupError):
            os.kill(agent["pid"], 0)

    def test_kill_by_id(self):
        """The answer lets a client that asked by id find its session."""
        session = self.session(wait=False)["id"]
        entry, = self.broker.kill(session)
        self.assertIn(session, (entry["session"], entry.get("id")))
        self.assertNotIn("error", entry)

    def test_resume(self):
        """A killed session's conversation can be taken up again."""
        session = self.session()["name"]
        self.broker.send(session, "remember me")
        ended = self.broker.kill(session)[0]
        other = self.session(resume=ended["agent_session_id"])["name"]
        self.assertIn("remember me", self.broker.send(other, "recall")["answer"])

    def test_status(self):
        """The broker itself."""
        status = self.broker.status()
        os.kill(status["pid"], 0)
        self.assertEqual(status["version"], self.broker.hello["version"])
        self.assertTrue(os.path.samefile(status["socket"], self.broker.socket))
        self.assertEqual(status["state_dir"], self.broker.hello["state_dir"])
        self.assertEqual(status["sessions"], len(self.broker.list()))


def lives(pid):
    """Whether there is such a process, and it is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(") ")[2][:1] != "Z"
    except FileNotFoundError:
        return False


class Terminal(Live):
    """Programs, and terminals that are handed over."""

    SCRIPT = b"echo before; while read line; do echo \"<$line>\"; done; exit 3"

    def program(self, *args, **more):
        """A session that runs this."""
        program = {"args": args, "rows": 24, "cols": 80, **more}
        return self.session(program=program)["name"]

    def until(self, condition):
        """Look until it is so."""
        end = time.monotonic() + 60
        while not (found := condition()):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        return found

    def terminal(self, rows=24, cols=80):
        """A terminal of our own: what its user holds, and what programs have."""
        user, own = pty.openpty()
        for descriptor in (user, own):
            self.addCleanup(os.close, descriptor)
        termios.tcsetwinsize(own, (rows, cols))
        return user, own

    def attached(self, name, own, **more):
        """Attach, and wait until the broker has the terminal."""
        attach = self.broker.attach(name, own, **more)
        self.until(lambda: self.broker.show(name)["attached"] == 1)
        return attach

    def reads(self, user, text):
        """Read what is shown until this is in it."""
        shown = b""
        while text not in shown:
            self.assertTrue(select.select([user], [], [], 60)[0], shown)
            shown += os.read(user, 65536)
        return shown

    def test_program(self):
        """It is started, typed at, looked at, ended and begun anew."""
        name = self.program(b"sh", b"-c", self.SCRIPT)
        self.broker.type(name, b"one")
        self.broker.keys(name, "Enter")
        self.until(lambda: b"<one>\n" in self.broker.capture(name))
        detail = self.broker.show(name)
        self.assertEqual((detail["driver"], detail["state"]), ("program", "idle"))
        self.assertEqual((detail["command"][0], detail["size"]), ("sh", [24, 80]))
        self.assertNotIn("agent_session_id", detail)
        self.broker.keys(name, "C-d")
        row = self.broker.request("wait", sessions=[name], until="exit")["sessions"][0]
        self.assertEqual((row["state"], row["detail"]), ("exited", "exit 3"))
        self.assertEqual(self.broker.show(name)["exit"], {"code": 3})
        self.refused("no_terminal", self.broker.type, name, b"x")
        self.assertEqual(self.broker.restart(name)["state"], "idle")
        self.until(lambda: self.broker.capture(name).startswith(b"before\n"))

    def test_refused(self):
        """What programs do not take, what agents do not have, and what is no terminal."""
        name = self.program(b"cat")
        self.refused("not_an_agent", self.broker.send, name, "hello")
        self.refused("not_an_agent", self.broker.result, name)
        self.refused("bad_request", self.broker.keys, name, "Entr")
        self.refused("bad_request", self.broker.type, name, b"x" * (1024 * 1024 + 1))
        self.refused("no_terminal", self.broker.capture, self.name)
        self.refused("no_terminal", self.broker.type, self.name, b"x")
        self.refused("agent_not_found", self.program, b"no-such-program")
        for bad in ({"args": []}, {"rows": 0}, {"cols": 1001}, {"args": [b"a\0b"]}):
            self.refused("bad_request", self.program, *bad.pop("args", [b"cat"]), **bad)
        viewer = new_id()
        self.refused("no_terminal", self.broker.request, "attach", session=name, viewer=viewer)
        with open(os.devnull, "rb+") as null:
            attach = self.broker.attach(name, null.fileno())
            self.refused("no_terminal", self.broker.wait, attach)
        _, own = self.terminal()
        attach = self.broker.attach(name, own, detach_keys="d")
        self.refused("bad_request", self.broker.wait, attach)
        for gone in ("resized", "detach"):
            self.broker.request(gone, session=name, viewer=new_id())

    def test_attach(self):
        """The screen is shown, what is typed arrives, and the terminal is given back."""
        name = self.program(b"sh", b"-c", self.SCRIPT)
        self.until(lambda: b"before" in self.broker.capture(name))
        user, own = self.terminal()
        before, viewer = termios.tcgetattr(own), new_id()
        attach = self.broker.attach(name, own, viewer)
        self.reads(user, b"before")
        self.assertEqual(self.broker.show(name)["attached"], 1)
        self.assertFalse(termios.tcgetattr(own)[3] & termios.ICANON)
        os.write(user, b"hello\r")
        self.reads(user, b"<hello>")

        termios.tcsetwinsize(own, (30, 100))
        self.broker.request("resized", session=name, viewer=viewer)
        self.until(lambda: self.broker.show(name)["size"] == [30, 100])

        self.broker.request("detach", session=name, viewer=viewer)
        self.assertEqual(self.broker.wait(attach), {"reply": "detached", "reason": "asked"})
        self.assertEqual(termios.tcgetattr(own), before)
        attach = self.attached(name, own)
        os.write(user, b"\x1c")
        self.assertEqual(self.broker.wait(attach)["reason"], "keys")

        attach = self.attached(name, own)
        self.broker.keys(name, "C-d")
        gone = {"reply": "detached", "reason": "exited", "exit": {"code": 3}}
        self.assertEqual(self.broker.wait(attach), gone)
        self.assertEqual(termios.tcgetattr(own), before)
        self.assertEqual(self.broker.wait(self.broker.attach(name, own)), gone)

    def test_several(self):
        """One that only looks, one that wants to be alone, and a client that vanishes."""
        name = self.program(b"cat")
        (looks, looked), (user, own) = self.terminal(10, 40), self.terminal()
        before = termios.tcgetattr(looked)
        attach = self.attached(name, looked, read_only=True)
        os.write(looks, b"nobody hears\r")
        self.broker.type(name, b"somebody\r")
        self.reads(looks, b"somebody")
        self.assertNotIn(b"nobody", self.broker.capture(name))
        self.assertEqual(self.broker.show(name)["size"], [24, 80])

        other = Broker()
        other.attach(name, own, exclusive=True)
        self.assertEqual(self.broker.wait(attach)["reason"], "replaced")
        self.reads(user, b"somebody")
        other.close()
        self.until(lambda: self.broker.show(name)["attached"] == 0)
        self.assertEqual(termios.tcgetattr(own), before)


class Stop(unittest.TestCase):
    """A broker of its own, started as the document says."""

    def setUp(self):
        """A broker of another label."""
        self.label = f"stop-{uuid.uuid4().hex[:8]}"
        self.broker = Broker(label=self.label, start=CLSESS)
        self.addCleanup(self.broker.close)

    def test_start_and_stop(self):
        """Started when it is missing; gone when a shared lock can be had."""
        pid = self.broker.status()["pid"]
        self.assertEqual(self.broker.list(), [])
        lock = open(f"{self.broker.state}/{self.label}/lock", encoding="utf-8")
        self.addCleanup(lock.close)
        self.assertEqual(json.load(lock)["pid"], pid)
        with self.assertRaises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self.broker.stop()
        fcntl.flock(lock, fcntl.LOCK_SH)
        with self.assertRaises(BrokerError) as caught:
            Broker(label=self.label)
        self.assertEqual(caught.exception.code, "broker_unreachable")
        # The lock is free a moment before the process is gone, or a zombie of its parent's.
        end = time.monotonic() + 10
        while lives(pid):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_closed_after_done(self):
        """After the reply to `stop` the connection is closed, and nothing more is carried out."""
        self.broker.stop()
        with self.assertRaises(BrokerError) as caught:
            self.broker.new("too-late", trust=True, wait=False)
        self.assertIn(caught.exception.code, ("broker_unreachable", "broker_stopping"))

    def test_asked_again(self):
        """What the broker that was killed has done is not done again, and it is still told."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        session = self.broker.new("work", cwd=directory.name, trust=True)["id"]
        turn, lock = new_id(), f"{self.broker.state}/{self.label}/lock"
        first = self.broker.persist("send", session=session, turn=turn, prompt="once", wait=True)
        agent, asked = self.broker.show(session)["pid"], int(time.time() * 1000)
        self.broker.restart(session)
        self.assertNotEqual(self.broker.show(session)["pid"], agent)
        agent = self.broker.show(session)["pid"]
        with open(lock, encoding="utf-8") as file:
            record = json.load(file)
        self.assertEqual(len(record["begun"]), 1)
        os.kill(record["pid"], signal.SIGKILL)
        again = self.broker.persist("send", session=session, turn=turn, prompt="once", wait=True)
        self.assertEqual(again, first)
        self.assertEqual(self.broker.show(session)["turns"], 1)
        self.broker.request("restart", first_asked=asked, session=session, start_timeout_ms=0)
        self.assertEqual(self.broker.show(session)["pid"], agent)
        with open(lock, encoding="utf-8") as file:
            self.assertEqual(len(json.load(file)["begun"]), 2)
        self.broker.stop()
        with open(lock, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            self.assertEqual(json.load(file)["begun"], [])


def tearDownModule():
    """Nothing stays behind."""
    try:
        broker = Broker()
    except BrokerError:
        return
    broker.stop()
    broker.close()


if __name__ == "__main__":
    unittest.main()
