//! What a client may do that runs inside a session's agent: the real client's Bash tool tries it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::{CLSESS, World, until};
use serde_json::{Value, json};

/// A session whose agent may use Bash.
fn session(world: &World, name: &str) {
    let new = ["new", name, "--agent-arg=--allowedTools=Bash"];
    world.clsess(&new).run().ok();
}

/// Has the agent of a session run a script of Bash with its own tool; what came of it: exit
/// code and both outputs of each line of the script.
fn inside(world: &World, name: &str, lines: &[&str]) -> Vec<(i64, String)> {
    static RUNS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let run = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = world.root().join(format!("inside-{run}"));
    std::fs::create_dir(&dir).unwrap();
    let bin = std::path::Path::new(CLSESS).parent().unwrap();
    let mut script = format!("export PATH={}:$PATH\n", bin.display());
    for (at, line) in lines.iter().enumerate() {
        let out = dir.join(at.to_string());
        script += &format!(
            "( {line} ) >{0} 2>&1 </dev/null; echo $? >{0}.code\n",
            out.display()
        );
    }
    let file = dir.join("script");
    std::fs::write(&file, script).unwrap();
    let command = format!("bash {}", file.display());
    let tool = json!({"tool": {"name": "Bash", "input": {"command": command}}});
    let prompt = format!("inside {run}.");
    world
        .api
        .rule(&prompt, json!([{"blocks": [tool]}, {"text": "tried"}]));
    assert_eq!(world.send(name, &prompt), "tried\n");
    let told = |at: usize| {
        let read = |file: String| std::fs::read_to_string(dir.join(file)).unwrap();
        let code = read(format!("{at}.code")).trim().parse().unwrap();
        (code, read(at.to_string()))
    };
    (0..lines.len()).map(told).collect()
}

/// Each of these is refused, in these words.
fn refused(outcomes: &[(i64, String)], lines: &[&str], message: &str) {
    for ((code, said), line) in outcomes.iter().zip(lines) {
        assert_eq!(*code, 1, "{line}: {said}");
        assert!(
            said.starts_with(&format!("clsess: {message}\n")),
            "{line}: {said}"
        );
    }
}

#[test]
fn an_agent_may_look_and_nothing_else() {
    let Some(world) = World::real() else { return };
    session(&world, "work");
    session(&world, "other");
    world.send("other", "hello");

    let reads = [
        "clsess ls",
        "clsess show other",
        "clsess result other",
        "clsess log other --json",
        "clsess queue other",
        "clsess questions",
        "clsess broker status",
        "clsess wait other",
        "timeout 1 clsess events --since 0 | grep -c queued",
    ];
    for ((code, said), line) in inside(&world, "work", &reads).iter().zip(reads) {
        assert_eq!(*code, 0, "{line}: {said}");
    }

    let message = "this runs inside the agent of work, which may not do that";
    let changes = [
        "clsess new third --trust",
        "clsess new third",
        "clsess kill other",
        "clsess kill --all",
        "clsess restart work",
        "clsess rename other mine",
        "clsess interrupt work",
        "clsess queue work clear",
        "clsess queue work run",
        "clsess approve work",
        "clsess deny work",
        "clsess answer work yes",
        "clsess broker stop",
        // Whatever it does with its processes.
        "setsid -w bash -c 'clsess kill other'",
        "env -i HOME=$HOME PATH=$PATH CLSESS_STATE_DIR=$CLSESS_STATE_DIR \
         CLSESS_RUNTIME_DIR=$CLSESS_RUNTIME_DIR setsid -w clsess kill other",
    ];
    let outcomes = inside(&world, "work", &changes);
    // kill tells it for each session, of which it then knows none.
    refused(&outcomes, &changes, message);

    let sends = ["clsess send other hi", "clsess send --no-wait other hi"];
    let message = "this runs inside the agent of work, which may not send to other";
    refused(&inside(&world, "work", &sends), &sends, message);
    let own = ["clsess send work hi"];
    let message = "this runs inside the agent of work, which cannot wait for itself";
    refused(&inside(&world, "work", &own), &own, message);

    let names: Vec<Value> = world.clsess(&["ls", "--json"]).run().ok().json()["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].clone())
        .collect();
    assert_eq!(names, ["other", "work"]);
    assert_eq!(world.show("other")["turns"], 1);
}

#[test]
fn a_process_that_has_lost_its_parents_is_still_inside() {
    let Some(world) = World::real() else { return };
    session(&world, "work");
    session(&world, "other");
    let out = world.root().join("orphan");
    // Twice forked, in a session of its own, its parents gone: the holder is its parent now.
    let orphan = format!(
        "(setsid bash -c 'until read -r _ _ _ parent _ </proc/$$/stat; [ $parent = {1} ]; do sleep 0.02; done; {CLSESS} kill other >{0}.new 2>&1; mv {0}.new {0}' \
         >/dev/null 2>&1 </dev/null &)",
        out.display(),
        world.show("work")["holder_pid"]
    );
    let (code, said) = inside(&world, "work", &[&orphan]).remove(0);
    assert_eq!((code, said.as_str()), (0, ""));
    until("the orphan has tried", || out.exists());
    let said = std::fs::read_to_string(out).unwrap();
    assert!(
        said.starts_with("clsess: this runs inside the agent of work, which may not do that\n"),
        "{said}"
    );
    assert_eq!(world.show("other")["state"], "idle");
}

#[test]
fn an_agent_cannot_approve_itself() {
    let Some(world) = World::real() else { return };
    session(&world, "work");
    // It leaves somebody behind who says yes to whatever it asks next.
    let yes = format!(
        "(setsid bash -c 'until {CLSESS} questions work | grep -q Write; do sleep 0.05; done; \
         {CLSESS} approve work >said.new 2>&1; mv said.new said' >/dev/null 2>&1 </dev/null &)"
    );
    inside(&world, "work", &[&yes]);
    let new = world.project().join("new");
    let tool = json!({"tool": {"name": "Write", "input": {"file_path": new, "content": "x"}}});
    world.api.rule(
        "write",
        json!([{"blocks": [tool]}, {"text": "not written"}]),
    );
    let ask = ["send", "--on-question", "wait", "work", "write"];
    let send = world.clsess(&ask).spawn();
    let said = world.project().join("said");
    until("it has tried", || said.exists());
    let said = std::fs::read_to_string(said).unwrap();
    assert!(said.contains("which may not do that"), "{said}");
    assert_eq!(world.show("work")["state"], "question");
    world.clsess(&["deny", "work"]).run().ok();
    assert_eq!(send.wait().ok().text(), "not written\n");
    assert!(!new.exists());
}

#[test]
fn an_agent_may_send_where_it_is_listed() {
    let Some(world) = World::real() else { return };
    world.config("[session.other]\nallow_from = ['work']\n");
    session(&world, "work");
    session(&world, "other");
    session(&world, "third");
    let lines = [
        "clsess send other ask",
        "clsess send third ask",
        "clsess restart other",
        "clsess send -A fourth ask",
    ];
    let outcomes = inside(&world, "work", &lines);
    assert_eq!(outcomes[0], (0, "you said: ask\n".to_owned()));
    for (code, said) in &outcomes[1..3] {
        assert_eq!(*code, 1, "{said}");
    }
    assert_eq!(
        outcomes[3].0, 1,
        "it is made on no account: {}",
        outcomes[3].1
    );
    let json = ["clsess approve --json work"];
    let (_, said) = inside(&world, "other", &json).remove(0);
    assert!(said.contains(r#""not_allowed""#), "{said}");
    // The other way it may not.
    let (code, _) = inside(&world, "other", &["clsess send work ask"]).remove(0);
    assert_eq!(code, 1);
}

/// A client of its own making asks for what the command never would.
#[test]
fn an_agent_ends_no_turn_of_a_session_that_does_not_list_it() {
    let Some(world) = World::real() else { return };
    world.config("[session.other]\nallow_from = ['work']\n");
    for name in ["work", "other", "third"] {
        session(&world, name);
    }
    let answer = json!([{"text": "late", "hold": "h"}]);
    world.api.rule("slow", answer);
    let held = world.clsess(&["send", "third", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let log = world.clsess(&["log", "--json", "third"]).run().ok();
    let turn = log.json_lines()[0]["turn"].as_str().unwrap().to_owned();
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python");
    let cancel = format!(
        "python3 -c 'import sys; sys.dont_write_bytecode = True; sys.path.insert(0, \"{client}\")\n\
         from client import Broker\nBroker().cancel(\"other\", \"{turn}\")'"
    );
    let (code, said) = inside(&world, "work", &[&cancel]).remove(0);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("not_allowed"), "{said}");
    assert!(held.runs());
    world.api.release("h");
    assert_eq!(held.wait().ok().text(), "late\n");
}
