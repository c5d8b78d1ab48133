//! `clsess send`: where the prompt comes from, keys, `--no-wait`, `result`, sessions on demand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::{World, send_signal};
use nix::sys::signal::Signal;
use serde_json::json;

/// Sends with these arguments and this stdin; the prompt that arrived.
#[track_caller]
fn arrives(world: &World, args: &[&str], stdin: Option<&str>) -> String {
    let before = world.api.next();
    let send = world.clsess(args);
    let done = match stdin {
        Some(text) => send.stdin(text).run(),
        None => send.silent_stdin().run(),
    };
    done.ok();
    let prompts = world.api.prompts(before);
    assert_eq!(prompts.len(), 1, "{prompts:?}");
    prompts.into_iter().next().unwrap()
}

#[test]
fn words_are_joined_by_one_space_and_options_end_at_the_first() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let prompt = |args: &[&str]| arrives(&world, args, None);
    assert_eq!(prompt(&["send", "work", "a", "b  c", "d "]), "a b  c d ");
    assert_eq!(
        prompt(&["send", "work", "fix", "--help", "-o", "json", "--", "-A"]),
        "fix --help -o json -- -A"
    );
    assert_eq!(prompt(&["send", "work", "-o", "text", "x"]), "x");
    assert_eq!(prompt(&["send", "work", "5", "-", "3"]), "5 - 3");
    assert_eq!(prompt(&["send", "work", "a", "", "b"]), "a  b");
}

#[test]
fn stdin_is_read_without_words_and_for_a_last_dash() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let given = |args: &[&str]| arrives(&world, args, Some("the diff\n"));
    assert_eq!(given(&["send", "work"]), "the diff\n");
    assert_eq!(given(&["send", "work", "-"]), "the diff\n");
    assert_eq!(
        given(&["send", "work", "Review", "this:", "-"]),
        "Review this:\n\nthe diff\n"
    );
    assert_eq!(given(&["send", "work", "--", "-"]), "the diff\n");
    assert_eq!(given(&["send", "work", "words only"]), "words only");
}

#[test]
fn a_file_is_the_prompt_or_follows_the_words() {
    let Some(world) = World::real() else { return };
    world.session("work");
    std::fs::write(world.project().join("p.txt"), "  from a file\r\n\n").unwrap();
    let prompt = |args: &[&str]| arrives(&world, args, None);
    assert_eq!(
        prompt(&["send", "-f", "p.txt", "work"]),
        "  from a file\r\n\n"
    );
    assert_eq!(
        prompt(&["send", "--file", "p.txt", "work", "Read:"]),
        "Read:\n\n  from a file\r\n\n"
    );
    assert_eq!(
        arrives(&world, &["send", "-f", "-", "work", "Read:"], Some("in")),
        "Read:\n\nin"
    );
    let missing = world.clsess(&["send", "-f", "none.txt", "work"]);
    let done = missing.run().fails(2);
    assert_eq!(
        done.stderr,
        "clsess: cannot read the prompt from none.txt: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_session_is_made_on_demand_where_that_is_wanted() {
    let Some(world) = World::real() else { return };
    let done = world.clsess(&["send", "fresh", "hi"]).run().fails(3);
    assert_eq!(
        done.stderr,
        "clsess: there is no session fresh\nhint: clsess ls; to make it: clsess new fresh\n"
    );
    let done = world.clsess(&["send", "-A", "fresh", "hi"]).run().ok();
    assert_eq!(done.text(), "you said: hi\n");
    let done = world.clsess(&["send", "-A", "fresh", "again"]).run().ok();
    assert_eq!(done.text(), "you said: again\n");
    assert_eq!(world.show("fresh")["turns"], 2);
    assert_eq!(
        world.show("fresh")["cwd"],
        world.project().to_str().unwrap()
    );

    let dir = world.root().join("declared");
    std::fs::create_dir(&dir).unwrap();
    world.config(&format!("[session.declared]\ncwd = '{}'\n", dir.display()));
    assert_eq!(world.send("declared", "hi"), "you said: hi\n");
    assert_eq!(world.show("declared")["cwd"], dir.to_str().unwrap());
    let keyed = ["send", "-A", "--key", "k", "keyed", "hi"];
    assert_eq!(world.clsess(&keyed).run().ok().text(), "you said: hi\n");
    let unwaited = ["send", "-A", "--no-wait", "unwaited", "hi"];
    let turn = world.clsess(&unwaited).run().ok();
    let done = world.clsess(&["result", "unwaited", turn.text().trim()]);
    assert_eq!(done.run().ok().text(), "you said: hi\n");
}

#[test]
fn the_same_key_runs_a_prompt_once() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.session("other");
    let send = |session: &str, key: &str, prompt: &str| {
        let args = ["send", "--key", key, session, prompt];
        world.clsess(&args).run()
    };
    assert_eq!(send("work", "k1", "one").ok().text(), "you said: one\n");
    assert_eq!(send("work", "k1", "one").ok().text(), "you said: one\n");
    assert_eq!(world.api.prompts(0), ["one"]);

    let done = send("work", "k1", "another").fails(2);
    let turn = world.clsess(&["result", "-o", "json", "work"]).run().json()["turn"].clone();
    assert_eq!(
        done.stderr,
        format!(
            "clsess: this key, or turn id, was used for another prompt\n\
             hint: clsess result work {}\n",
            turn.as_str().unwrap()
        )
    );
    // Another key, and the same key in another session, are other turns.
    assert_eq!(send("work", "k2", "one").ok().text(), "you said: one\n");
    assert_eq!(send("other", "k1", "one").ok().text(), "you said: one\n");
    assert_eq!(world.api.prompts(0), ["one", "one", "one"]);

    // The key is still known by the next broker.
    world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(send("work", "k1", "one").ok().text(), "you said: one\n");
    assert_eq!(world.api.main_requests(0).len(), 3);
}

#[test]
fn the_same_key_joins_a_turn_that_runs() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "at last", "hold": "h"}]));
    let args = ["send", "--key", "k", "work", "slow"];
    let first = world.clsess(&args).spawn();
    world.api.wait_hold("h", 1);
    let second = world.clsess(&args).spawn();
    let third = world.clsess(&["result", "work"]).spawn();
    assert_eq!(world.show("work")["queue"], 0);
    world.api.release("h");
    for client in [first, second, third] {
        assert_eq!(client.wait().ok().text(), "at last\n");
    }
    assert_eq!(world.api.prompts(0), ["slow"]);
}

#[test]
fn no_wait_prints_the_turn_whose_result_can_be_had_later() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "done", "hold": "h"}]));
    let no_wait = |prompt: &str| {
        let args = ["send", "--no-wait", "work", prompt];
        let done = world.clsess(&args).run().ok();
        let id = done.text().strip_suffix('\n').unwrap().to_owned();
        assert_eq!(id.len(), 36, "{id}");
        id
    };
    let slow = no_wait("slow");
    world.api.wait_hold("h", 1);
    let next = no_wait("next");
    assert_eq!(world.show("work")["queue"], 1);
    let waiting = world.clsess(&["result", "work", &slow]).spawn();
    let last = world.clsess(&["result", "work"]).spawn();
    world.api.release("h");
    assert_eq!(waiting.wait().ok().text(), "done\n");
    assert_eq!(last.wait().ok().text(), "you said: next\n");

    let result = |turn: &str| world.clsess(&["result", "work", turn]).run();
    assert_eq!(result("-1").ok().text(), "you said: next\n");
    assert_eq!(result("-2").ok().text(), "done\n");
    assert_eq!(result(&next[..12]).ok().text(), "you said: next\n");
    assert_eq!(result(&slow).ok().text(), "done\n");
    assert_eq!(world.api.main_requests(0).len(), 2);
}

#[test]
fn a_killed_session_is_still_read_by_its_id() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "keep this");
    let id = world.show("work")["id"].as_str().unwrap().to_owned();
    world.clsess(&["kill", "work"]).run().ok();
    let done = world.clsess(&["result", &id]).run().ok();
    assert_eq!(done.text(), "you said: keep this\n");
    world.clsess(&["result", "work"]).run().fails(3);
}

#[test]
fn result_has_the_exit_code_of_its_turn() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let refused = json!([{"status": 400, "message": "not like this"}]);
    world.api.rule_repeat("bad", refused);
    let sent = world.clsess(&["send", "work", "bad"]).run().fails(1);
    let read = world.clsess(&["result", "work"]).run().fails(1);
    assert_eq!(read.stderr, sent.stderr);
    assert_eq!(read.stdout, b"");
}

#[test]
fn a_prompt_is_asked_again_when_its_broker_dies_and_runs_once() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let streams = ["send", "-o", "stream-json", "work", "streamed"];
    let queued = [
        world.clsess(&["send", "work", "queued"]).spawn(),
        world.clsess(&streams).spawn(),
    ];
    world.wait_queued("work", 2);
    let looking = world.clsess(&["result", "work", "-1"]).spawn();
    send_signal(world.broker(), Signal::SIGKILL);
    world.api.release("h");
    assert_eq!(running.wait().ok().text(), "late\n");
    let [queued, streamed] = queued.map(|send| send.wait().ok());
    assert_eq!(queued.text(), "you said: queued\n");
    let streamed = streamed.json_lines();
    assert_eq!(streamed.last().unwrap()["answer"], "you said: streamed");
    looking.wait().ok();
    let mut prompts = world.api.prompts(0);
    prompts.sort();
    assert_eq!(prompts, ["queued", "slow", "streamed"]);
}

#[test]
fn variables_that_are_set_but_empty_count_as_unset() {
    let Some(world) = World::bare() else { return };
    let mut ls = world.clsess(&["ls"]);
    for variable in [
        "CLSESS_SOCKET",
        "CLSESS_LABEL",
        "CLSESS_CONFIG",
        "XDG_STATE_HOME",
    ] {
        ls = ls.env(variable, "");
    }
    ls.run().ok();
    assert!(world.socket().exists());
    world.clsess(&["-S", "", "ls"]).run().fails(2);
}

#[test]
fn what_is_no_prompt_is_refused_before_anything_is_started() {
    let Some(world) = World::bare() else { return };
    let nul = "clsess: the prompt has a NUL in it, which no model takes\n";
    let utf8 = |at| {
        format!(
            "clsess: the prompt is not UTF-8 (byte {at})\n\
             hint: iconv -f latin1 -t utf-8 FILE | clsess send NAME\n"
        )
    };
    let empty = "clsess: the prompt is empty\n\
                 hint: clsess send NAME \"a prompt\", or give it on stdin\n";
    let cases: [(&[u8], String); 9] = [
        (b"a\0b", nul.to_owned()),
        (b"\0", nul.to_owned()),
        (b"a\xff", utf8(1)),
        (b"\xed\xa0\x80", utf8(0)), // half of a surrogate pair
        ("ab\u{e9}".as_bytes().split_last().unwrap().1, utf8(2)),
        (b"", empty.to_owned()),
        (b"\n", empty.to_owned()),
        (b" \t\r\n \n", empty.to_owned()),
        ("\u{a0}\u{2003}\u{3000}".as_bytes(), empty.to_owned()),
    ];
    for (bytes, message) in cases {
        let done = world.clsess(&["send", "work"]).stdin(bytes).run().fails(2);
        assert_eq!(done.stderr, message, "{bytes:?}");
        assert_eq!(done.stdout, b"", "{bytes:?}");
    }
    for word in ["", " ", "\t\n"] {
        let done = world.clsess(&["send", "work", word]).run().fails(2);
        assert_eq!(done.stderr, empty, "{word:?}");
    }
    world.clsess(&["broker", "status"]).run().fails(11);
}

#[test]
fn a_deadline_that_is_too_far_away_is_none() {
    let Some(world) = World::real() else { return };
    world.session("work");
    let never = u64::MAX.to_string();
    let send = [
        "send",
        "--deadline",
        &never,
        "--timeout",
        &never,
        "work",
        "hi",
    ];
    let done = world.clsess(&send).run().ok();
    assert_eq!(done.text(), "you said: hi\n");
}
