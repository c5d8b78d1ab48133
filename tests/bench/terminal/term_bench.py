#!/usr/bin/env python3
"""Side-by-side benchmark of terminal-session brokers (tmux, screen, dtach, abduco, shpool, zellij, clsess).

A copy of ../shared/bench/term_bench.py of November 2026, with three changes, each marked "ours": which processes are
clsess's own (they do not inherit the harness's environment), and what kill9 kills.

Standard library only; pyte (optional, any venv) is needed for the screen comparisons.
See README.md for how to add a contestant.
"""
import os, sys, time

# --------------------------------------------------------------------------------------
# The session's program ("agent"): tiny, started as `python -S -E -I term_bench.py _agent FIFO [WINCHFILE]`.
#  raw tty; bytes typed are only counted; commands come out of band over a FIFO:
#    E payload log      emit the file; log gets "<bytes> <monotonic>" records and "done"
#    N payload fps size emit `size` bytes of the payload `fps` times a second until the next command
#    S                  stop N
#  FIFO.st holds "<typed bytes> <rows> <cols>".
# --------------------------------------------------------------------------------------
def agent(fifo, winch=None):
    import select, tty, termios, fcntl, struct, signal
    try:
        tty.setraw(0)
    except termios.error:
        pass
    st = os.open(fifo + '.st', os.O_RDWR | os.O_CREAT, 0o600)
    typed, noise, off, nxt = 0, None, 0, 0.0

    def state(*_):
        try:
            r, c = struct.unpack('HHHH', fcntl.ioctl(0, termios.TIOCGWINSZ, b'\0' * 8))[:2]
        except OSError:
            r = c = 0
        os.pwrite(st, b'%-12d %-5d %-5d\n' % (typed, r, c), 0)

    def put(b):
        v = memoryview(b)
        while v:
            v = v[os.write(1, v):]
    flag = [False]

    def on_winch(*_):
        flag[0] = True
    signal.signal(signal.SIGWINCH, on_winch)
    rw, ww = os.pipe()
    os.set_blocking(ww, False)
    signal.set_wakeup_fd(ww, warn_on_full_buffer=False)
    f = os.open(fifo, os.O_RDWR)
    p = select.poll()
    for fd in (0, f, rw):
        p.register(fd, select.POLLIN)
    state()
    buf = b''
    while True:
        to = None if noise is None else max(0, int((nxt - time.monotonic()) * 1000))
        for fd, ev in p.poll(to):
            if fd == 0:
                d = os.read(0, 65536)
                if not d:
                    return
                typed += len(d)
                state()
            elif fd == rw:
                os.read(rw, 4096)
                state()
                if winch and flag[0]:
                    flag[0] = False
                    put(open(winch, 'rb').read())
            else:
                buf += os.read(f, 4096)
                while b'\n' in buf:
                    line, buf = buf.split(b'\n', 1)
                    a = line.decode().split()
                    if a[0] == 'E':
                        data = memoryview(open(a[1], 'rb').read())
                        lg = os.open(a[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                        os.write(lg, b'0 %f\n' % time.monotonic())
                        n, step = 0, 0
                        while n < len(data):
                            n += os.write(1, data[n:n + 65536])
                            if n - step >= 262144:
                                step = n
                                os.write(lg, b'%d %f\n' % (n, time.monotonic()))
                        os.write(lg, b'%d %f done\n' % (n, time.monotonic()))
                        os.close(lg)
                    elif a[0] == 'N':
                        d = open(a[1], 'rb').read()
                        noise = (d, 1.0 / float(a[2]), int(a[3]))
                        nxt = time.monotonic()
                    elif a[0] == 'S':
                        noise = None
        if noise and time.monotonic() >= nxt:
            d, dt, size = noise
            if off + size > len(d):
                off = 0
            put(d[off:off + size])
            off += size
            nxt += dt
            if nxt < time.monotonic() - 1:
                nxt = time.monotonic()


if __name__ == '__main__' and len(sys.argv) > 2 and sys.argv[1] == '_agent':
    agent(*sys.argv[2:4])
    sys.exit(0)

import argparse, fcntl, json, random, re, select, shlex, shutil, signal, socket, statistics, struct, tempfile, termios, threading, uuid

try:
    import pyte
    import wcwidth  # noqa: F401  (pyte's own dependency)
except ImportError:
    pyte = None

ROWS, COLS = 24, 80
TAG = 'TBENCH_' + uuid.uuid4().hex[:10]
HERE = os.path.abspath(__file__)
PY = os.path.realpath(sys.executable)
NOW = time.perf_counter


def log(*a):
    print('[%7.1f]' % (NOW() - T0), *a, file=sys.stderr, flush=True)


T0 = NOW()          # perf_counter and monotonic are the same clock on Linux


def q(xs, p):
    xs = sorted(xs)
    if not xs:
        return None
    return xs[min(len(xs) - 1, int(round(p * (len(xs) - 1))))]


def med(xs):
    return statistics.median(xs) if xs else None


# --------------------------------------------------------------------------------------
# processes
# --------------------------------------------------------------------------------------
def spawn(argv, env, fa=(), setsid=True):
    exe = shutil.which(argv[0], path=env.get('PATH')) or argv[0]
    return os.posix_spawn(exe, argv, env, file_actions=list(fa), setsid=setsid,
                          setsigdef=[signal.SIGPIPE, signal.SIGHUP, signal.SIGINT])


def wait_pid(pid, timeout):
    """exit status (shell style), or None when it is still running after the timeout"""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return 0
    try:
        po = select.poll()
        po.register(fd, select.POLLIN)
        if not po.poll(timeout * 1000):
            return None
    finally:
        os.close(fd)
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0


def kill_pid(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def run(argv, env, timeout=20, out=None):
    """-> (wall seconds, rc or None on timeout). stdin is /dev/null, output to `out` (a file)."""
    out = out or '/dev/null'
    fa = [(os.POSIX_SPAWN_OPEN, 0, '/dev/null', os.O_RDONLY, 0),
          (os.POSIX_SPAWN_OPEN, 1, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
          (os.POSIX_SPAWN_DUP2, 1, 2)]
    t = NOW()
    pid = spawn(argv, env, fa)
    rc = wait_pid(pid, timeout)
    dt = NOW() - t
    if rc is None:
        kill_pid(pid)
        wait_pid(pid, 2)
    return dt, rc


def proc_table():
    """pid -> (ppid, exe basename, tag) of everything this harness started (by its environment tag) and descendants"""
    t = {}
    for d in os.listdir('/proc'):
        if not d.isdigit():
            continue
        try:
            s = open('/proc/%s/stat' % d, 'rb').read()
            ppid = int(s[s.rindex(b')') + 2:].split()[1])
            exe = os.path.basename(os.readlink('/proc/%s/exe' % d).replace(' (deleted)', ''))
            env = open('/proc/%s/environ' % d, 'rb').read()
        except (OSError, ValueError):
            continue
        m = re.search(rb'(?:^|\0)' + TAG.encode() + rb'=([^\0]*)', env)
        t[int(d)] = (ppid, exe, m.group(1).decode() if m else None)
    return t


def pss(pid):
    r = {'Rss': 0, 'Pss': 0, 'Pss_Anon': 0}
    try:
        for line in open('/proc/%d/smaps_rollup' % pid):
            k = line.split(':')[0]
            if k in r:
                r[k] = int(line.split()[1])
    except OSError:
        pass
    return r


def sched(pid):
    """(cpu seconds at ns resolution, context switches) over the live threads"""
    ns = sw = 0
    try:
        for t in os.listdir('/proc/%d/task' % pid):
            try:
                ns += int(open('/proc/%d/task/%s/schedstat' % (pid, t)).read().split()[0])
                for line in open('/proc/%d/task/%s/status' % (pid, t)):
                    if line.startswith('voluntary_ctxt'):
                        sw += int(line.split()[1])
            except OSError:
                pass
    except OSError:
        pass
    return ns / 1e9, sw


# --------------------------------------------------------------------------------------
# a client in a PTY, with the harness as the terminal
# --------------------------------------------------------------------------------------
QUERY = re.compile(rb'\x1b\[(>?)0?c|\x1b\[6n|\x1b\[>0?q|\x1b\[\?u|\x1b\](1[01]);\?(?:\x07|\x1b\\)|\x1b\[(1[468])t|\x1b\[\?(\d+)\$p')


class Client:
    def __init__(self, argv, env, rows=ROWS, cols=COLS):
        self.m, s = os.openpty()
        fcntl.ioctl(self.m, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, cols * 8, rows * 16))
        name = os.ttyname(s)
        self.rows, self.cols = rows, cols
        fa = [(os.POSIX_SPAWN_OPEN, 0, name, os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
        self.t0 = NOW()
        self.pid = spawn(argv, env, fa)
        os.close(s)
        self.po = select.poll()
        self.po.register(self.m, select.POLLIN)
        self.n = 0
        self.eof = False
        self.answer = True
        self.rc = None

    def read(self, timeout):
        """bytes, or b'' on timeout/EOF"""
        if self.eof or not self.po.poll(timeout * 1000):
            return b''
        try:
            d = os.read(self.m, 1 << 18)
        except OSError:
            d = b''
        if not d:
            self.eof = True
        self.n += len(d)
        if self.answer and d and b'\x1b' in d:
            self.respond(d)
        return d

    def respond(self, d):
        for m in QUERY.finditer(d):
            g = m.group(0)
            if g.endswith(b'c'):
                r = b'\x1b[>41;360;0c' if m.group(1) else b'\x1b[?62;22c'
            elif g == b'\x1b[6n':
                r = b'\x1b[1;1R'
            elif g.endswith(b'q'):
                r = b'\x1bP>|bench(1)\x1b\\'
            elif g == b'\x1b[?u':
                r = b'\x1b[?0u'
            elif m.group(2):
                r = b'\x1b]' + m.group(2) + b';rgb:0000/0000/0000\x1b\\'
            elif m.group(3):
                r = {b'14': b'\x1b[4;%d;%dt' % (self.rows * 16, self.cols * 8), b'16': b'\x1b[6;16;8t',
                     b'18': b'\x1b[8;%d;%dt' % (self.rows, self.cols)}[m.group(3)]
            else:
                r = b'\x1b[?' + m.group(4) + b';0$y'
            self.write(r)

    def write(self, b):
        try:
            os.write(self.m, b)
        except OSError:
            self.eof = True

    def drain(self, quiet=0.1, most=5.0, first=None):
        """read until nothing came for `quiet` seconds (`first`: wait up to that long for the first byte)"""
        out, end = [], NOW() + most
        while NOW() < end:
            d = self.read(quiet if out or not first else first)
            if not d:
                break
            out.append(d)
        return b''.join(out)

    def close(self, timeout=2.0):
        """the terminal goes away (SIGHUP); wait for the client to exit"""
        if self.m is not None:
            os.close(self.m)
            self.m = None
            self.eof = True
        if self.rc is None:
            self.rc = wait_pid(self.pid, timeout)
            if self.rc is None:
                kill_pid(self.pid)
                wait_pid(self.pid, 2)
                self.rc = 'killed'
        return self.rc


# --------------------------------------------------------------------------------------
# contestants
# --------------------------------------------------------------------------------------
class Contestant:
    name = ''
    exes = ()            # basenames of the broker's own processes (servers and clients); all others are session programs
    multi = True         # several clients may attach to one session
    repaints = True      # the broker itself redraws the screen for a new client
    maxpop = 200         # most sessions worth creating in the population metrics
    pause = 0.05         # s to wait after a client went away before attaching again
    server_per_session = False

    def __init__(self, root):
        self.dir = os.path.join(root, self.name)
        self.n = 0

    def fresh(self):
        """a fresh, empty state directory"""
        self.n += 1
        self.d = os.path.join(self.dir, str(self.n))
        os.makedirs(self.d, mode=0o700)
        os.chmod(self.d, 0o700)
        for x in ('home', 'run'):
            os.mkdir(os.path.join(self.d, x), 0o700)
        self.argvs = {}
        self.conf()

    def env(self):
        e = {k: os.environ[k] for k in ('PATH', 'USER', 'LOGNAME', 'SHELL') if k in os.environ}
        e.update(TERM='xterm-256color', LANG='C.UTF-8', LC_ALL='C.UTF-8', COLORTERM='truecolor',
                 HOME=self.d + '/home', XDG_RUNTIME_DIR=self.d + '/run', XDG_CONFIG_HOME=self.d + '/home/.config',
                 XDG_DATA_HOME=self.d + '/home/.local', XDG_CACHE_HOME=self.d + '/home/.cache', TMPDIR=self.d)
        e[TAG] = self.name
        e.update(self.extra_env())
        return e

    def write(self, fn, text):
        p = os.path.join(self.d, fn)
        with open(p, 'w') as f:
            f.write(text)
        return p

    # ---- what a contestant overrides
    def binary(self):
        return shutil.which(self.exes[0])

    def extra_env(self):
        return {}

    def conf(self):
        pass

    def start(self):
        pass

    def new(self, name, argv):
        raise NotImplementedError

    def attach(self, name):
        raise NotImplementedError

    def ls(self):
        return None

    def kill(self, name):
        return None

    def version(self):
        return ''

    # ---- shared
    def create(self, name, argv, timeout=20):
        return run(self.new(name, argv), self.env(), timeout, self.d + '/out.txt')

    def client(self, name, **kw):
        return Client(self.attach(name), self.env(), **kw)

    def procs(self):
        """-> (broker pids, other pids) that belong to this contestant"""
        t = proc_table()
        mine = {p for p, (_, _, tag) in t.items() if tag == self.name}
        while True:
            more = {p for p, (pp, _, _) in t.items() if pp in mine and p not in mine}
            if not more:
                break
            mine |= more
        b = [p for p in mine if t[p][1] in self.exes]
        return b, [p for p in mine if t[p][1] not in self.exes]

    def servers(self):
        """the processes that kill9 kills"""
        return self.procs()[0]

    def memory(self):
        r = {'procs': 0, 'rss_kib': 0, 'pss_kib': 0, 'anon_kib': 0}
        for p in self.procs()[0]:
            m = pss(p)
            r['procs'] += 1
            r['rss_kib'] += m['Rss']
            r['pss_kib'] += m['Pss']
            r['anon_kib'] += m['Pss_Anon']
        return r

    def cpu(self):
        return sum(sched(p)[0] for p in self.procs()[0])

    def stop(self):
        for _ in range(3):
            b, o = self.procs()
            if not b and not o:
                break
            for p in b + o:
                kill_pid(p)
            time.sleep(0.05)
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break


class Raw(Contestant):
    """the physical limit: the session's program directly in the client's PTY"""
    name, exes, repaints, multi, maxpop = 'raw', (), False, False, 0

    def binary(self):
        return '/'

    def create(self, name, argv, timeout=20):
        self.argvs[name] = argv
        return run(['true'], self.env())

    def attach(self, name):
        return self.argvs[name]

    def version(self):
        return 'Linux ' + os.uname().release


class Dtach(Contestant):
    name, exes, repaints, server_per_session = 'dtach', ('dtach',), False, True

    def new(self, name, argv):
        return ['dtach', '-n', self.d + '/run/' + name, '-E', '-z'] + argv

    def attach(self, name):
        return ['dtach', '-a', self.d + '/run/' + name, '-E', '-z', '-r', 'winch']

    def version(self):
        return cmd_out(['dtach', '--help'], self).split('\n')[0].strip()


class Abduco(Contestant):
    name, exes, repaints, server_per_session = 'abduco', ('abduco',), False, True

    def extra_env(self):
        return {'ABDUCO_SOCKET_DIR': self.d + '/run'}

    def new(self, name, argv):
        return ['abduco', '-n', name] + argv

    def attach(self, name):
        return ['abduco', '-a', name]

    def ls(self):
        return ['abduco']

    def version(self):
        return cmd_out(['abduco', '-v'], self).strip()


class Screen(Contestant):
    name, exes, server_per_session = 'screen', ('screen',), True

    def conf(self):
        self.c = self.write('screenrc', 'startup_message off\ndefscrollback 10000\naltscreen on\nhardstatus off\nvbell off\n'
                            'defutf8 on\ndefbce on\nautodetach on\nmsgwait 0\nmsgminwait 0\ndeflogin off\nterm screen-256color\n')

    def extra_env(self):
        return {'SCREENDIR': self.d + '/run'}

    def new(self, name, argv):
        return ['screen', '-c', self.c, '-U', '-dmS', name] + argv

    def attach(self, name):
        return ['screen', '-c', self.c, '-U', '-x', name]

    def ls(self):
        return ['screen', '-ls']

    def kill(self, name):
        return ['screen', '-S', name, '-X', 'quit']

    def version(self):
        return cmd_out(['screen', '--version'], self).strip()


class Tmux(Contestant):
    name, exes = 'tmux', ('tmux',)

    def conf(self):
        self.b = ['tmux', '-u', '-S', self.d + '/run/s', '-f', self.write(
            'conf', 'set -g status off\nset -g history-limit 10000\nset -s escape-time 0\nset -g prefix None\nset -s exit-empty off\n'
            'set -g default-terminal tmux-256color\nset -s focus-events on\nset -g set-titles on\nset -g set-titles-string "#T"\n'
            'set -as terminal-features ",xterm-256color:RGB:usstyle:cstyle:title:focus:extkeys:strikethrough"\n'
            'set -s extended-keys on\nset -g window-size latest\n')]

    def start(self):
        run(self.b + ['start-server'], self.env())

    def new(self, name, argv):
        return self.b + ['new-session', '-d', '-s', name, '-x', str(COLS), '-y', str(ROWS)] + argv

    def attach(self, name):
        return self.b + ['attach-session', '-t', '=' + name]

    def ls(self):
        return self.b + ['list-sessions']

    def kill(self, name):
        return self.b + ['kill-session', '-t', '=' + name]

    def version(self):
        return cmd_out(['tmux', '-V'], self).strip()


class Shpool(Contestant):
    name, exes, multi, pause = 'shpool', ('shpool',), False, 0.7     # a client's place is only free again ~0.5 s after it left

    def conf(self):
        c = self.write('config.toml', 'session_restore_mode = "screen"\noutput_spool_lines = 10000\nprompt_prefix = ""\n'
                       'nosymlink_ssh_auth_sock = true\nnoread_etc_environment = true\nforward_env = ["PATH", "LC_ALL", "%s"]\n' % TAG)
        self.b = ['shpool', '-s', self.d + '/run/s', '-c', c, '-D']

    def start(self):
        fa = [(os.POSIX_SPAWN_OPEN, 0, '/dev/null', os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, self.d + '/daemon.log', os.O_WRONLY | os.O_CREAT, 0o600),
              (os.POSIX_SPAWN_DUP2, 1, 2)]
        spawn(self.b + ['daemon'], self.env(), fa)
        wait_for(lambda: connects(self.d + '/run/s'), 5)

    def new(self, name, argv):
        return self.b + ['attach', '-b', '-c', shlex.join(argv), name]

    def attach(self, name):
        return self.b + ['attach', name]

    def ls(self):
        return self.b + ['list']

    def kill(self, name):
        return self.b + ['kill', name]

    def version(self):
        return cmd_out(['shpool', 'version'], self).strip()


class Zellij(Contestant):
    name, exes, maxpop, pause = 'zellij', ('zellij',), 10, 0.2

    def conf(self):
        self.write('config.kdl', 'keybinds clear-defaults=true {\n}\nshow_startup_tips false\nshow_release_notes false\nsimplified_ui true\n'
                   'pane_frames false\nsession_serialization false\nscroll_buffer_size 10000\ndefault_mode "locked"\n'
                   'support_kitty_keyboard_protocol true\n')
        self.b = ['zellij', '--config-dir', self.d, '--data-dir', self.d + '/home']

    def extra_env(self):
        return {'ZELLIJ_SOCKET_DIR': self.d + '/run', 'ZELLIJ_CONFIG_DIR': self.d}

    def new(self, name, argv):
        f = self.write('layout-%s.kdl' % name, 'layout {\n  pane command=%s close_on_exit=true {\n    args %s\n  }\n}\n' % (
            json.dumps(argv[0]), ' '.join(json.dumps(a) for a in argv[1:]) or '""'))
        if len(argv) == 1:
            f = self.write('layout-%s.kdl' % name, 'layout {\n  pane command=%s close_on_exit=true\n}\n' % json.dumps(argv[0]))
        return self.b + ['attach', '--create-background', name, 'options', '--default-layout', f]

    def attach(self, name):
        return self.b + ['attach', name]

    def ls(self):
        return self.b + ['list-sessions', '--short', '--no-formatting']

    def kill(self, name):
        return self.b + ['kill-session', name]

    def version(self):
        return cmd_out(['zellij', '--version'], self).strip()


class Clsess(Contestant):
    """skipped unless CLSESS_BIN names the program; the command line is that of cli.md"""
    name = 'clsess'

    def __init__(self, root):
        super().__init__(root)
        self.bin = os.environ.get('CLSESS_BIN', '')
        self.exes = (os.path.basename(os.path.realpath(self.bin)),) if self.bin else ('clsess',)

    def binary(self):
        return self.bin if self.bin and os.access(self.bin, os.X_OK) else None

    def extra_env(self):
        return {'CLSESS_RUNTIME_DIR': self.d + '/run', 'CLSESS_STATE_DIR': self.d + '/state', 'CLSESS_CONFIG': self.c}

    def conf(self):
        self.c = self.write('config.toml', '[defaults]\nscrollback = 10000\n')

    def new(self, name, argv):
        return [self.bin, 'new', name, '--'] + argv

    def attach(self, name):
        return [self.bin, 'attach', name]

    def ls(self):
        return [self.bin, 'ls']

    def kill(self, name):
        return [self.bin, 'kill', name]

    def version(self):
        return cmd_out([self.bin, '--version'], self).strip()

    # ours: the broker and the holders have no environment of their caller's, and so no tag. In a run of
    # this harness every process of this very file is ours: broker, holders, clients.
    def procs(self):
        t = proc_table()
        real = os.path.realpath(self.bin)

        def is_ours(p):
            try:
                return os.readlink('/proc/%d/exe' % p) == real
            except OSError:
                return False
        b = {p for p in t if is_ours(p)}
        mine = set(b)
        while True:
            more = {p for p, (pp, _, _) in t.items() if pp in mine and p not in mine}
            if not more:
                break
            mine |= more
        return list(b), [p for p in mine if p not in b]

    # ours: what is killed is the broker; a holder belongs to its session, as the session's program does
    def servers(self):
        try:
            return [json.load(open(self.d + '/state/default/lock'))['pid']]
        except (OSError, ValueError):
            return []


ALL = [Raw, Dtach, Abduco, Screen, Tmux, Shpool, Zellij, Clsess]


def cmd_out(argv, c):
    c.fresh()
    f = c.d + '/v.txt'
    run(argv, c.env(), 5, f)
    return open(f, errors='replace').read()


def wait_for(fn, timeout, step=0.01):
    end = NOW() + timeout
    while NOW() < end:
        if fn():
            return True
        time.sleep(step)
    return bool(fn())


def connects(path):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(path)
        return True
    except OSError:
        return False
    finally:
        s.close()


# --------------------------------------------------------------------------------------
# payloads.  '@' and '~' occur in no payload: markers are made of them.
# --------------------------------------------------------------------------------------
def plain_payload(n, seed=1):
    r = random.Random(seed)
    words = ['alpha', 'beta', 'gamma', 'delta', 'tokio', 'session', 'broker', 'render', 'fn', 'let', 'mut', 'return', '0x1f', 'ok', 'error:', 'warning:']
    lines = []
    for i in range(2000):
        s = ' '.join(r.choice(words) for _ in range(14))
        lines.append(s[:66])
    out, size, i = [], 0, 0
    while size < n:
        b = b'%08d %s\r\n' % (i, lines[i % 2000].encode())
        out.append(b)
        size += len(b)
        i += 1
    return b''.join(out)


def tui_frame(r):
    o = ['\x1b[?25l\x1b[H']
    for y in range(1, ROWS + 1):
        o.append('\x1b[%d;1H' % y)
        x = 0
        while x < 70:
            k = r.random()
            if k < .5:
                o.append('\x1b[38;2;%d;%d;%dm' % (r.randrange(256), r.randrange(256), r.randrange(256)))
            elif k < .7:
                o.append('\x1b[1;38;5;%dm' % r.randrange(256))
            elif k < .85:
                o.append('\x1b[48;2;%d;%d;%dm' % (r.randrange(256), r.randrange(256), r.randrange(256)))
            else:
                o.append('\x1b[0m')
            w = r.choice(['│ src/main.rs', '─' * 9, 'fn render(', 'Thinking…', '▓▒░', 'tokens: %d' % r.randrange(99999), '✔ done', '漢字', 'let x = 1;'])
            o.append(w)
            x += len(w)
        o.append('\x1b[0m\x1b[K')
    if r.random() < .3:
        o.append('\x1b[5;20r\x1b[20;1H\n\n\x1b[r')
    o.append('\x1b[%d;%dH\x1b[?25h' % (r.randrange(1, 24), r.randrange(1, 80)))
    return ''.join(o).encode()


def tui_payload(n, seed=2):
    r = random.Random(seed)
    frames = [tui_frame(r) for _ in range(200)]
    out, size, i = [], 0, 0
    while size < n:
        out.append(frames[i % 200])
        size += len(out[-1])
        i += 1
    return b''.join(out)


class Payloads:
    def __init__(self, root):
        self.root = root
        self.k = 0
        self.cache = {}

    def file(self, data):
        self.k += 1
        p = os.path.join(self.root, 'p%d' % self.k)
        with open(p, 'wb') as f:
            f.write(data)
        return p

    def marked(self, kind, n):
        """-> (path, marker, bytes): payload, then a cleared screen with a unique marker"""
        if (kind, n) not in self.cache:
            self.cache[kind, n] = (plain_payload if kind == 'plain' else tui_payload)(n)
        self.k += 1
        mark = b'@~%d~@' % (1000 + self.k)
        data = self.cache[kind, n] + b'\x1b[0m\x1b[r\x1b[2J\x1b[12;30H' + mark
        return self.file(data), mark, len(data)


# --------------------------------------------------------------------------------------
# sessions with the agent
# --------------------------------------------------------------------------------------
class Session:
    """an agent session of a contestant, with an attached client on demand"""

    def __init__(self, c, name, winch=None):
        self.c, self.name = c, name
        self.fifo = c.d + '/' + name + '.f'
        os.mkfifo(self.fifo)
        self.fd = os.open(self.fifo, os.O_RDWR)
        self.cl = None
        argv = [PY, '-S', '-E', '-I', HERE, '_agent', self.fifo] + ([winch] if winch else [])
        self.dt, self.rc = c.create(name, argv)
        time.sleep(c.pause)

    def typed(self):
        try:
            return int(open(self.fifo + '.st').read().split()[0])
        except (OSError, IndexError, ValueError):
            return -1

    def size(self):
        try:
            return tuple(int(x) for x in open(self.fifo + '.st').read().split()[1:3])
        except (OSError, ValueError):
            return None

    def attach(self, **kw):
        """attach and make sure keys reach the program"""
        t = self.typed()
        end = NOW() + 10
        for attempt in range(4):            # some brokers' `new` returns before the session can be attached
            self.cl = cl = self.c.client(self.name, **kw)
            self.first = []
            n = -1
            while NOW() < end and not cl.eof:
                d = cl.read(0.05)
                self.first.append(d)
                if not d:
                    n = self.typed()
                    if n >= 0 and n > max(t, 0):
                        break
                    cl.write(b'k')
            if not cl.eof and n > max(t, 0):
                break
            cl.close()
            time.sleep(0.5)
        else:
            raise RuntimeError('%s: cannot attach (%r)' % (self.c.name, b''.join(self.first)[-200:]))
        if attempt:
            log(self.c.name, 'needed', attempt + 1, 'attempts to attach')
        self.first.append(cl.drain(0.15))
        self.first = b''.join(self.first)
        return cl

    def send(self, cmd):
        os.write(self.fd, cmd.encode() + b'\n')

    def emit(self, path):
        self.log = path + '.%s.log' % self.name + str(time.monotonic_ns())
        self.send('E %s %s' % (path, self.log))

    def progress(self):
        """-> (bytes written so far, time of that record, done)"""
        try:
            ls = open(self.log).read().strip().split('\n')
            f = ls[-1].split()
            return int(f[0]), float(f[1]), len(f) > 2, float(ls[0].split()[1])
        except (OSError, ValueError, IndexError, AttributeError):
            return 0, 0.0, False, 0.0

    def close(self):
        if self.cl:
            self.cl.close()
            self.cl = None
        os.close(self.fd)


def read_until(cl, mark, timeout):
    """-> (seconds or None, bytes received)"""
    t0, n, tail = NOW(), 0, b''
    end = t0 + timeout
    L = len(mark) - 1
    while NOW() < end and not cl.eof:
        d = cl.read(min(1.0, end - NOW()) if end > NOW() else 0)
        if d:
            n += len(d)
            if mark in tail + d:
                return NOW() - t0, n
            tail = (tail + d)[-L:]
    return None, n


# --------------------------------------------------------------------------------------
# metrics.  Each takes (contestants, opts, payloads) and returns {contestant: {...}}
# --------------------------------------------------------------------------------------
KEYS = b'&{}`^_|'


def one_echo(cl, ch, timeout=2.0):
    """one keystroke -> seconds until it is on the client's output"""
    m, po = cl.m, cl.po
    while po.poll(0):
        if not cl.read(0):
            break
    t = NOW()
    os.write(m, ch)
    end = t + timeout
    while True:
        if not po.poll(max(0, (end - NOW()) * 1000)):
            return None
        d = cl.read(0)
        if ch in d:
            return NOW() - t
        if cl.eof:
            return None


def echo_setup(c):
    rc = c.create('echo', ['sh', '-c', 'stty raw -echo; exec cat'])
    time.sleep(c.pause)
    cl = c.client('echo')
    end = NOW() + 10
    while NOW() < end:
        cl.drain(0.05, 0.5)
        if one_echo(cl, b'&', 0.3) is not None:
            break
        if cl.eof:
            cl.close()
            time.sleep(0.5)
            cl = c.client('echo')
    else:
        raise RuntimeError('%s: no echo (create: %r)' % (c.name, rc))
    cl.drain(0.2, 1.0)
    return cl


def echo_rounds(cls, total, block, budget, gap=0.001):
    res = {k: [] for k in cls}
    lost = {k: 0 for k in cls}
    spent = {k: 0.0 for k in cls}
    i = 0
    while any(len(res[k]) < total and spent[k] < budget for k in cls):
        for k, cl in cls.items():
            if len(res[k]) >= total or spent[k] >= budget:
                continue
            t = NOW()
            for _ in range(block):
                i += 1
                v = one_echo(cl, KEYS[i % len(KEYS):][:1])
                if v is None:
                    lost[k] += 1
                    if cl.eof or lost[k] > 20:
                        spent[k] = budget + 1
                        break
                else:
                    res[k].append(v)
                time.sleep(gap + (i % 7) * 0.0001)
            spent[k] += NOW() - t
    return res, lost


def m_echo(cs, o, pl):
    cls, out = {}, {}
    for c in cs:
        c.fresh(); c.start()
        try:
            cls[c] = echo_setup(c)
        except Exception as e:
            out[c.name] = {'error': str(e)}
    res, lost = echo_rounds(cls, o.n(2000), 100, 30)
    for c in cls:
        cls[c].close()
        v = [x * 1e6 for x in res[c]]
        out[c.name] = {'n': len(v), 'lost': lost[c], 'p50_us': q(v, .5), 'p90_us': q(v, .9), 'p99_us': q(v, .99), 'min_us': min(v) if v else None}
    return out


def m_echo_busy(cs, o, pl):
    """keystroke echo while 8 other, detached sessions of the same broker each draw 60 TUI frames/s; one contestant at a time, in turns"""
    out, acc = {}, {}
    noise = pl.file(tui_payload(1 << 20))
    for rnd in range(o.reps(2)):
        for c in cs:
            if c.name == 'raw':
                continue
            c.fresh(); c.start()
            try:
                cl = echo_setup(c)
                ss = [Session(c, 'n%d' % i) for i in range(8)]
                wait_for(lambda: all(s.typed() >= 0 for s in ss), 10)
                for s in ss:
                    s.send('N %s 60 5000' % noise)
                time.sleep(0.3)
                c0, t0 = c.cpu(), NOW()
                res, lost = echo_rounds({c: cl}, o.n(400), 100, 10)
                cpu = (c.cpu() - c0) / (NOW() - t0)
                a = acc.setdefault(c.name, {'v': [], 'lost': 0, 'cpu': []})
                a['v'] += res[c]; a['lost'] += lost[c]; a['cpu'].append(cpu)
                cl.close()
                for s in ss:
                    s.close()
            except Exception as e:
                out[c.name] = {'error': str(e)}
            c.stop()
    for k, a in acc.items():
        v = [x * 1e6 for x in a['v']]
        out[k] = {'n': len(v), 'lost': a['lost'], 'p50_us': q(v, .5), 'p99_us': q(v, .99), 'broker_cores': med(a['cpu'])}
    return out


def m_throughput(cs, o, pl):
    out = {}
    ss = {}
    for c in cs:
        c.fresh(); c.start()
        try:
            ss[c] = Session(c, 't')
            ss[c].attach()
        except Exception as e:
            out[c.name] = {'error': str(e)}
            ss.pop(c, None)
    sizes = {'plain': o.n(16 << 20), 'tui': o.n(8 << 20)}
    acc = {}
    for kind in ('plain', 'tui'):
        for rep in range(o.reps(7)):
            for c, s in ss.items():
                a = acc.setdefault((c, kind), {'t': [], 'rx': [], 'cpu': [], 'prog': [], 'fail': 0})
                if a['fail']:
                    continue
                path, mark, n = pl.marked(kind, sizes[kind])
                s.cl.drain(0.05)
                s.cl.answer = False
                c0 = c.cpu()
                s.emit(path)
                t, rx = read_until(s.cl, mark, 40)
                if t is None:
                    a['fail'] += 1
                else:
                    at = NOW()
                    a['rx'].append(rx / n); a['cpu'].append((c.cpu() - c0) / (n / 1e6))
                    wait_for(lambda: s.progress()[2], 5)
                    pr = s.progress()
                    a['t'].append(at - pr[3])
                    a['prog'].append(pr[1] - pr[3])
                os.unlink(path)
    # detached: how fast does the broker drain a session nobody looks at?
    for c, s in ss.items():
        if c.name == 'raw':
            continue
        s.cl.close(); s.cl = None
        time.sleep(c.pause)
    for rep in range(o.reps(7)):
        for c, s in ss.items():
            if c.name == 'raw':
                continue
            a = acc.setdefault((c, 'det'), {'t': [], 'fail': 0})
            if a['fail']:
                continue
            path, mark, n = pl.marked('tui', sizes['tui'])
            s.emit(path)
            if wait_for(lambda: s.progress()[2], 15, 0.005):
                pr = s.progress()
                a['t'].append(pr[1] - pr[3])
            else:
                a['fail'] += 1
                a['stuck_at'] = s.progress()[0]
    for c, s in ss.items():
        r = out[c.name] = {}
        for kind in ('plain', 'tui'):
            a = acc[c, kind]
            mb = sizes[kind] / 1e6
            r[kind] = {'mb': mb, 'mb_s': mb / med(a['t']) if a['t'] else None, 's': med(a['t']), 'rx_ratio': med(a['rx']),
                       'broker_cpu_ms_per_mb': med(a['cpu']) * 1000 if a['cpu'] else None, 'program_s': med(a['prog']), 'failed': a['fail'], 'all_s': a['t']}
        a = acc.get((c, 'det'))
        if a:
            r['detached_tui'] = {'mb_s': sizes['tui'] / 1e6 / med(a['t']) if a['t'] else None, 'stalled': bool(a['fail']), 'stuck_at': a.get('stuck_at')}
        s.close()
    return out


def m_slow(cs, o, pl):
    out = {}
    n = o.n(50 << 20)
    data = plain_payload(n)
    tail = b''.join(b'\r\nfinal line %02d ' % i + b'x' * (i * 2) for i in range(ROWS * 2))
    mark = b'@~SLOW~@'
    data += tail + b'\r\n' + mark
    path = pl.file(data)
    ref = screen_of(data[-20000:]) if pyte else None
    for c in cs:
        c.fresh(); c.start()
        r = out[c.name] = {}
        try:
            s = Session(c, 's'); s.attach()
            s.cl.drain(0.1)
            if c.name == 'raw':
                ref = screen_of(data[-20000:]) if pyte else None
            m0 = c.memory()
            s.emit(path)
            t0, peak, trace = NOW(), m0['rss_kib'], []
            bp = c.procs()[0]
            while NOW() - t0 < o.slow_s:
                time.sleep(0.1)
                peak = max(peak, sum(pss(p)['Rss'] for p in bp))
                trace.append((NOW() - t0, s.progress()[0]))
            got, _, done, _ = s.progress()
            late = [b for t, b in trace if t > o.slow_s - 2]
            r.update(program_bytes=got, program_done=done, program_stalled=(not done and late[-1] - late[0] < n // 100),
                     program_s=(s.progress()[1] - s.progress()[3]) if done else None,
                     rss0_kib=m0['rss_kib'], rss_peak_kib=peak)
            rx, t0, at, seen = bytearray(), NOW(), None, 0
            end = t0 + 25
            while NOW() < end:
                d = s.cl.read(1.0)
                if not d:
                    if s.cl.eof or at is not None or s.progress()[2]:
                        break
                    continue
                seen += len(d)
                rx += d
                if at is None and mark in rx[-len(d) - 20:]:
                    at = NOW() - t0
                if len(rx) > 4 << 20:
                    del rx[:-(1 << 20)]
            r.update(resume_to_marker_s=at, rx_bytes=seen, client_alive=not s.cl.eof, rss_after_kib=c.memory()['rss_kib'])
            wait_for(lambda: s.progress()[2], 5)
            r['program_done_after'] = s.progress()[2]
            if pyte:
                sc = screen_of(bytes(rx[-400000:]))
                same = [a == b for a, b in zip(sc.display, ref.display)]
                r['final_screen_rows_right'] = '%d/%d' % (sum(same), ROWS)
            s.close()
        except Exception as e:
            r['error'] = str(e)
        c.stop()
    return out


def attach_fill(pl):
    hist = plain_payload(75 * 10000)
    toks = [b'@%02dROW%02d~' % (i, i * 7 % 100) for i in range(ROWS)]
    body = b'\x1b[2J\x1b[H' + b'\r\n'.join(b'\x1b[3%dm' % (i % 7 + 1) + t + b'\x1b[0m ' + b'text ' * 12 for i, t in enumerate(toks))
    return pl.file(hist + body), pl.file(body), toks


def time_attach(c, name, toks, timeout):
    cl = c.client(name)
    buf, first, full = b'', None, None
    end = cl.t0 + timeout
    left = set(toks)
    while left and NOW() < end and not cl.eof:
        d = cl.read(max(0.0, end - NOW()))
        if d:
            if first is None:
                first = NOW() - cl.t0
            buf += d
            left = {t for t in left if t not in buf}
            if not left:
                full = NOW() - cl.t0
    n = len(buf) + len(cl.drain(0.05, 0.5)) if full else len(buf)
    cl.close()
    time.sleep(c.pause)
    return first, full, n


def m_attach(cs, o, pl):
    out, acc, ss = {}, {}, {}
    fill, body, toks = attach_fill(pl)
    for c in cs:
        c.fresh(); c.start()
        if c.name == 'raw':
            c.create('a', ['cat', body])
            continue
        try:
            for nm, w in (('a', None), ('w', body)):
                s = Session(c, nm, w)
                s.attach()
                s.emit(fill)
                end = NOW() + 20
                while NOW() < end and not s.progress()[2]:
                    s.cl.read(0.05)
                s.cl.drain(0.3)
                s.cl.close(); s.cl = None
                ss[c, nm] = s
                time.sleep(c.pause)
        except Exception as e:
            out[c.name] = {'error': str(e)}
    time.sleep(0.3)
    for rep in range(o.reps(20)):
        for c in cs:
            if c.name in out:
                continue
            for nm in ('a', 'w'):
                if c.name == 'raw' and nm == 'w':
                    continue
                if nm == 'a' and c.name != 'raw' and not c.repaints and rep >= 2:
                    continue
                if nm == 'w' and c.repaints and rep >= 5:
                    continue
                acc.setdefault((c, nm), []).append(time_attach(c, nm, toks, 2.0 if c.repaints or nm == 'w' else 0.7))
    for c in cs:
        if c.name in out:
            continue
        r = out[c.name] = {}
        for nm, lab in (('a', 'static'), ('w', 'winch_program')):
            v = acc.get((c, nm))
            if v:
                full = [x[1] * 1e3 for x in v if x[1] is not None]
                r[lab] = {'n': len(v), 'repainted': len(full), 'full_ms': med(full), 'p99_ms': q(full, .99),
                          'first_byte_ms': (med([x[0] * 1e3 for x in v if x[0] is not None])), 'bytes': med([x[2] for x in v])}
    for s in ss.values():
        s.close()
    return out


def m_population(cs, o, pl):
    """create / list / memory / idle CPU with growing numbers of `cat` sessions, all contestants alive at once"""
    out = {}
    cs = list(cs)
    for c in cs:
        c.fresh(); c.start()
        out[c.name] = {'create_ms': [], 'mem': {}, 'ls_ms': {}, 'fails': 0}
    time.sleep(0.5)
    for c in cs:
        out[c.name]['mem']['0'] = c.memory()
    levels = [1, min(50, o.pop), o.pop]
    made = {c: 0 for c in cs}
    true_ms = []

    def lists(lv):
        acc = {}
        for rep in range(o.reps(15)):
            for c in cs:
                if c.ls() and made[c]:
                    dt, rc = run(c.ls(), c.env(), 20, c.d + '/ls.txt')
                    acc.setdefault(c, []).append(dt * 1e3)
            true_ms.append(run(['true'], cs[0].env())[0] * 1e3)
        for c, v in acc.items():
            txt = open(c.d + '/ls.txt', errors='replace').read()
            out[c.name]['ls_ms'][str(made[c])] = {'p50': med(v), 'p99': q(v, .99), 'names_seen': len(set(re.findall(r'\bq\d+\b', txt)))}

    for lv in dict.fromkeys(levels):
        while min([made[c] for c in cs if out[c.name]['fails'] < 5 and made[c] < min(lv, max(c.maxpop, 0))] or [10**9]) < lv:
            for c in cs:
                if made[c] >= min(lv, c.maxpop) or out[c.name]['fails'] >= 5:
                    continue
                dt, rc = run(c.new('q%d' % made[c], ['cat']), c.env(), 20, c.d + '/out.txt') if c.name != 'raw' else c.create('x', [])
                if rc == 0:
                    out[c.name]['create_ms'].append(dt * 1e3)
                    made[c] += 1
                else:
                    out[c.name]['fails'] += 1
                    out[c.name]['last_error'] = open(c.d + '/out.txt', errors='replace').read()[-300:]
        time.sleep(1.0)
        lists(lv)
        if lv == 1:
            continue
        for c in cs:
            if c.name != 'raw' and (made[c] == lv or str(made[c]) not in out[c.name]['mem']):
                out[c.name]['mem'][str(made[c])] = c.memory()
        if lv == levels[1]:
            time.sleep(2.0)
            before = {c: [(p,) + sched(p) for p in c.procs()[0]] for c in cs}
            t = NOW()
            time.sleep(o.idle_s)
            for c in cs:
                ns = sw = 0
                for p, a, b in before[c]:
                    a2, b2 = sched(p)
                    if a2:
                        ns += a2 - a
                        sw += b2 - b
                out[c.name]['idle'] = {'sessions': made[c], 'seconds': NOW() - t, 'cpu_ms': ns * 1e3, 'wakeups': sw}
    out.setdefault('raw', {})['true_ms'] = med(true_ms)
    for c in cs:
        r = out[c.name]
        v = r.pop('create_ms')
        if v:
            r['create'] = {'n': len(v), 'p50_ms': med(v), 'p99_ms': q(v, .99), 'first10_ms': med(v[:10]), 'last10_ms': med(v[-10:])}
        m = r['mem']
        top = max((int(k) for k in m), default=0)
        if top:
            r['pss_per_session_kib'] = (m[str(top)]['pss_kib'] - m['0']['pss_kib']) / top
            r['rss_per_session_kib'] = (m[str(top)]['rss_kib'] - m['0']['rss_kib']) / top
            r['anon_per_session_kib'] = (m[str(top)]['anon_kib'] - m['0']['anon_kib']) / top
        alive = sum(1 for p in c.procs()[1])
        r['programs_alive_at_end'] = alive
    return out


def m_scrollback(cs, o, pl):
    """memory per session with 10k lines of history"""
    out = {}
    data = plain_payload(76 * 10000)
    f = pl.file(data)
    N = 10
    for c in cs:
        if c.name == 'raw':
            continue
        c.fresh(); c.start()
        time.sleep(0.3)
        m0 = c.memory()
        n = min(N, c.maxpop)
        ok = 0
        for i in range(n):
            c.create('h%d' % i, ['sh', '-c', 'stty raw -echo; cat %s; : > %s/done%d; exec cat' % (f, c.d, i)])
        ok = wait_for(lambda: sum(os.path.exists('%s/done%d' % (c.d, i)) for i in range(n)) == n, 8)
        done = sum(os.path.exists('%s/done%d' % (c.d, i)) for i in range(n))
        time.sleep(0.7)
        m1 = c.memory()
        out[c.name] = {'sessions': n, 'finished_detached': done, 'pss_per_session_kib': (m1['pss_kib'] - m0['pss_kib']) / n,
                       'rss_per_session_kib': (m1['rss_kib'] - m0['rss_kib']) / n, 'anon_per_session_kib': (m1['anon_kib'] - m0['anon_kib']) / n}
        c.stop()
    return out


def m_fanout(cs, o, pl):
    out = {}
    n = o.n(20 << 20)
    for c in cs:
        c.fresh(); c.start()
        out[c.name] = {}
    for k in (1, 4, 16):
        for c in cs:
            if k > 1 and not c.multi:
                continue
            r = out[c.name]
            if r.get('stop'):
                continue
            try:
                s = Session(c, 'f%d' % k)
                cls = [s.attach()]
                for _ in range(k - 1):
                    cls.append(c.client(s.name))
                end = NOW() + 1.0 + 0.1 * k
                while NOW() < end:
                    for cl in cls:
                        cl.read(0.01)
                dead = sum(cl.eof for cl in cls)
                path, mark, size = pl.marked('plain', n)
                po = select.poll()
                by = {}
                for cl in cls:
                    cl.answer = False
                    po.register(cl.m, select.POLLIN); by[cl.m] = [cl, b'', 0, None]
                c0 = c.cpu()
                t0 = NOW()
                s.emit(path)
                left = len(cls) - dead
                while left and NOW() - t0 < 25:
                    evs = po.poll(3000)
                    if not evs:
                        break           # nothing more comes: somebody lost the marker
                    for fd, ev in evs:
                        x = by[fd]
                        try:
                            d = os.read(fd, 1 << 18)
                        except OSError:
                            d = b''
                        if not d:
                            po.unregister(fd)
                            if x[3] is None:
                                left -= 1
                            continue
                        x[2] += len(d)
                        if x[3] is None:
                            if mark in x[1] + d:
                                x[3] = NOW()
                                left -= 1
                            x[1] = (x[1] + d)[-20:]
                t0 = s.progress()[3] or t0
                ts = [x[3] - t0 for x in by.values() if x[3] is not None]
                r[str(k)] = {'all_s': max(ts) if len(ts) == k else None, 'first_s': min(ts) if ts else None, 'got_marker': len(ts),
                             'rx_ratio': sum(x[2] for x in by.values()) / k / size, 'broker_cpu_s': c.cpu() - c0}
                if len(ts) < k:
                    r['stop'] = True
                for cl in cls[1:]:
                    cl.close()
                s.close()
                os.unlink(path)
            except Exception as e:
                r[str(k)] = {'error': str(e)}
                r['stop'] = True
            time.sleep(0.1)
    return out


# ---- fidelity ------------------------------------------------------------------------
if pyte:
    class Scr(pyte.Screen):
        """pyte plus the alternate screen, SU/SD, REP and CSI s/u"""
        main = None

        def set_mode(self, *m, **kw):
            if kw.get('private') and {1049, 1047, 47} & set(m) and self.main is None:
                self.main = ({y: dict(r) for y, r in self.buffer.items()}, self.cursor.x, self.cursor.y)
                self.buffer.clear()
            super().set_mode(*m, **kw)

        def reset_mode(self, *m, **kw):
            if kw.get('private') and {1049, 1047, 47} & set(m) and self.main is not None:
                b, x, y = self.main
                self.main = None
                self.buffer.clear()
                for yy, row in b.items():
                    self.buffer[yy].update(row)
                self.cursor.x, self.cursor.y = x, y
            super().reset_mode(*m, **kw)

        def draw(self, data):
            if data:
                self.last = data[-1]
            super().draw(data)

        # pyte moves a cursor that is outside of the scroll region into it; a terminal does not
        def _edges(self):
            top, bot = self.margins or (0, self.lines - 1)
            return (top if self.cursor.y >= top else 0), (bot if self.cursor.y <= bot else self.lines - 1)

        def cursor_down(self, count=None):
            self.cursor.y = min(self.cursor.y + (count or 1), self._edges()[1])

        def cursor_up(self, count=None):
            self.cursor.y = max(self.cursor.y - (count or 1), self._edges()[0])

        def index(self):
            if self.cursor.y == (self.margins or (0, self.lines - 1))[1]:
                super().index()
            else:
                self.cursor_down(1)

        def reverse_index(self):
            if self.cursor.y == (self.margins or (0, 0))[0]:
                super().reverse_index()
            else:
                self.cursor_up(1)

        def su(self, n=1, **kw):
            y, x = self.cursor.y, self.cursor.x
            top, bot = self.margins or (0, self.lines - 1)
            self.cursor.y = bot
            for _ in range(n or 1):
                self.index()
            self.cursor.y, self.cursor.x = y, x

        def sd(self, n=1, **kw):
            y, x = self.cursor.y, self.cursor.x
            top, bot = self.margins or (0, self.lines - 1)
            self.cursor.y = top
            for _ in range(n or 1):
                self.reverse_index()
            self.cursor.y, self.cursor.x = y, x

        def rep(self, n=1, **kw):
            self.draw(getattr(self, 'last', ' ') * (n or 1))

        def sc(self, *a, **kw):
            self.save_cursor()

        def rc(self, *a, **kw):
            self.restore_cursor()

    class Strm(pyte.ByteStream):
        csi = dict(pyte.ByteStream.csi, S='su', T='sd', b='rep', s='sc', u='rc')

    DROP = re.compile(rb'\x1bP.*?\x1b\\|\x1b_.*?\x1b\\|\x1b\^.*?\x1b\\|\x1bk.*?\x1b\\|\x1b\[[<=>][0-9;:]*[a-zA-Z~]|\x1b\[\?[0-9;]*(?:u|s|r|\$p|W)|\x1b\[!p|\x1b\[[0-9;]*(?:\$p| q|t)|\x1b\[[0-9;]*"[a-z]|\x1b[=>]|\x1b[()*+].|\x1b\[\?[0-9;]*n|\x1b%G', re.S)

    def _sub(m):
        s = m.group(0)
        s = re.sub(rb'58[:;][25][:;][0-9:;]*?(?=m|;(?!\d))', b'', s) if b'58' in s else s
        s = re.sub(rb'([34]8):2::?', rb'\1;2;', s)
        s = re.sub(rb'\b4:[1-9]', b'4', s)
        s = re.sub(rb'\b4:0', b'24', s)
        return s.replace(b':', b';')

    def clean(b):
        b = DROP.sub(b'', b)
        return re.sub(rb'\x1b\[[0-9;:]*m', _sub, b)

    def screen_of(b, rows=ROWS, cols=COLS):
        sc = Scr(cols, rows)
        st = Strm(sc)
        try:
            st.feed(clean(b))
        except Exception as e:
            sc.bad = str(e)
        return sc

    def cell(c):
        return (c.data, c.fg, c.bg, c.bold, c.italics, c.underscore, c.strikethrough, c.reverse)

    def norm_attr(c):
        # a blank's foreground and weight cannot be seen
        if c.data in (' ', ''):
            return (c.bg if not c.reverse else c.fg, c.underscore, c.strikethrough)
        return (c.fg, c.bg, c.bold, c.italics, c.underscore, c.strikethrough, c.reverse)

    def rows_equal(a, b, rows, attr=False):
        for y in rows:
            if a.display[y].rstrip() != b.display[y].rstrip():
                return False
            if attr:
                for x in range(COLS):
                    if norm_attr(a.buffer[y][x]) != norm_attr(b.buffer[y][x]):
                        return False
        return True


def modes_of(b):
    """terminal modes left on after the bytes"""
    m = {}
    for g in re.finditer(rb'\x1b\[\?([0-9;]+)([hl])|\x1b([=>])(?![0-9])|\x1b\[([0-9]?) q|\x1b\[([<>=])([0-9;]*)u|\x1b\][02];([^\x07\x1b]*)(?:\x07|\x1b\\)|\x1b(c)|\x1b\[>(4;?[0-9]*)m', b):
        if g.group(1):
            for x in g.group(1).split(b';'):
                if x:
                    m[int(x)] = g.group(2) == b'h'
        elif g.group(3):
            m['keypad'] = g.group(3) == b'='
        elif g.group(0).endswith(b' q'):
            m['cstyle'] = int(g.group(4) or 0)
        elif g.group(5):
            m['kitty'] = g.group(5) in (b'>', b'=') and g.group(6) not in (b'', b'0')
        elif g.group(7) is not None:
            m['title'] = g.group(7).decode('utf-8', 'replace')
        elif g.group(8):
            m.clear()
        elif g.group(9):
            m['modkeys'] = g.group(9).decode()
    return m


def fidelity_script():
    e = '\x1b['
    L = []
    a = L.append
    a(e + 'H' + e + '2J')
    a(e + '1;1H' + e + '38;2;255;100;0mTRUE' + e + '48;2;0;40;80mCOLOR' + e + '0m end')
    a(e + '2;1H' + e + '38;5;201mC256' + e + '0m ' + e + '1mbold' + e + '0m ' + e + '3mital' + e + '0m ' + e + '4mundr' + e + '0m ' + e + '7mrev' + e + '0m ' + e + '9mstrk' + e + '0m')
    a(e + '3;1H漢字テスト한글 end')
    a(e + '4;1H😀🚀 smile end')
    a(e + '5;1He\u0301 n\u0303 x\u0308 end')
    a(e + '6;1H👩\u200d💻 ❤\ufe0f end')
    a(e + '7;1H' + ''.join(chr(65 + i % 26) for i in range(100)))
    a(e + '9;14r' + e + '14;1H' + ''.join('\r\nregion %d' % i for i in range(8)) + e + '10;1H' + '\x1bM' + e + 'r')
    a(e + '15;17r' + e + '15;1Hone' + e + '16;1Htwo' + e + '17;1Hthree' + e + '15;1H' + e + 'LINS' + e + '17;1H' + e + 'M' + e + 'r')
    a(e + '18;1Habcdefghij' + e + '18;3H' + e + '2@XY' + e + '18;1H' + e + '1P' + e + '18;8H' + e + '2X')
    a(e + '19;5H\x1b7' + e + '1;70H' + e + '31m\x1b8' + e + '32mSAVED' + e + '0m')
    a(e + '20;1H\x1b]8;;https://example.com/x\x1b\\LINK\x1b]8;;\x1b\\ tail')
    a(e + '21;1Ha\tb\tc')
    a(e + '22;1H' + e + '44mbce' + e + 'K' + e + '0m')
    a(e + '23;1H' + e + '4:3mcurly' + e + '0m ' + e + '2mdim' + e + '0m')
    a(e + '24;1H' + e + '7mstatus' + e + '0m' + e + '24;80HZ')
    a('\x1b]2;bench-title\x07')
    a(e + '?2004h' + e + '?1002h' + e + '?1006h' + e + '?1004h' + e + '?1h' + '\x1b=' + e + '>1u' + e + '?25l')
    a(e + '12;34H')
    return ''.join(L).encode()


ROWCHECK = [('24-bit colour', [0], True), ('SGR 256/bold/ital/undl/rev/strike', [1], True), ('CJK', [2], False), ('emoji', [3], False),
            ('combining', [4], False), ('ZWJ + VS16 (width is a matter of taste)', [5], False), ('wrapped line', [6, 7], False),
            ('scroll region + RI', list(range(8, 14)), False), ('insert/delete line', [14, 15, 16], False), ('ICH/DCH/ECH', [17], False),
            ('save/restore cursor + SGR', [18], True), ('OSC 8 text', [19], False), ('tabs', [20], False), ('back-colour erase', [21], True),
            ('last line, last column', [23], True)]


def m_fidelity(cs, o, pl):
    if not pyte:
        return {'error': 'pyte is not importable'}
    out = {}
    data = fidelity_script()
    f = pl.file(data)
    ref = screen_of(data)
    alt_main = b'\x1b[2J\x1b[H' + b'\r\n'.join(b'MAIN line %02d' % i for i in range(20))
    alt_body = b'\x1b[?1049h\x1b[2J\x1b[H' + b''.join(b'\x1b[%d;3H\x1b[38;2;%d;200;50mALT row %02d\x1b[0m' % (i + 1, i * 10, i) for i in range(20)) + b'\x1b[5 q'
    fa, fl = pl.file(alt_main + alt_body), pl.file(b'\x1b[?1049l')
    ra, rm = screen_of(alt_main + alt_body), screen_of(alt_main + alt_body + b'\x1b[?1049l')

    def checks(b):
        sc = screen_of(b)
        r = {}
        for lab, rows, attr in ROWCHECK:
            r[lab] = rows_equal(sc, ref, rows, attr)
        r['cursor position'] = (sc.cursor.x, sc.cursor.y) == (ref.cursor.x, ref.cursor.y)
        m = modes_of(b)
        r['bracketed paste'] = bool(m.get(2004))
        r['mouse 1002+1006'] = bool(m.get(1002) and m.get(1006))
        r['focus events'] = bool(m.get(1004))
        r['app cursor keys'] = bool(m.get(1))
        r['app keypad'] = bool(m.get('keypad'))
        r['cursor hidden'] = m.get(25) is False
        r['kitty keyboard'] = bool(m.get('kitty'))
        r['title'] = 'bench-title' in str(m.get('title', ''))
        r['OSC 8 link'] = b'https://example.com/x' in b
        r['curly underline'] = b'4:3' in b
        return r, sc

    for c in cs:
        r = out[c.name] = {}
        c.fresh(); c.start()
        try:
            s = Session(c, 'v')
            s.attach()
            s.emit(f)
            live = s.first + s.cl.drain(0.5, 3)
            r['live'], sc = checks(live)
            r['live_screen'] = sc.display
            if c.name == 'raw':
                r['winsize'] = s.size() == (ROWS, COLS)
                s.close()
                continue
            s.cl.close(); time.sleep(max(0.2, c.pause))
            cl = c.client('v')
            b = cl.drain(0.7, 3, 1.5)
            r['reattach'], sc = checks(b)
            r['reattach_bytes'] = len(b)
            r['reattach_screen'] = sc.display
            cl.close(); time.sleep(max(0.2, c.pause))
            cl = c.client('v', rows=30, cols=100)
            cl.drain(0.5, 3)
            r['winsize'] = s.size() == (30, 100)
            cl.close(); time.sleep(max(0.2, c.pause))
            s.close()
            s = Session(c, 'alt')
            s.attach(); s.emit(fa)
            s.cl.drain(0.4, 3)
            s.cl.close(); time.sleep(max(0.2, c.pause))
            cl = c.client('alt')
            b = cl.drain(0.7, 3, 1.5)
            sc = screen_of(b)
            x = {'alt screen content': rows_equal(sc, ra, range(20), True), 'cursor style': modes_of(b).get('cstyle') == 5}
            s.emit(fl)
            b += cl.drain(0.5, 3)
            sc = screen_of(b)
            x['main screen after leaving alt'] = rows_equal(sc, rm, range(20))
            r['alt'] = x
            cl.close(); s.close()
        except Exception as e:
            r['error'] = str(e)
        c.stop()
    return out


def m_kill9(cs, o, pl):
    out = {}
    for c in cs:
        if c.name == 'raw':
            continue
        r = out[c.name] = {}
        c.fresh(); c.start()
        try:
            progs = {}
            servers = {}
            for nm, argv in (('k1', ['sh', '-c', 'echo $$ > %s/k1.pid; exec cat']), ('k2', ['sh', '-c', 'echo $$ > %s/k2.pid; exec cat']),
                             ('k3', ['sh', '-c', "trap '' HUP; echo $$ > %s/k3.pid; exec sleep 300"])):
                b0 = set(c.servers())
                c.create(nm, argv[:2] + [argv[2] % c.d])
                wait_for(lambda: os.path.exists('%s/%s.pid' % (c.d, nm)) and open('%s/%s.pid' % (c.d, nm)).read().strip(), 5)
                progs[nm] = int(open('%s/%s.pid' % (c.d, nm)).read())
                time.sleep(0.2)
                servers[nm] = set(c.servers()) - b0
            cl = c.client('k1')
            cl.drain(0.3, 2)
            victims = servers['k1'] if c.server_per_session or (len(servers['k2']) >= 1) else [p for p in c.servers() if p != cl.pid]
            r['server_per_session'] = bool(servers['k2'])
            t = NOW()
            for p in victims:
                kill_pid(p)
            cl.drain(0.5, 1)
            r['client_exit'] = wait_pid(cl.pid, 2)
            if r['client_exit'] is None:
                r['client_exit'] = 'hangs'
            cl.rc = r['client_exit'] if r['client_exit'] != 'hangs' else None
            cl.close()
            time.sleep(0.5)
            alive = lambda p: os.path.exists('/proc/%d' % p) and open('/proc/%d/stat' % p).read().split(')')[1].split()[0] != 'Z'
            r['killed_session_program_alive'] = alive(progs['k1'])
            r['other_session_alive'] = alive(progs['k2'])
            r['hup_ignoring_program_alive'] = alive(progs['k3'])
            if c.ls():
                r['ls_after'] = run(c.ls(), c.env(), 5, c.d + '/ls.txt')[1]
                r['ls_text'] = open(c.d + '/ls.txt', errors='replace').read()[:300].strip().replace(c.d, '.')
            if not r['server_per_session']:
                try:
                    c.start()
                except Exception as e:
                    r['restart'] = str(e)
                if c.ls():
                    run(c.ls(), c.env(), 5, c.d + '/ls.txt')
                    r['ls_after_restart'] = open(c.d + '/ls.txt', errors='replace').read()[:300].strip().replace(c.d, '.')
            dt, rc = c.create('k1', ['cat'], 5)
            r['same_name_again'] = rc
            if rc:
                r['same_name_text'] = open(c.d + '/out.txt', errors='replace').read()[:200].strip().replace(c.d, '.')
            for p in progs.values():
                if alive(p):
                    kill_pid(p)
        except Exception as e:
            r['error'] = repr(e)
        c.stop()
    return out


METRICS = {'echo': m_echo, 'echo_busy': m_echo_busy, 'throughput': m_throughput, 'slow': m_slow, 'attach': m_attach, 'population': m_population,
           'scrollback': m_scrollback, 'fanout': m_fanout, 'fidelity': m_fidelity, 'kill9': m_kill9}


# --------------------------------------------------------------------------------------
# report
# --------------------------------------------------------------------------------------
def fmt(v, d=1):
    if v is None:
        return '–'
    if isinstance(v, bool):
        return 'yes' if v else 'NO'
    if isinstance(v, (int, float)):
        return ('%.' + str(d) + 'f') % v
    return str(v)


def table(head, rows):
    w = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    return '\n'.join(w + ['| ' + ' | '.join(str(x) for x in r) + ' |' for r in rows]) + '\n'


def get(d, *ks):
    for k in ks:
        if not isinstance(d, dict) or k not in d:
            return None
        d = d[k]
    return d


def ratio(v, base, inv=False, d=2):
    if not v or not base:
        return '–'
    return ('%.' + str(d) + 'f×') % (v / base)


def markdown(res):
    R = res['results']
    names = [n for n in res['contestants']]
    o = ['# Terminal brokers side by side', '', 'Date: %s. %s. Ratios are within this one run; absolute numbers belong to a noisy, small machine.' % (res['date'], res['host']), '',
         table(['contestant', 'version'], [[n, v] for n, v in res['contestants'].items()])]
    E = R.get('echo', {})
    if E:
        o.append('\n## 1. Keystroke echo (µs)\n')
        raw, tm = get(E, 'raw', 'p50_us'), get(E, 'tmux', 'p50_us')
        B = R.get('echo_busy', {})
        tb = get(B, 'tmux', 'p50_us')
        o.append(table(['', 'n', 'p50', 'p90', 'p99', 'p50/raw', 'p50/tmux', 'busy p50', 'busy p99', 'busy p50/tmux', 'busy: broker cores'],
                       [[n, get(E, n, 'n') or get(E, n, 'error'), fmt(get(E, n, 'p50_us'), 0), fmt(get(E, n, 'p90_us'), 0), fmt(get(E, n, 'p99_us'), 0), ratio(get(E, n, 'p50_us'), raw),
                         ratio(get(E, n, 'p50_us'), tm), fmt(get(B, n, 'p50_us'), 0), fmt(get(B, n, 'p99_us'), 0), ratio(get(B, n, 'p50_us'), tb),
                         fmt(get(B, n, 'broker_cores'), 3)] for n in names if n in E]))
        o.append('\n"busy": 8 other, detached sessions of the same broker each draw 60 TUI frames (5 kB) a second.\n')
    T = R.get('throughput', {})
    if T:
        o.append('\n## 2. Throughput to one attached, fast-reading client\n')
        rows = []
        for n in names:
            if n not in T:
                continue
            r = [n]
            for k in ('plain', 'tui'):
                v = get(T, n, k, 'mb_s')
                r += [fmt(v), ratio(v, get(T, 'raw', k, 'mb_s')), ratio(v, get(T, 'tmux', k, 'mb_s')), fmt(get(T, n, k, 'rx_ratio'), 2), fmt(get(T, n, k, 'broker_cpu_ms_per_mb'), 1)]
            d = get(T, n, 'detached_tui')
            r += [('STALLS' if d['stalled'] else fmt(d['mb_s'])) if d else '–']
            rows.append(r)
        o.append(table(['', 'plain MB/s', '/raw', '/tmux', 'bytes rx/emitted', 'broker CPU ms/MB', 'TUI MB/s', '/raw', '/tmux', 'bytes rx/emitted', 'broker CPU ms/MB', 'detached TUI MB/s'], rows))
    S = R.get('slow', {})
    if S:
        o.append('\n## 3. Client that does not read while the session emits 50 MB\n')
        o.append(table(['', 'program wrote (MB) meanwhile', 'program stalled', 'broker RSS before → peak (MiB)', 'resume → marker (s)', 'bytes then (MB)', 'final screen rows right', 'client alive'],
                       [[n, fmt((get(S, n, 'program_bytes') or 0) / 1e6), fmt(get(S, n, 'program_stalled')), '%s → %s' % (fmt((get(S, n, 'rss0_kib') or 0) / 1024), fmt((get(S, n, 'rss_peak_kib') or 0) / 1024)),
                         fmt(get(S, n, 'resume_to_marker_s'), 3), fmt((get(S, n, 'rx_bytes') or 0) / 1e6, 2), get(S, n, 'final_screen_rows_right') or '–', fmt(get(S, n, 'client_alive'))] for n in names if n in S]))
    A = R.get('attach', {})
    if A:
        o.append('\n## 4. Attach → full repaint (ms), 10k lines of history\n')
        raw, tm = get(A, 'raw', 'static', 'full_ms'), get(A, 'tmux', 'static', 'full_ms')
        o.append(table(['', 'static program p50', 'p99', '/raw', '/tmux', 'bytes', 'program that redraws on WINCH p50', 'repainted'],
                       [[n, fmt(get(A, n, 'static', 'full_ms'), 2), fmt(get(A, n, 'static', 'p99_ms'), 2), ratio(get(A, n, 'static', 'full_ms'), raw), ratio(get(A, n, 'static', 'full_ms'), tm),
                         fmt(get(A, n, 'static', 'bytes'), 0), fmt(get(A, n, 'winch_program', 'full_ms'), 2),
                         '%s/%s, %s/%s' % (get(A, n, 'static', 'repainted'), get(A, n, 'static', 'n'), get(A, n, 'winch_program', 'repainted'), get(A, n, 'winch_program', 'n'))] for n in names if n in A]))
        o.append('\nraw here is `cat` of one screenful in a fresh PTY.\n')
    P, H = R.get('population', {}), R.get('scrollback', {})
    if P:
        o.append('\n## 5–7. Sessions: create, list, memory, idle CPU\n')
        tm = get(P, 'tmux', 'create', 'p50_ms')
        rows = []
        for n in names:
            if n == 'raw' or n not in P:
                continue
            m = get(P, n, 'mem') or {}
            ls = get(P, n, 'ls_ms') or {}
            idle = get(P, n, 'idle') or {}
            rows.append([n, fmt(get(P, n, 'create', 'p50_ms'), 2), fmt(get(P, n, 'create', 'p99_ms'), 2), ratio(get(P, n, 'create', 'p50_ms'), tm),
                         ' / '.join('%s: %s' % (k, fmt(v['p50'], 2)) for k, v in ls.items()) or 'no list',
                         ' / '.join('%s: %s' % (k, fmt(v['pss_kib'] / 1024)) for k, v in m.items()), fmt(get(P, n, 'pss_per_session_kib'), 0), fmt(get(P, n, 'anon_per_session_kib'), 0),
                         fmt(get(H, n, 'pss_per_session_kib'), 0), fmt(get(H, n, 'anon_per_session_kib'), 0), '%s (%s)' % (fmt(idle.get('cpu_ms'), 1), idle.get('wakeups')), idle.get('sessions')])
        o.append(table(['', 'create p50 ms', 'p99', '/tmux', 'list ms at N', 'broker PSS MiB at N', 'PSS KiB/session', 'anonymous KiB/session', 'PSS KiB/session with 10k lines', 'anonymous KiB/session with 10k lines', 'idle CPU ms in %d s (wakeups)' % res['opts']['idle_s'], 'idle with N'], rows))
        o.append('\nSpawning `true` from the harness: %s ms. PSS splits shared pages among their users (so it falls when others map the same libc); anonymous memory is what the broker alone holds.\n' % fmt(get(P, 'raw', 'true_ms'), 2))
    F = R.get('fanout', {})
    if F:
        o.append('\n## 8. Fan-out: 20 MB to k clients of one session (s until all have the marker)\n')
        o.append(table(['', 'k=1', 'k=4', 'k=16', '16/1', 'bytes per client at 16', 'broker CPU s at 16'],
                       [[n] + [('–' if not get(F, n, k) else 'error' if get(F, n, k, 'error') else fmt(get(F, n, k, 'all_s'), 2) if get(F, n, k, 'all_s') else
                                'LOST: %d of %s got it' % (get(F, n, k, 'got_marker'), k)) for k in ('1', '4', '16')] + [ratio(get(F, n, '16', 'all_s'), get(F, n, '1', 'all_s')),
                        fmt(get(F, n, '16', 'rx_ratio'), 2), fmt(get(F, n, '16', 'broker_cpu_s'), 2)] for n in names if n in F]))
    V = R.get('fidelity', {})
    if V and 'error' not in V:
        o.append('\n## 9. Fidelity (live / after reattach)\n')
        cols = [n for n in names if n in V]
        labs = list((get(V, cols[0], 'live') or {}).keys())
        mk = lambda v: '–' if v is None else '✓' if v else '✗'
        rows = [[l] + ['%s / %s' % (mk(get(V, n, 'live', l)), mk(get(V, n, 'reattach', l))) for n in cols] for l in labs]
        rows += [[l] + ['%s' % mk(get(V, n, 'alt', l)) for n in cols] for l in ('alt screen content', 'main screen after leaving alt', 'cursor style')]
        rows += [['size change reaches the program'] + [mk(get(V, n, 'winsize')) for n in cols]]
        tot = ['**right of %d after reattach**' % (len(labs) + 3)]
        for n in cols:
            x = [v for l, v in (get(V, n, 'reattach') or {}).items() if 'taste' not in l] + list((get(V, n, 'alt') or {}).values()) + [get(V, n, 'winsize')]
            tot.append('–' if n == 'raw' else sum(bool(v) for v in x))
        o.append(table(['check'] + cols, rows + [tot]))
    K = R.get('kill9', {})
    if K:
        o.append('\n## 10. kill -9 of the server\n')
        o.append(table(['', 'server per session', 'its program survives', 'other sessions survive', 'HUP-ignoring program of another session alive', 'client exit', 'same name again'],
                       [[n, fmt(get(K, n, 'server_per_session')), fmt(get(K, n, 'killed_session_program_alive')), fmt(get(K, n, 'other_session_alive')), fmt(get(K, n, 'hup_ignoring_program_alive')),
                         get(K, n, 'client_exit'), 'ok' if get(K, n, 'same_name_again') == 0 else 'rc %s %s' % (get(K, n, 'same_name_again'), (get(K, n, 'same_name_text') or '').split('\n')[0])] for n in names if n in K]))
    return '\n'.join(o) + '\n'


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('--only', help='contestants, comma separated')
    ap.add_argument('--skip', default='', help='contestants to leave out')
    ap.add_argument('--metrics', help='of: ' + ','.join(METRICS))
    ap.add_argument('--json')
    ap.add_argument('--md')
    ap.add_argument('--scale', type=float, default=1.0, help='scales sample counts and payload sizes')
    ap.add_argument('--pop', type=int, default=200)
    ap.add_argument('--idle-s', type=float, default=30)
    ap.add_argument('--slow-s', type=float, default=5)
    ap.add_argument('--bin-dir', action='append', default=[], help='put in front of PATH')
    ap.add_argument('--list', action='store_true')
    ap.add_argument('--render', metavar='JSON', help='only print the Markdown of an earlier result')
    o = ap.parse_args()
    if o.render:
        print(markdown(json.load(open(o.render))))
        return
    o.n = lambda k: max(1, int(k * o.scale))
    o.reps = lambda k: max(1, int(round(k * min(1.0, o.scale))))
    os.environ['PATH'] = os.pathsep.join(o.bin_dir + [os.environ.get('PATH', '')])
    root = tempfile.mkdtemp(prefix='tb')
    pl = Payloads(root)
    cs = []
    for cls in ALL:
        c = cls(root)
        if o.only and c.name not in o.only.split(',') or c.name in o.skip.split(','):
            continue
        if c.binary():
            cs.append(c)
        else:
            log('skipped:', c.name, '(not found)')
    vers = {c.name: c.version() for c in cs}
    if o.list:
        print('\n'.join('%-8s %s' % x for x in vers.items()))
        shutil.rmtree(root)
        return
    mem = [l for l in open('/proc/meminfo') if l.startswith('MemTotal')][0].split()[1]
    res = {'date': time.strftime('%Y-%m-%d'), 'host': '%d cores, %d MiB, Linux %s' % (os.cpu_count(), int(mem) // 1024, os.uname().release), 'contestants': vers,
           'opts': {'scale': o.scale, 'pop': o.pop, 'idle_s': o.idle_s, 'slow_s': o.slow_s}, 'results': {}, 'seconds': {}}
    try:
        for k in (o.metrics.split(',') if o.metrics else METRICS):
            log('metric', k, '(load %.2f)' % os.getloadavg()[0])
            t = NOW()
            try:
                res['results'][k] = METRICS[k](cs, o, pl)
            except Exception as e:
                import traceback
                traceback.print_exc()
                res['results'][k] = {'error': repr(e)}
            for c in cs:
                c.stop()
            res['seconds'][k] = round(NOW() - t, 1)
            for f in os.listdir(root):
                p = os.path.join(root, f)
                if os.path.isfile(p):
                    os.unlink(p)
            if o.json:
                with open(o.json + '.tmp', 'w') as f:
                    json.dump(res, f, indent=1, ensure_ascii=False)
                os.replace(o.json + '.tmp', o.json)
    finally:
        for c in cs:
            c.stop()
        shutil.rmtree(root, ignore_errors=True)
    log('finished', res['seconds'])
    md = markdown(res)
    if o.md:
        open(o.md, 'w').write(md)
    else:
        print(md)


if __name__ == '__main__':
    main()
