//! The server and its page, in the real Chromium.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::{Cmd, Done, Running, World, find, skipped, until};
use crate::root;
use crate::web::Browser;

const HERE: &str = "127.0.0.1:8737";

/// The server for `work`, which listens; `None` where there is no Python.
fn serve(world: &World) -> Option<Running> {
    if find("python3").is_none() {
        return skipped("there is no python3");
    }
    let program = root("contrib/browser/serve.py");
    let server = world.shell(&format!("exec python3 -B {} work", program.display()));
    let server = server.spawn();
    let url = format!("http://{HERE}/\n");
    server.wait_stdout(|said| said == url.as_bytes());
    Some(server)
}

/// Answers to `pattern` stand still after their first eight bytes.
fn held(world: &World, pattern: &str, answer: &str) {
    let steps = json!([{"text": answer, "delta_bytes": 8, "hold": pattern, "hold_after": 1}]);
    world.api.rule(pattern, steps);
}

/// Behind which number each page has its events from.
fn watching(world: &World) -> Vec<u64> {
    let all = world.processes();
    let since = all.iter().filter_map(|(_, line)| {
        let (_, since) = line.split_once("clsess events --sse --since ")?;
        Some(since.split_once(' ')?.0.parse().unwrap())
    });
    since.collect()
}

fn nobody_watches(world: &World) {
    until("no `clsess events` is left", || watching(world).is_empty());
}

#[test]
fn a_page_shows_an_answer_while_it_comes() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let Some(server) = serve(&world) else { return };
    let Some(page) = Browser::open(&world, &format!("http://{HERE}/")) else {
        return;
    };
    page.shows("name", "work");
    page.shows("state", "idle");
    held(&world, "slow", "It says more later.\n");
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    page.shows("message", "It says ");
    page.shows("state", "working");
    world.api.release("slow");
    page.shows("message", "It says more later.\n");
    send.wait().ok();
    page.shows("state", "idle");
    assert_eq!(watching(&world), [0]);
    drop(page);
    // Nothing happens meanwhile that the server could fail to tell.
    nobody_watches(&world);
    assert!(server.runs());
}

#[test]
fn what_looks_like_markup_is_text() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let Some(_server) = serve(&world) else { return };
    let Some(page) = Browser::open(&world, &format!("http://{HERE}/")) else {
        return;
    };
    let hard = "<script>document.title = 'run'</script>\n</pre><img src=x onerror=\"document.title='run'\">\n\
                \n\ndata: x\r\n&lt;b&gt; 日本語 🎉";
    world.api.answer("hard", hard);
    world.send("work", "hard");
    page.shows("message", hard);
    assert_eq!(page.eval("document.title"), "clsess");
    assert_eq!(
        page.eval("document.querySelectorAll('.session img, .session script').length"),
        0
    );
}

#[test]
fn a_question_is_shown_until_it_is_answered() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let Some(_server) = serve(&world) else { return };
    let Some(page) = Browser::open(&world, &format!("http://{HERE}/")) else {
        return;
    };
    let steps = json!([{"blocks": [world.write("new")]}, {"text": "after it"}]);
    world.api.rule("write", steps);
    let send = ["send", "--on-question", "wait", "work", "write"];
    let send = world.clsess(&send).spawn();
    page.shows("question", "may Write be used: new");
    // The next broker asks it again.
    world.kill_broker();
    page.shows("note", "(what was here is not kept any more)");
    page.shows("question", "may Write be used: new");
    world.clsess(&["deny", "work"]).run().ok();
    send.wait().ok();
    page.shows("question", "");
    page.shows("message", "after it");
}

/// Whoever of the three goes away: the server, the broker, the page.
#[test]
fn what_comes_back_shows_nothing_twice_and_misses_nothing() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let Some(server) = serve(&world) else { return };
    let Some(page) = Browser::open(&world, &format!("http://{HERE}/")) else {
        return;
    };
    world.api.answer("one", "First.");
    world.send("work", "one");
    held(&world, "slow", "It says more later.");
    let send = world.clsess(&["send", "work", "slow"]).spawn();
    page.shows("message", "First.|It says ");

    // Killed, it cannot end what it has started.
    server.signal(Signal::SIGKILL);
    server.wait();
    nobody_watches(&world);
    world.api.release("slow");
    send.wait().ok();
    let Some(_server) = serve(&world) else { return };
    page.shows("message", "First.|It says more later.");
    page.shows("state", "idle");
    // It was given the rest alone.
    let seen = watching(&world);
    assert!(seen.len() == 1 && seen[0] > 0, "{seen:?}");

    page.reload();
    page.shows("message", "First.|It says more later.");

    held(&world, "third", "And what else?");
    let send = world.clsess(&["send", "work", "third"]).spawn();
    let all = "First.|It says more later.|And what";
    page.shows("message", all);
    world.kill_broker();
    page.shows("note", "(what was here is not kept any more)");
    page.shows("message", all);
    world.api.release("third");
    send.wait().ok();
    page.shows("message", &format!("{all} else?"));

    // Who is told that there is nothing more to come does not ask again.
    world.clsess(&["kill", "work"]).run().ok();
    page.shows("state", "gone");
    until("it has ended", || page.eval("source.readyState") == 2);
    nobody_watches(&world);
}

fn curl(world: &World, args: &[&str]) -> Cmd {
    world.program("curl", &[&["-sS", "-m", "10"], args].concat())
}

fn status(world: &World, args: &[&str]) -> String {
    let done = curl(
        world,
        &[&["-o", "/dev/null", "-w", "%{http_code}"], args].concat(),
    );
    done.run().ok().text().to_owned()
}

#[test]
fn strangers_are_refused() {
    let Some(world) = World::real() else { return };
    world.session("work");
    if find("curl").is_none() {
        skipped::<()>("there is no curl");
        return;
    }
    let Some(_server) = serve(&world) else { return };
    let (page, events) = (format!("http://{HERE}/"), format!("http://{HERE}/events"));
    assert_eq!(status(&world, &[&page]), "200");
    for host in [
        "evil.example",
        "evil.example:8737",
        "localhost:8737",
        "127.0.0.1",
        "",
    ] {
        let host = format!("Host: {host}");
        assert_eq!(status(&world, &["-H", &host, &page]), "403", "{host}");
        assert_eq!(status(&world, &["-H", &host, &events]), "403", "{host}");
    }
    for id in ["-1", "x", "1 2", "--schema", "²"] {
        let id = format!("Last-Event-ID: {id}");
        assert_eq!(status(&world, &["-H", &id, &events]), "404", "{id}");
    }
    assert_eq!(status(&world, &[&format!("{page}serve.py")]), "404");
    assert_eq!(status(&world, &["-d", "x", &events]), "501");
    another_user_is_refused(&world, &page);
    nobody_watches(&world);
    // A session that is not there is no stream that a browser would ask for again and again.
    world.clsess(&["kill", "work"]).run().ok();
    assert_eq!(status(&world, &[&events]), "502");
}

/// Its connection is closed before it has said anything.
fn another_user_is_refused(world: &World, page: &str) {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let nobody = ["--reuid=65534", "--clear-groups", "--", "curl", "-sS", page];
    let done: Done = world.program("setpriv", &nobody).cwd("/").run();
    assert!([52, 56].contains(&done.code), "{done:?}");
    assert_eq!(done.stdout, b"");
}

/// Also where nothing happens that would be written to it.
#[test]
fn who_goes_away_leaves_no_process() {
    let Some(world) = World::real() else { return };
    world.session("work");
    if find("curl").is_none() {
        skipped::<()>("there is no curl");
        return;
    }
    let Some(server) = serve(&world) else { return };
    let events = format!("http://{HERE}/events");
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let reader = world.program("curl", &["-sSN", &events]).spawn();
        reader.wait_stdout(|said| said.starts_with(b": from here on\n\n"));
        assert_eq!(watching(&world), [0]);
        reader.signal(signal);
        nobody_watches(&world);
    }
    let reader = world.program("curl", &["-sSN", &events]).spawn();
    reader.wait_stdout(|said| said.starts_with(b": from here on\n\n"));
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait().code, 130);
    nobody_watches(&world);
}
