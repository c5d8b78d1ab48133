#!/usr/bin/env python3
"""Records what programs write into a PTY: record.py makes the *.bin beside it again."""
import fcntl, os, pty, select, struct, sys, tempfile, termios, time

HERE = os.path.dirname(os.path.abspath(__file__))


def record(name, argv, keys, rows=24, cols=80, quiet=0.5, most=40000, env=None):
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
        e = dict(os.environ, TERM='xterm-256color', LC_ALL='C.UTF-8', COLORTERM='truecolor', **(env or {}))
        for k in ('TMUX', 'LS_COLORS'):
            e.pop(k, None)
        os.execvpe(argv[0], argv, e)
    out = b''

    def drain():
        nonlocal out
        end = time.monotonic() + 2
        while time.monotonic() < end and select.select([master], [], [], quiet)[0]:
            try:
                d = os.read(master, 65536)
            except OSError:
                return False
            if not d:
                return False
            out += d
            if len(out) > most * 4:
                return True
        return True
    live = drain()
    for key in keys:
        if not live:
            break
        os.write(master, key)
        live = drain()
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass
    os.close(master)
    os.waitpid(pid, 0)
    with open(os.path.join(HERE, '%s.%dx%d.bin' % (name, rows, cols)), 'wb') as f:
        f.write(out[:most])
    print(name, rows, cols, len(out), file=sys.stderr)


def main():
    d = tempfile.mkdtemp()
    source = os.path.join(d, 'a.c')
    with open(source, 'w') as f:
        f.write('#include <stdio.h>\n/* 漢字 and a long comment %s */\n' % ('word ' * 30))
        f.write(''.join('int f%d(void) { return printf("%%d \\t x\\n", %d); }\n' % (i, i) for i in range(60)))
    wide = os.path.join(d, 'wide.txt')
    with open(wide, 'w') as f:
        for i in range(40):
            f.write('%02d 漢字テスト한글 😀🚀 e\u0301n\u0303 ─┼│ %s\n' % (i, 'あ' * (i * 2)))
    for rows, cols in ((24, 80), (17, 53)):
        record('vim', ['vim', '-u', 'NONE', '-N', '-c', 'syntax on | set number ruler', source],
               [b':vsplit\r', b'\x04', b'\x05\x05\x05', b':split\r', b'ihello \xe6\xbc\xa2\x1b', b'5dd', b'u', b'/return\r', b'n', b':q\r', b':qa!\r'], rows, cols)
        record('less', ['less', '-R', wide], [b' ', b'b', b'G', b'/04\r', b'g', b'\x1b[B', b'y', b'q'], rows, cols)
        record('htop', ['htop', '-d', '20'], [b't', b'\x1b[B', b'H', b'q'], rows, cols, quiet=0.7)
        record('ls', ['ls', '--color=always', '-C', '/usr/bin/..', '/etc'], [], rows, cols, most=6000)
        record('cat', ['cat', wide], [], rows, cols)
        record('bash', ['bash', '--norc', '-i'],
               [b"PS1='\\[\\e[1;32m\\]a long prompt of many words \\w \\$ \\[\\e[m\\]'\r", b'echo one two three four five six seven eight nine ten', b'\x01', b'XX', b'\x05', b'\x15', b'ls /\r', b'\x1b[A\x1b[A', b'\x0c', b'exit\r'], rows, cols, env={'HOME': d})
        record('tmux', ['tmux', '-L', 'rec%d' % os.getpid(), '-f', '/dev/null', 'new', 'bash --norc'],
               [b'echo hi\r', b'\x02%', b'ls --color /\r', b'\x02"', b'seq 50\r', b'\x02o', b'exit\r', b'exit\r', b'exit\r'], rows, cols, env={'HOME': d})
    sys.path.insert(0, '/work/shared/bench')
    sys.argv = ['x']
    import random
    import term_bench
    for name, data in (('fidelity', term_bench.fidelity_script()), ('tui', term_bench.tui_payload(9000)[:9000])):
        with open(os.path.join(HERE, name + '.24x80.bin'), 'wb') as f:
            f.write(data)


main()
