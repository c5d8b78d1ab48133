"""A small client of the clsess broker, written from PROTOCOL.md alone; Python 3.11, no packages.

`Broker` is the class to use: one connection, for one thread. The rest is MessagePack and frames.
"""

import fcntl, io, json, os, pwd, re, select, struct, subprocess, time, uuid
import socket as sockets

PROTOCOL = 1
MAX_FRAME = 48 << 20
HELLO_TIMEOUT = 30.0
GRACE_MS = 10000


class BrokerError(Exception):
    """An error of the broker, or one of the client itself, with a code of the protocol."""

    def __init__(self, code="internal", message="", hint=None, **_unknown):
        super().__init__(f"{code}: {message}" + (f" ({hint})" if hint else ""))
        self.code, self.message, self.hint = code, message, hint


# The first bytes of values: how they go on, and the form of the number that follows.
_NAMED = {0xC0: None, 0xC2: False, 0xC3: True}
_SHORT = {"map": (0x80, 16), "array": (0x90, 16), "str": (0xA0, 32), "bin": (0, 0)}
_CODES = {0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
          0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
          0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
          **{0xCA + step: ("number", ">" + form) for step, form in enumerate("fdBHIQbhiq")}}


def _head(kind, length):
    """The first bytes of a str, bin, array or map."""
    if length < _SHORT[kind][1]:
        return bytes([_SHORT[kind][0] + length])
    return next(struct.pack(">B", code) + struct.pack(form, length)
                for code, (name, form) in _CODES.items()
                if name == kind and length < 256 ** struct.calcsize(form))


def pack(value):
    """Encode None, bool, int, float, str, bytes, list, tuple or dict."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):  # the shortest form is not asked for
        if -32 <= value < 128:
            return struct.pack(">b", value)
        return struct.pack(">BQ", 0xCF, value) if value > 0 else struct.pack(">Bq", 0xD3, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, (str, bytes)):
        kind, data = ("str", value.encode()) if isinstance(value, str) else ("bin", value)
        return _head(kind, len(data)) + data
    if isinstance(value, dict):
        items = (item for pair in value.items() for item in pair)
        return _head("map", len(value)) + b"".join(map(pack, items))
    return _head("array", len(value)) + b"".join(map(pack, value))


def unpack(data):
    """Decode exactly one value; anything else is a ValueError."""
    stream = io.BytesIO(data)

    def take(length):
        if len(raw := stream.read(length)) < length:
            raise ValueError("cut off")
        return raw

    def value():
        code = take(1)[0]
        if code < 0x80 or code >= 0xE0:
            return code if code < 0x80 else code - 256
        if code in _NAMED:
            return _NAMED[code]
        if code < 0xC0:
            kind = "map" if code < 0x90 else "array" if code < 0xA0 else "str"
            number = code - _SHORT[kind][0]
        elif code in _CODES:
            kind, form = _CODES[code]
            number = struct.unpack(form, take(struct.calcsize(form)))[0]
        else:
            raise ValueError(f"MessagePack code {code:#x} is not used here")
        return {"number": lambda: number, "bin": lambda: take(number),
                "str": lambda: take(number).decode(),
                "array": lambda: [value() for _ in range(number)],
                "map": lambda: {value(): value() for _ in range(number)}}[kind]()

    result = value()
    if stream.read(1):
        raise ValueError("bytes behind the value")
    return result


class Wire:
    """Frames on a connected socket."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, bytearray()

    def _fill(self, enough):
        """Read until so many bytes are in the buffer; ConnectionError at the end of the stream."""
        while len(self.buffer) < enough:
            if not (chunk := self.sock.recv(1 << 18)):
                raise ConnectionError("the broker has closed the connection")
            self.buffer += chunk

    def send_bytes(self, data):
        """Write, and read meanwhile, so that two full buffers cannot block each other."""
        data, poll = memoryview(data), select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        while data:
            ready = poll.poll()[0][1]
            if ready & ~select.POLLOUT:
                self._fill(len(self.buffer) + 1)
            if ready & select.POLLOUT:
                data = data[self.sock.send(data, sockets.MSG_DONTWAIT):]

    def send(self, message, descriptor=None):
        """Write one map as a frame, and a descriptor with it."""
        if len(body := pack(message)) > MAX_FRAME:
            raise BrokerError("bad_request", "the request is longer than 48 MiB")
        data = struct.pack(">I", len(body)) + body
        if descriptor is not None:
            data = data[sockets.send_fds(self.sock, [data], [descriptor]):]
        self.send_bytes(data)

    def receive(self, timeout=None):
        """Read one frame's map; TimeoutError if the broker is silent for so many seconds."""
        self.sock.settimeout(timeout)
        self._fill(4)
        if (length := struct.unpack_from(">I", self.buffer)[0]) > MAX_FRAME:
            raise ValueError("a frame of more than 48 MiB")
        self._fill(4 + length)
        body, self.buffer = bytes(self.buffer[4:4 + length]), self.buffer[4 + length:]
        return unpack(body)


def place(socket=None, label=None):
    """Where to look for the broker: label, state directory, socket, was it given by the user?
    And where systemd may listen for it."""
    def directory(name, *below):  # the path in a variable counts if it is absolute
        value = os.environ.get(name, "")
        return os.path.join(value, *below) if value.startswith("/") else None

    user = pwd.getpwuid(os.geteuid())
    label = label or os.environ.get("CLSESS_LABEL") or "default"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", label):
        raise BrokerError("bad_name", f"{label!r} is no label")
    home = directory("HOME") or user.pw_dir
    state = (directory("CLSESS_STATE_DIR") or directory("XDG_STATE_HOME", "clsess")
             or f"{home}/.local/state/clsess")
    run = f"/run/user/{user.pw_uid}"
    lingers = os.path.isdir(run) and os.path.exists(f"/var/lib/systemd/linger/{user.pw_name}")
    runtime = f"{run}/clsess" if lingers else f"/tmp/clsess-{user.pw_uid}"
    runtime = directory("CLSESS_RUNTIME_DIR") or runtime
    given = socket or os.environ.get("CLSESS_SOCKET")
    own = directory("XDG_RUNTIME_DIR")
    if not (own and os.path.isdir(own) and os.stat(own).st_uid == user.pw_uid):
        own = run
    named = given or directory("CLSESS_RUNTIME_DIR")
    systemd = None if named else f"{own}/clsess/{label}.sock"
    return label, state, given or f"{runtime}/{label}.sock", bool(given), systemd


class Broker:
    """A connection to the broker. `start` is the clsess binary that may start a missing one."""

    def __init__(self, socket=None, label=None, start=None):
        self.label, self.state, self.socket, self.given, self.systemd = place(socket, label)
        self.start = start
        self._connect()

    def _connect(self):
        """Find the broker, or start one."""
        self.next_id, self.callbacks, self.answers, self.ended = 1, {}, {}, None
        self.wire = self.hello = until = None
        start = self.start
        while not any(map(self._greet, self._places(bool(start)))):
            if not start or (until and time.monotonic() > until):
                raise BrokerError("broker_unreachable", f"no broker at {self.socket}")
            until = until or time.monotonic() + 10
            command = [start, "broker", "start", "--again", "--quiet", "--label", self.label]
            done = subprocess.run([*command, "--socket", self.socket], stdin=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True, check=False,
                                  env={**os.environ, "CLSESS_STATE_DIR": self.state})
            if done.returncode != 0:
                raise BrokerError("broker_unreachable", done.stderr.strip())
            time.sleep(0.02)

    def _places(self, may_start):
        """The socket of the rules, the one that the lock file names, then that of systemd, where
        whoever connects starts a broker."""
        asleep = not may_start and not self._is_held()
        places = [self.socket]
        try:
            with open(f"{self.state}/{self.label}/lock", encoding="utf-8") as file:
                places.append(str(json.load(file)["socket"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        if self.systemd:
            places.append(self.systemd)
        for path in dict.fromkeys(places):
            if not (asleep and path == self.systemd):
                yield path

    def _is_held(self):
        """Whether a broker lives: it holds the lock."""
        try:
            with open(f"{self.state}/{self.label}/lock", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def _greet(self, path):
        """Connect and exchange hellos; False if no broker of ours answers there."""
        wire = Wire(sockets.socket(sockets.AF_UNIX))
        try:
            wire.sock.connect(path)
            peer = wire.sock.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, 12)
            if struct.unpack("=iII", peer)[1] != os.geteuid():
                raise BrokerError("unsafe_path", f"the socket {path} is somebody else's")
            wire.send({"type": "hello", "protocol": PROTOCOL, "version": "python-0.1"})
            hello = wire.receive(HELLO_TIMEOUT)
            mine = f"{self.state}/{self.label}"
            recorded = path not in (self.socket, self.systemd)
            if self.given or recorded or hello.get("state_dir", mine) == mine:
                if hello.get("protocol") != PROTOCOL:
                    raise BrokerError("incompatible", f"the broker's is not protocol {PROTOCOL}")
                self.wire, self.hello = wire, hello
        except TimeoutError as error:
            raise BrokerError("broker_unreachable", "the broker does not answer") from error
        except OSError:
            pass  # nobody listens, or it is just ending
        finally:
            if self.wire is None:
                wire.sock.close()
        return self.wire is not None

    def submit(self, op, on_event=None, first_asked=None, descriptor=None, **fields):
        """Send a request; returns its id for `wait`. Fields that are None are left out."""
        number, self.next_id = self.next_id, self.next_id + 1
        self.callbacks[number] = on_event
        fields |= {"op": op, "events": True if on_event else None}
        request = {key: value for key, value in fields.items() if value is not None}
        envelope = {"type": "request", "id": number, "request": request}
        if first_asked is not None:
            envelope["first_asked"] = first_asked
        try:
            self.wire.send(envelope, descriptor)
        except OSError:
            pass  # the broker has closed: its last words are still to be read, by `wait`
        return number

    def wait(self, number):
        """The reply to a request, or its error raised; answers to others are kept."""
        while number not in self.answers:
            if self.ended:
                raise self.ended
            try:
                self._take(self.wire.receive())
            except (OSError, ValueError) as error:
                self.ended = BrokerError("broker_unreachable", f"connection lost: {error}")
        if isinstance(answer := self.answers.pop(number), BrokerError):
            raise answer
        return answer

    def _take(self, frame):
        """Sort one frame; what is not known or not waited for is ignored."""
        kind, number = frame.get("type"), frame.get("id")
        body = frame.get(kind)
        if kind == "error" and number == 0:
            self.ended = BrokerError(**body)
        elif kind == "event" and self.callbacks.get(number):
            self.callbacks[number](body)
        elif kind in ("reply", "error") and number in self.callbacks:
            del self.callbacks[number]
            self.answers[number] = BrokerError(**body) if kind == "error" else body

    def request(self, op, on_event=None, **fields):
        """Send a request and wait for its reply."""
        return self.wait(self.submit(op, on_event, **fields))

    def persist(self, op, **fields):
        """The same over the deaths of brokers; what one of them has done is not done twice. Name the
        session by its id: its name may be another one's by then."""
        now, more = int(time.time() * 1000), {}
        for _ in range(5):
            try:
                return self.request(op, **fields, **more)
            except BrokerError as error:
                if error.code != "broker_unreachable" or not self.ended:
                    raise
            more = {"again": True} if op == "send" else {"first_asked": now}
            self.close()
            time.sleep(os.getpid() % 16 * 0.002)  # not all who have lost it start one
            self._connect()
        raise BrokerError("broker_unreachable", "the broker dies over and over")

    def new(self, name=None, cwd=".", env=os.environb, wait=True, start_timeout_ms=0, **more):
        """Make a session; returns its row. `more`: settings, resume, trust, exists_ok, umask."""
        pairs = [[os.fsencode(key), os.fsencode(value)] for key, value in env.items()]
        more |= {"name": name, "cwd": os.path.abspath(cwd), "env": pairs, "wait": wait}
        return self.request("new", start_timeout_ms=start_timeout_ms, **more)["session"]

    def send(self, session, prompt, turn=None, on_event=None, wait=True, **more):
        """Run a prompt; returns the report, or `accepted`. `more`: timeout_ms, on_question, texts.

        `on_event` is called with each event. Choose `turn` yourself to be able to repeat it."""
        more |= {"session": session, "turn": turn or str(uuid.uuid4()), "prompt": prompt}
        return self.request("send", on_event, wait=wait, **more)

    def result(self, session, turn="-1", on_event=None, texts=None):
        """The report of a turn, when it has ended."""
        return self.request("result", on_event, session=session, turn=turn, texts=texts)

    def cancel(self, session, turn):
        """Take a queued turn back or interrupt a running one; returns its report."""
        return self.request("cancel", session=session, turn=turn)

    def list(self):
        """The rows of all sessions."""
        return self.request("list")["sessions"]

    def show(self, session):
        """Everything about one session."""
        return self.request("show", session=session)

    def restart(self, session, start_timeout_ms=0, **more):
        """Start a session's agent again; returns its row. `more`: fresh, env (pairs of bytes)."""
        more |= {"session": session, "start_timeout_ms": start_timeout_ms}
        return self.request("restart", **more)["session"]

    def kill(self, *sessions, everything=False, grace_ms=GRACE_MS):
        """End sessions; returns what became of each."""
        reply = self.request("kill", sessions=sessions, all=everything, grace_ms=grace_ms)
        return reply["sessions"]

    def attach(self, session, terminal, viewer=None, **more):
        """Show a session on this terminal, a descriptor that nobody else has; returns the request's
        id, for `wait`. `more`: read_only, exclusive, detach_keys, modes."""
        more |= {"session": session, "viewer": viewer or str(uuid.uuid4())}
        return self.submit("attach", descriptor=terminal, **more)

    def capture(self, session, ansi=False, history=0):
        """What is on a session's screen, as bytes."""
        return self.request("capture", session=session, ansi=ansi, history=history)["screen"]

    def type(self, session, text):
        """Type bytes into a session's terminal."""
        self.request("type", session=session, input=text)

    def keys(self, session, *keys):
        """Press keys in a session's terminal."""
        self.request("keys", session=session, keys=keys)

    def status(self):
        """About the broker itself."""
        return self.request("status")

    def stop(self, grace_ms=GRACE_MS):
        """Stop the broker and all agents."""
        self.request("stop", grace_ms=grace_ms)

    def close(self):
        """End the connection."""
        self.wire.sock.close()
