//! The recipes for cron and systemd. cron is the real one, with nothing of this machine's own: it sees
//! another spool, and no other crontab.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{CLSESS, Cmd, PATIENCE, World, find, skipped};
use crate::{install_lines, read, root};

const PROMPT: &str = "What changed\n  since yesterday? 100 % of it, \"please\"\n";

/// Where the world has its commands.
fn path() -> String {
    let bin = Path::new(CLSESS).parent().unwrap();
    format!("{}:/usr/bin:/bin", bin.display())
}

/// The file for cron, with its paths and those of the world. cron starts jobs with no other variables.
fn crontab(world: &World) -> String {
    let crontab = read("contrib/cron/clsess.crontab");
    let paths = format!(
        "PATH={}\nHOME={}\nCLSESS_STATE_DIR={}\n",
        path(),
        world.home().display(),
        world.state().display()
    );
    replaced(&crontab, "PATH=/usr/local/bin:/usr/bin:/bin\n", &paths)
}

/// The same with something that is there once in place of something else.
fn replaced(text: &str, one: &str, other: &str) -> String {
    assert_eq!(text.matches(one).count(), 1, "{one}");
    text.replace(one, other)
}

/// What cron gives its shell.
fn command() -> String {
    let crontab = read("contrib/cron/clsess.crontab");
    let line = crontab.lines().find(|line| line.starts_with("0 7 "));
    let command = line.unwrap().split_once("  ").unwrap().1;
    command.replace("\\%", "%")
}

/// A job of cron: its variables, and a stdin that never ends.
fn job(world: &World, command: &str) -> Cmd {
    let state = world.state();
    let home = world.home();
    let job = world.env().into_iter().fold(
        world.program("/bin/sh", &["-c", command]),
        |job, (name, _)| job.env_remove(name),
    );
    job.env("HOME", &home)
        .env("LOGNAME", "root")
        .env("SHELL", "/bin/sh")
        .env("PATH", path())
        .env("CLSESS_STATE_DIR", state)
        .cwd(home)
        .silent_stdin()
}

/// A session and its prompt, as README.md has people make them.
fn session(world: &World) {
    std::fs::create_dir_all(world.home().join("src/project")).unwrap();
    let lines = install_lines("**cron**");
    let made = lines.lines().filter(|line| !line.contains("crontab"));
    let made = made.collect::<Vec<_>>().join("\n");
    world.shell(&made).run().ok();
    let prompt = world.home().join(".config/clsess/jobs/morning.md");
    assert!(prompt.exists());
    std::fs::write(prompt, PROMPT).unwrap();
}

fn in_home(world: &World, name: &str) -> PathBuf {
    world.home().join(name)
}

fn written(world: &World, name: &str) -> String {
    std::fs::read_to_string(in_home(world, name)).unwrap()
}

/// Gives cron a spool and tables of its own, in a mount namespace of its own.
const OWN_TABLES: &str = "mount -t tmpfs tmpfs /run &&
    mount -t tmpfs -o mode=1730 tmpfs /var/spool/cron/crontabs &&
    mount -t tmpfs tmpfs /etc/cron.d && mount --bind /dev/null /etc/crontab || exit 1";

#[test]
fn cron_runs_its_line() {
    let Some(world) = World::real() else { return };
    if find("cron").is_none() {
        skipped::<()>("there is no cron");
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        skipped::<()>("cron is for root");
        return;
    }
    session(&world);
    world.api.answer("What changed", "# Nothing\n\nat *all*");
    let dir = world.root().join("src/contrib/cron");
    std::fs::create_dir_all(&dir).unwrap();
    let table = replaced(&crontab(&world), "\n0 7 * * 1-5  ", "\n* * * * *  ");
    std::fs::write(dir.join("clsess.crontab"), table).unwrap();
    let lines = install_lines("**cron**");
    let install = lines.lines().find(|line| line.contains("crontab")).unwrap();
    let script = format!("{OWN_TABLES}\n{install}\nexec env -i /usr/sbin/cron -f");
    let unshare = find("unshare").unwrap();
    let cron = world.program(unshare.to_str().unwrap(), &["-m", "bash", "-c", &script]);
    let cron = cron.cwd(world.root().join("src")).spawn();

    // It looks at the beginning of each minute.
    let end = Instant::now() + Duration::from_secs(60) + PATIENCE;
    let answer = in_home(&world, "morning.md");
    while !answer.exists() {
        if Instant::now() > end {
            cron.signal(Signal::SIGTERM);
        }
        assert!(cron.runs() && Instant::now() < end, "{:?}", cron.wait());
        thread::sleep(Duration::from_millis(50));
    }
    drop(cron);
    assert_eq!(written(&world, "morning.md"), "# Nothing\n\nat *all*\n");
    assert_eq!(written(&world, "morning.err"), "");
    assert_eq!(world.api.prompts(0), [PROMPT]);
    assert_eq!(world.show("morning")["turns"], 1);

    // On the same day the same is said again, and nothing is done.
    std::fs::remove_file(answer).unwrap();
    job(&world, &command()).run().ok();
    assert_eq!(written(&world, "morning.md"), "# Nothing\n\nat *all*\n");
    assert_eq!(world.api.main_requests(0).len(), 1);
}

#[test]
fn a_job_of_cron_ends_and_keeps_the_last_answer() {
    let Some(world) = World::real() else { return };
    session(&world);
    std::fs::write(in_home(&world, "morning.md"), "of yesterday\n").unwrap();
    let fails = |command: &str, code: i32, why: &str| {
        job(&world, command).run().fails(code);
        assert_eq!(written(&world, "morning.md"), "of yesterday\n");
        let said = written(&world, "morning.err");
        assert!(said.starts_with("clsess: ") && said.contains(why), "{said}");
    };
    world
        .api
        .rule("What changed", json!([{"text": "late", "hold": "h"}]));
    let soon = replaced(&command(), "--deadline 10m", "--deadline 2s");
    fails(&soon, 124, "");
    // Under another key: somebody else's prompt runs.
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let slow = world.clsess(&["send", "morning", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let other = replaced(&command(), "--key \"morning-", "--key \"again-");
    fails(&other, 5, "busy");
    world.api.release("h");
    slow.wait().ok();
    world.clsess(&["kill", "morning"]).run().ok();
    fails(&other, 3, "\nhint: ");
}

#[test]
fn a_question_in_a_job_of_cron_is_denied_and_told() {
    let Some(world) = World::real() else { return };
    session(&world);
    let steps = json!([{"blocks": [world.write("new")]}, {"text": "not written"}]);
    world.api.rule("What changed", steps);
    job(&world, &command()).run().ok();
    assert_eq!(written(&world, "morning.md"), "not written\n");
    let said = written(&world, "morning.err");
    assert!(said.starts_with("clsess: denied: Write "), "{said}");
    assert!(!world.project().join("new").exists());
}

// ---- systemd ----

/// The value of a setting that is there once.
fn setting(unit: &str, name: &str) -> String {
    let values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let values: Vec<&str> = values.collect();
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].to_owned()
}

/// The words of a command line of systemd's, with its specifiers and dollars put in.
fn words(line: &str, home: &Path, instance: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 0 {
            words.extend(part.split_whitespace().map(str::to_owned));
        } else {
            words.push(part.to_owned());
        }
    }
    let home = home.to_str().unwrap();
    let put_in = |word: String| {
        let mut all = word
            .split("%%")
            .map(|part| part.replace("%i", instance).replace("%h", home));
        let first = all.next().unwrap();
        let word = all.fold(first, |word, part| word + "%" + &part);
        assert!(
            !word.replace("$$", "").contains('$'),
            "systemd would put something in: {word}"
        );
        word.replace("$$", "$")
    };
    words.into_iter().map(put_in).collect()
}

/// The service's command, as systemd starts it. It has no XDG_RUNTIME_DIR: the broker is found all the
/// same.
fn service(world: &World, unit: &str) -> Cmd {
    let words = words(&setting(unit, "ExecStart"), &world.home(), "morning");
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let set = setting(unit, "Environment");
    let set = set
        .strip_prefix("PATH=")
        .unwrap()
        .replace("%h", world.home().to_str().unwrap());
    let set = replaced(&set, "/usr/local/bin:/usr/bin:/bin", &path());
    assert_eq!(setting(unit, "StandardInput"), "null");
    let service = world.env().into_iter().fold(
        world.program(&words[0], &arguments),
        |service, (name, _)| service.env_remove(name),
    );
    service
        .env("HOME", world.home())
        .env("PATH", set)
        .env("CLSESS_STATE_DIR", world.state())
        .cwd(world.home())
}

#[test]
fn the_service_says_the_answer_once_a_day() {
    let Some(world) = World::real() else { return };
    session(&world);
    world.api.answer("What changed", "# Nothing\n\nat *all*");
    let unit = read("contrib/systemd/clsess-job@.service");
    for _ in 0..2 {
        let done = service(&world, &unit).run().ok();
        assert_eq!(
            (done.text(), done.stderr.as_str()),
            ("# Nothing\n\nat *all*\n", "")
        );
        assert_eq!(world.api.prompts(0), [PROMPT]);
    }
    // It is that of the line for cron.
    job(&world, &command()).run().ok();
    assert_eq!(world.api.main_requests(0).len(), 1);
}

#[test]
fn the_service_ends() {
    let Some(world) = World::real() else { return };
    session(&world);
    world
        .api
        .rule("What changed", json!([{"text": "late", "hold": "h"}]));
    let unit = read("contrib/systemd/clsess-job@.service");
    let done = service(&world, &replaced(&unit, "--deadline 10m", "--deadline 2s"))
        .run()
        .fails(124);
    assert_eq!(done.text(), "");
    assert!(done.stderr.starts_with("clsess: "), "{}", done.stderr);
    world.api.release("h");
    assert_eq!(setting(&unit, "TimeoutStartSec"), "15min");
}

#[test]
fn systemd_takes_the_units() {
    let home = tempfile::tempdir().unwrap();
    // Without a systemd nothing can be enabled.
    let lines = install_lines("**systemd**");
    let copy = lines.lines().find(|line| line.contains("cp ")).unwrap();
    let mut shell = Command::new("bash");
    shell
        .args(["-c", copy])
        .current_dir(root(""))
        .env("HOME", home.path());
    assert!(shell.status().unwrap().success());
    let dir = home.path().join(".config/systemd/user");
    for name in ["clsess@.service", "clsess@.socket"] {
        let text = read(&format!("crates/clsess/service/{name}"));
        let text = text.replace("/usr/local/bin/clsess", CLSESS);
        std::fs::write(dir.join(name), text).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--user", "--man=no"]);
    verify.args(["./clsess-job@morning.service", "./clsess-job@morning.timer"]);
    verify.current_dir(&dir).env("XDG_RUNTIME_DIR", &dir);
    let Ok(done) = verify.output() else {
        return eprintln!("skipped: there is no systemd-analyze");
    };
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
}
