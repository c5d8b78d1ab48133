//! The real Claude Code through the tap, at a server of the test's own.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use clsess_tap::{Authority, Seen, Way};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::support::{BOTH, By, Line, Own, World, skipped, soon};

const API: &str = "api.anthropic.com";

/// An answer of the API, with one text.
const ANSWER: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"It came through.\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":4}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

/// The path of the real client, installed on first need.
fn claude() -> Option<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/install-claude");
    let output = std::process::Command::new(script).output().unwrap();
    match output.status.code() {
        Some(0) => Some(PathBuf::from(
            String::from_utf8(output.stdout).unwrap().trim(),
        )),
        Some(3) => skipped(String::from_utf8_lossy(&output.stderr).trim()),
        code => panic!("install-claude: {code:?}"),
    }
}

/// Answers what the agent asks for: its prompts, and nothing else.
async fn serve(mut line: Line) {
    while line.goes_on().await {
        let head = line.head().await;
        let length = head.to_ascii_lowercase();
        let length = length
            .split("content-length: ")
            .nth(1)
            .and_then(|l| l.split("\r\n").next()?.parse().ok());
        line.exactly(length.unwrap_or(0)).await;
        let prompt = head.starts_with("POST /v1/messages?");
        assert!(
            !prompt
                || head
                    .to_ascii_lowercase()
                    .contains("accept-encoding: identity\r\n"),
            "{head}"
        );
        let (status, kind, body) = match prompt {
            true => ("200 OK", "text/event-stream", ANSWER),
            false => ("404 Not Found", "application/json", "{}"),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        line.say(answer).await;
    }
}

#[tokio::test]
async fn claude_code_is_answered_through_the_tap() {
    let Some(claude) = claude() else { return };
    for by in BOTH {
        let mut world = World::new(by).await;
        let home = tempfile::tempdir().unwrap();
        let own = Own::new(API);
        std::fs::write(world.own_pem(), &own.certificate_pem).unwrap();
        let authority = Authority::load_or_make(&home.path().join("authority"), API).unwrap();
        let trusted = home.path().join("trusted.pem");
        std::fs::write(&trusted, authority.certificate_pem()).unwrap();
        let (sender, seen) = tokio::sync::mpsc::channel(100_000);
        world.seen = seen;
        let mut pass = world.pass(&world.vars(), sender);
        pass.way = match by {
            By::Proxy => Way::Proxy {
                host: API.to_owned(),
                port: 443,
                authority: Arc::new(authority),
            },
            By::BaseUrl => Way::BaseUrl {
                upstream: format!("https://{API}").parse().unwrap(),
            },
        };
        world.admitted = Some(world.tap.admit(pass));
        let (port, secret) = (world.tap.port(), world.secret.text());
        let mut command = Command::new(&claude);
        command
            .args(["-p", "hello", "--model", "claude-sonnet-4-5"])
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", "/usr/bin:/bin")
            .env("ANTHROPIC_API_KEY", "sk-ant-made-up")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .current_dir(home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        // whatever else it reaches for ends at the server of the test, or nowhere
        command
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env("NO_PROXY", "127.0.0.1");
        match by {
            By::Proxy => command
                .env(
                    "HTTPS_PROXY",
                    format!("http://clsess:{secret}@127.0.0.1:{port}"),
                )
                .env("NODE_EXTRA_CA_CERTS", &trusted),
            By::BaseUrl => command.env("HTTPS_PROXY", "http://127.0.0.1:1").env(
                "ANTHROPIC_BASE_URL",
                format!("http://127.0.0.1:{port}/s/{secret}"),
            ),
        };
        let output = command.output();
        let mut connections = JoinSet::new();
        let serving = async {
            loop {
                let stream = world.server.accept().await.unwrap().0;
                let acceptor = own.acceptor.clone();
                connections.spawn(async move {
                    // what is no TLS for this host is somebody else's business
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(Line::new(stream)).await;
                    }
                });
            }
        };
        let output = tokio::select! {
            output = soon(output) => output.unwrap(),
            () = serving => unreachable!(),
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.trim(), "It came through.", "{by:?} {errors}");
        drop(world.admitted.take());
        let mut answers = Vec::new();
        while let Some(seen) = world.seen.recv().await {
            match seen {
                Seen::Request {
                    method,
                    path_and_query,
                    ..
                } => println!("{by:?} {method} {path_and_query}"),
                Seen::AnswerBody { bytes, .. } => answers.extend_from_slice(&bytes),
                Seen::End { how, .. } => println!("{by:?} {how:?}"),
                _ => {}
            }
        }
        assert!(
            String::from_utf8(answers)
                .unwrap()
                .contains("It came through.")
        );
    }
}
