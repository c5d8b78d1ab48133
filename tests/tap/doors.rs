//! Who gets in, and what is opened.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::tools::bash;
use crate::harness::{KEY, World, skipped};
use crate::{BOTH, By, DRIVERS};

/// Runs what stands behind it as another user.
const NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// What `curl` says in the agent's Bash of a host whose certificate has to come from the authority in
/// this file: the status of the answer, and its own exit code.
fn curl(world: &World, url: &str, authority: &std::path::Path) -> String {
    let command = format!(
        "curl -s -o /dev/null -w '%{{http_code}}' --cacert {} {url} >said; echo \" $?\" >>said",
        authority.display()
    );
    world.api.ask(json!({"cmd": "rules_clear"}));
    let steps = json!([{"blocks": [bash(&command)]}, {"text": "done"}]);
    world.api.rule("curl", steps);
    assert_eq!(world.send("work", "curl"), "done\n");
    fs::read_to_string(world.project().join("said")).unwrap()
}

#[test]
fn what_tools_ask_others_for_is_not_opened() {
    for driver in DRIVERS {
        for by in BOTH {
            let Some(world) = World::real() else { return };
            world.allow_bash();
            // At the provider in both ways: there is a proxy that tools are sent to.
            let new = ["new", "--driver", driver, "--tap", by.way(), "work"];
            world.at_provider(world.clsess(&new)).run().ok();
            let theirs = world.provider_ca();
            let answered = "404 0\n";
            // The certificate that arrives is the server's own, by an authority that curl alone trusts.
            assert_eq!(
                curl(&world, "https://local.test/", &world.others_ca()),
                answered
            );
            // The provider's is the one that is opened, where there is a proxy in between.
            let provider = curl(&world, "https://api.anthropic.com/", &theirs);
            let ours = world.session_dir("work").join("tap-ca.pem");
            match by {
                By::Proxy => {
                    assert_eq!(provider, "000 60\n");
                    assert_eq!(curl(&world, "https://api.anthropic.com/", &ours), answered);
                    assert_eq!(curl(&world, "https://local.test/", &ours), "000 60\n");
                    // What the agent trusts has the user's own certificates too.
                    let trusted = fs::read_to_string(ours).unwrap();
                    let own = fs::read_to_string(theirs).unwrap();
                    assert!(trusted.contains(own.trim_end()), "{trusted}");
                }
                By::BaseUrl => assert_eq!(provider, answered),
            }
        }
    }
}

#[test]
fn no_key_and_no_secret_is_told() {
    for by in BOTH {
        let Some(world) = World::real() else { return };
        by.session(&world, "tui", &[]);
        world.api.rule(
            "wrong",
            json!([{"status": 400, "message": "no"}, {"text": "now"}]),
        );
        world.clsess(&["send", "work", "wrong"]).run();
        let shown = world.clsess(&["show", "--json", "work"]).run().ok();
        let doctor = world.clsess(&["doctor"]).run();
        let command = fs::read_to_string(format!("/proc/{}/cmdline", world.agent("work"))).unwrap();
        let secret = secret(&world);
        assert!(secret.len() > 20);
        for said in [
            world.log(),
            shown.text().to_owned(),
            doctor.text().to_owned(),
            command,
        ] {
            assert!(!said.contains(KEY), "{said}");
            assert!(!said.contains(&secret), "{said}");
        }
    }
}

/// What the session's agent shows.
pub fn secret(world: &World) -> String {
    let kept = fs::read(world.session_dir("work").join("tap")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    kept["secret"].as_str().unwrap().to_owned()
}

/// The port of the taps.
pub fn port(world: &World) -> String {
    let port = fs::read_to_string(world.state().join("default/taps/port")).unwrap();
    port.trim().to_owned()
}

/// What the tap says to whoever asks it like this: a status, or none.
pub fn asks(world: &World, before: &[&str], curl: &[&str]) -> String {
    let quiet = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_connect} %{http_code}",
    ];
    let words = [before, &quiet, curl].concat();
    world.program(words[0], &words[1..]).run().text().to_owned()
}

#[test]
fn who_has_no_secret_gets_nothing() {
    for by in BOTH {
        let Some(world) = World::real() else { return };
        by.session(&world, "stream", &[]);
        let port = port(&world);
        let proxy = |user: &str| format!("http://{user}127.0.0.1:{port}");
        let secret = secret(&world);
        let wrong = format!("{}x", &secret[..secret.len() - 1]);
        for user in [
            String::new(),
            format!("clsess:{wrong}@"),
            format!("clsess:{secret}x@"),
        ] {
            let proxy = proxy(&user);
            for url in ["https://api.anthropic.com/", "https://local.test/"] {
                assert_eq!(
                    asks(&world, &[], &["-x", &proxy, url]),
                    "407 000",
                    "{user} {url}"
                );
            }
        }
        for path in [
            "",
            "v1/messages",
            "s/",
            &format!("s/{wrong}/v1/messages"),
            &format!("s/{secret}x/v1/messages"),
        ] {
            let url = format!("http://127.0.0.1:{port}/{path}");
            assert_eq!(asks(&world, &[], &[&url]), "000 404", "{path}");
        }
        // The secret of one way opens nothing in the other.
        match by {
            By::Proxy => {
                let url = format!("http://127.0.0.1:{port}/s/{secret}/v1/messages");
                assert_eq!(asks(&world, &[], &[&url]), "000 404");
            }
            By::BaseUrl => {
                let proxy = proxy(&format!("clsess:{secret}@"));
                let url = "https://api.anthropic.com/";
                assert_eq!(asks(&world, &[], &["-x", &proxy, url]), "407 000");
            }
        }
        assert_eq!(world.api.next(), 0);
    }
}

#[test]
fn another_user_finds_no_secret() {
    if !nix::unistd::geteuid().is_root() {
        return skipped::<()>("only root is another user").unwrap_or_default();
    }
    for by in BOTH {
        let Some(world) = World::real() else { return };
        by.session(&world, "stream", &[]);
        let tap = format!("http://127.0.0.1:{}/", port(&world));
        let url = format!("{tap}v1/messages");
        assert_eq!(asks(&world, &NOBODY, &[&url]), "000 404");
        for url in ["https://api.anthropic.com/", "https://local.test/"] {
            let tunnel = asks(&world, &NOBODY, &["-x", &tap, url]);
            assert_eq!(tunnel, "407 000", "{url}");
        }
        let environment = format!("/proc/{}/environ", world.agent("work"));
        let dir = world.session_dir("work");
        let taps = world.state().join("default/taps/api.anthropic.com.pem");
        let kept = [
            dir.join("tap"),
            dir.join("env"),
            dir.join("tap-ca.pem"),
            taps,
            environment.into(),
        ];
        for file in kept.iter().filter(|file| file.exists()) {
            let words = [&NOBODY[1..], &["cat", file.to_str().unwrap()]].concat();
            let read = world.program(NOBODY[0], &words).run();
            assert_eq!(
                (read.code, &*read.stdout),
                (1, &b""[..]),
                "{}",
                file.display()
            );
        }
    }
}

/// Tries to have a port, in all ways, until it has it.
const TAKES: &str = "
from socket import *
import sys
print('tries', flush=True)
while True:
    for address in 0, 1:
        for port in 0, 1:
            s = socket()
            s.setsockopt(SOL_SOCKET, SO_REUSEADDR, address)
            s.setsockopt(SOL_SOCKET, SO_REUSEPORT, port)
            try:
                s.bind(('127.0.0.1', int(sys.argv[1])))
                s.listen()
                sys.exit('has it')
            except OSError as error:
                assert error.errno == 98, error
            s.close()
";

/// The agent would tell whoever listens at its base URL all that it has to say.
#[test]
fn another_user_cannot_have_the_port_while_no_broker_runs() {
    if !nix::unistd::geteuid().is_root() {
        return skipped::<()>("only root is another user").unwrap_or_default();
    }
    let Some(world) = World::real() else { return };
    By::BaseUrl.session(&world, "stream", &[]);
    let port = port(&world);
    let words = [&NOBODY[1..], &["python3", "-c", TAKES, &port]].concat();
    let takes = world.program(NOBODY[0], &words).spawn();
    takes.wait_stdout(|out| out == b"tries\n");
    let agent = world.agent("work");
    for _ in 0..3 {
        world.kill_broker();
        assert_eq!(world.send("work", "hi"), "you said: hi\n");
        assert_eq!(world.agent("work"), agent);
    }
    assert!(takes.runs());
    takes.signal(Signal::SIGKILL);
    assert_eq!(takes.wait().stderr, "");
}
