//! The provider that sessions with a tap are measured at, and sessions without one: a `fake-api` of our
//! own, which says when each answer left it. It is found by its URL, and by its own name through a proxy.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::children::Owned;
use crate::measure::What;

/// A prompt with this in it is answered by some words, and after a pause by the rest.
pub const SLOWLY: &str = "slowly";
/// What it is answered.
pub const ANSWER: &str = "The first words, and then all of the rest of it.";
/// How long the pause is, in ms: the first words are through long before.
const PAUSE: u64 = 20;

/// Two sessions, without a tap and with one: what a turn is called, and the tap. Their driver, and whether
/// they find the provider by its own name.
pub type Pair = ([(What, &'static str); 2], &'static str, bool);

/// All of them.
pub const PAIRS: [Pair; 4] = [
    (
        [(What::Provider, "off"), (What::Proxy, "proxy")],
        "stream",
        true,
    ),
    (
        [(What::Url, "off"), (What::BaseUrl, "base-url")],
        "stream",
        false,
    ),
    (
        [(What::FaceProvider, "off"), (What::FaceProxy, "proxy")],
        "tui",
        true,
    ),
    (
        [(What::FaceUrl, "off"), (What::FaceBaseUrl, "base-url")],
        "tui",
        false,
    ),
];

/// Those whose first words are looked at, and what they are called.
pub const WORDS: [(What, What); 2] = [
    (What::WordsProxy, What::FaceProxy),
    (What::WordsBaseUrl, What::FaceBaseUrl),
];

/// The name of a session.
pub fn name(what: What) -> String {
    format!("{what:?}").to_lowercase()
}

/// The provider.
#[derive(Debug)]
pub struct Provider {
    _process: Owned,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    port: u64,
    /// Of the proxy by which it has its own name.
    proxy: u64,
    /// Who vouches for it then.
    authority: PathBuf,
    /// The number of the next request.
    next: u64,
}

impl Provider {
    /// Starts one.
    pub fn start(fake_api: &Path, authority: PathBuf) -> Result<Self> {
        let mut command = Command::new(fake_api);
        command
            .args(["serve", "--no-namespace-check"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = Owned::spawn(&mut command)?;
        let stdin = process.child().stdin.take().context("no stdin")?;
        let stdout = process.child().stdout.take().context("no stdout")?;
        let mut provider = Self {
            _process: process,
            stdin,
            stdout: BufReader::new(stdout),
            port: 0,
            proxy: 0,
            authority,
            next: 0,
        };
        let port = |said: &Value| said["port"].as_u64().context("no port");
        provider.port = port(&provider.hears()?)?;
        let (ca, others) = (
            &provider.authority,
            provider.authority.with_extension("others"),
        );
        let asked = json!({"id": 1, "cmd": "provider", "ca": ca, "others": others});
        provider.proxy = port(&provider.asks(&asked)?)?;
        let first = ANSWER.len() / 3;
        let steps = json!([{"text": ANSWER, "delta_bytes": first, "delay_ms": PAUSE}]);
        provider.asks(&json!({"id": 1, "cmd": "rule", "match": SLOWLY, "respond": steps}))?;
        Ok(provider)
    }

    /// The command, and what it starts, finds this provider.
    pub fn found(&self, command: &mut Command, by_name: bool) {
        match by_name {
            true => command
                .env_remove("ANTHROPIC_BASE_URL")
                .env("HTTPS_PROXY", format!("http://127.0.0.1:{}", self.proxy))
                .env("NODE_EXTRA_CA_CERTS", &self.authority),
            false => command.env(
                "ANTHROPIC_BASE_URL",
                format!("http://127.0.0.1:{}", self.port),
            ),
        };
    }

    /// When the answer to this prompt, the newest of such a turn, began to leave: Unix time in ms.
    pub fn began(&mut self, prompt: &str) -> Result<f64> {
        let said = self.asks(&json!({"id": 1, "cmd": "requests", "since": self.next}))?;
        self.next = said["next"].as_u64().context("no next")?;
        let requests = said["requests"].as_array().context("no requests")?;
        let its = |request: &&Value| {
            request["kind"] == "main" && request["prompt"].as_str() == Some(prompt)
        };
        let request = requests.iter().rfind(its).context("no such request")?;
        request["first_ms"].as_f64().context("it has not begun")
    }

    fn asks(&mut self, command: &Value) -> Result<Value> {
        writeln!(self.stdin, "{command}")?;
        let said = self.hears()?;
        ensure!(said["ok"] == true, "{command}: {said}");
        Ok(said)
    }

    fn hears(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("fake-api says {line:?}"))
    }
}
