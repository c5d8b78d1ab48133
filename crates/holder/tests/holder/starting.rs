//! How an agent is started: with exactly what was given, and with an error that names what is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use clsess_holder::protocol::{Exit, Failed, Start};

use crate::harness::{Holder, program, shell, stat_field, until};

const ENOENT: u32 = 2;
const ENOEXEC: u32 = 8;
const EACCES: u32 = 13;
const ENOTDIR: u32 = 20;
const EINVAL: u32 = 22;
const ENOTSUP: u32 = 95;

#[test]
fn the_environment_is_what_was_given() {
    let mut holder = Holder::begin_after("export INHERITED=1");
    let mut start = program("/usr/bin/env", &["env", "-0"]);
    start.env = vec![
        (b"B".to_vec(), b"two\nlines = \xff".to_vec()),
        (b"A".to_vec(), b"first".to_vec()),
        (b"A".to_vec(), b"last".to_vec()),
        (b"EMPTY".to_vec(), Vec::new()),
    ];
    holder.start(start);
    let mut pipes = holder.pipes();
    let mut printed = Vec::new();
    std::io::Read::read_to_end(&mut pipes.stdout, &mut printed).unwrap();
    assert_eq!(printed, b"B=two\nlines = \xff\0A=first\0A=last\0EMPTY=\0");
    holder.ends_with(Exit::Exited(0));
}

#[test]
fn arguments_and_directory_are_what_was_given() {
    let directory = tempfile::tempdir().unwrap();
    let mut start = shell("");
    start.args = [
        &b"other-name"[..],
        b"-c",
        b"pwd; cat /proc/$$/cmdline; :",
        b"zero",
        b"",
        b"a b",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    start.cwd = directory.path().as_os_str().as_encoded_bytes().to_vec();
    let printed = Holder::begin().output_of(start);
    let (cwd, cmdline) = printed.split_once('\n').unwrap();
    assert_eq!(cwd, directory.path().to_str().unwrap());
    assert_eq!(
        cmdline,
        "other-name\0-c\0pwd; cat /proc/$$/cmdline; :\0zero\0\0a b\0"
    );
}

#[test]
fn without_arguments_the_program_is_its_own_argument_0() {
    let mut holder = Holder::begin();
    let (pid, start_time) = holder.started(program("/bin/cat", &[]));
    assert_eq!(stat_field(pid, 22), Some(start_time.to_string()));
    // The holder is answered by the kernel a moment before the new program has its arguments.
    until("the program runs", || {
        fs::read(format!("/proc/{pid}/cmdline")).unwrap() == b"/bin/cat\0"
    });
}

#[test]
fn a_large_environment_travels() {
    let mut start = program("/usr/bin/env", &["env", "-0"]);
    let value = vec![b'x'; 100_000]; // Linux takes 128 KiB for one, and 6 MiB for all at the usual stack limit of 8
    start.env = (0..15)
        .map(|index| (format!("K{index:02}").into_bytes(), value.clone()))
        .collect();
    let printed = Holder::begin().output_of(start);
    assert_eq!(printed.len(), 15 * (100_000 + 5));
}

/// The holder blocks some signals itself and ignores SIGPIPE; none of that, and nothing from above, is inherited.
#[test]
fn the_agent_has_every_signal() {
    // What a broker that was started by a script's `&` or under nohup would hand down.
    let mut holder = Holder::begin_after("trap '' INT QUIT HUP CHLD USR1 PIPE TSTP");
    let printed = holder.output_of(program("/bin/cat", &["cat", "/proc/self/status"]));
    let signals = |name: &str| {
        let line = printed
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(signals("SigBlk:"), 0);
    // glibc's posix_spawn leaves its own two, 32 and 33, ignored in every child; nobody else can use them.
    assert_eq!(signals("SigIgn:") & !(0b11 << 31), 0);
    holder.ends_with(Exit::Exited(0));
}

#[test]
fn nobody_inherits_a_descriptor() {
    let mut holder = Holder::begin_after("exec 7</dev/null 8>/dev/null 21</etc/passwd");
    let open = |pid: &str| -> Vec<String> {
        let mut open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| {
                fs::read_link(entry.unwrap().path())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        open.sort_unstable();
        open
    };
    let holders = open(&holder.pid().to_string());
    assert_eq!(
        holders.len(),
        6,
        "0 to 2, the listener, the broker, the signals: {holders:?}"
    );
    assert_eq!(
        holders
            .iter()
            .filter(|target| *target == "/dev/null")
            .count(),
        3
    );
    assert_eq!(
        holders
            .iter()
            .filter(|target| target.starts_with("socket:"))
            .count(),
        2
    );

    let printed = holder.output_of(program("/bin/ls", &["ls", "-l", "/proc/self/fd"]));
    let targets: Vec<(&str, &str)> = printed
        .lines()
        .filter_map(|line| line.rsplit_once(" -> "))
        .map(|(left, target)| (left.rsplit(' ').next().unwrap(), target))
        .filter(|(_, target)| !target.starts_with("/proc/")) // ls's own look at the directory
        .collect();
    assert_eq!(
        targets
            .iter()
            .map(|(number, _)| *number)
            .collect::<Vec<_>>(),
        ["0", "1", "2"]
    );
    assert!(
        targets
            .iter()
            .all(|(_, target)| target.starts_with("pipe:")),
        "{targets:?}"
    );
}

#[test]
fn the_agent_leads_a_process_group_and_has_the_umask_given() {
    let mut holder = Holder::begin();
    let pid = holder.start_script("umask; echo $$; ps -o pgid= -p $$ | tr -d ' '");
    let mut pipes = holder.pipes();
    assert_eq!(pipes.line(), "0027");
    assert_eq!((pipes.pid(), pipes.pid()), (pid, pid));
}

fn check_failure(change: impl FnOnce(&mut Start), step: &str, errno: u32, says: &str) {
    let mut holder = Holder::begin();
    let mut start = program("/bin/true", &["true"]);
    change(&mut start);
    let failed = holder.fail_to_start(start);
    let Failed {
        errno: found,
        step: at,
        message,
    } = &failed;
    assert_eq!((at.as_str(), *found), (step, errno), "{failed:?}");
    assert!(message.contains(says), "{failed:?}");
    // Nothing is broken by it.
    holder.start(program("/bin/true", &["true"]));
    holder.ends_unread_with(Exit::Exited(0));
}

#[test]
fn a_bad_directory_is_named() {
    check_failure(
        |start| start.cwd = b"/nowhere/at/all".to_vec(),
        "cwd",
        ENOENT,
        "/nowhere/at/all",
    );
    check_failure(
        |start| start.cwd = b"/etc/passwd".to_vec(),
        "cwd",
        ENOTDIR,
        "/etc/passwd",
    );
    check_failure(|start| start.cwd = b"tmp".to_vec(), "cwd", EINVAL, "tmp");
    check_failure(
        |start| start.cwd = b"/tmp\0/x".to_vec(),
        "cwd",
        EINVAL,
        "zero byte",
    );
}

#[test]
fn a_bad_program_is_named() {
    check_failure(
        |start| start.program = b"/bin/no-such".to_vec(),
        "program",
        ENOENT,
        "/bin/no-such",
    );
    check_failure(
        |start| start.program = b"/etc/passwd".to_vec(),
        "program",
        EACCES,
        "/etc/passwd",
    );
    check_failure(
        |start| start.program = b"/etc".to_vec(),
        "program",
        EACCES,
        "/etc",
    );
    check_failure(
        |start| start.program = b"true".to_vec(),
        "program",
        EINVAL,
        "true",
    );
}

#[test]
fn what_only_exec_finds_is_the_spawns_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent");
    let path = file.as_os_str().as_encoded_bytes().to_vec();
    fs::write(&file, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    check_failure(
        |start| start.program = path.clone(),
        "spawn",
        ENOENT,
        "agent",
    );
    fs::write(&file, "not a program").unwrap();
    check_failure(
        |start| start.program = path.clone(),
        "spawn",
        ENOEXEC,
        "agent",
    );
    check_failure(
        |start| start.args.push(b"a\0b".to_vec()),
        "arguments",
        EINVAL,
        "zero byte",
    );
}

#[test]
fn what_no_process_can_have_is_refused() {
    check_failure(|start| start.stdio = 3, "stdio", ENOTSUP, "stdio");
    check_failure(
        |start| start.env.push((b"A=B".to_vec(), b"C".to_vec())),
        "environment",
        EINVAL,
        "name",
    );
    check_failure(
        |start| start.env.push((Vec::new(), b"C".to_vec())),
        "environment",
        EINVAL,
        "name",
    );
}
