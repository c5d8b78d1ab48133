//! The real Codex CLI in a world: how it is started so that it asks nobody anything, and tells by
//! its hooks what happens. `contrib/profiles/CODEX-FACTS.md` has the reasons.

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Cmd, World, install, skipped, until};

/// The hooks that are told of, as the config and as the keys of their trust name them.
const HOOKS: [(&str, &str, u32); 4] = [
    ("SessionStart", "session_start", 600),
    ("UserPromptSubmit", "user_prompt_submit", 600),
    ("Stop", "stop", 600),
    ("Interrupt", "interrupt", 1),
];

/// What each hook runs: its stdin becomes a file, whole or not at all.
const TELL: &str = "#!/bin/sh\nexec >/dev/null\ncat >\"$1.part\" && mv \"$1.part\" \"$1\"\n";

/// Codex and what it tells.
pub struct Codex<'a> {
    world: &'a World,
    binary: PathBuf,
}

impl<'a> Codex<'a> {
    /// Puts its config into the world; `None` where it cannot be had.
    pub fn new(world: &'a World) -> Option<Self> {
        let binary = match install("install-codex", &[]) {
            Ok(binary) => binary,
            Err(why) => return skipped(&why),
        };
        let codex = Self { world, binary };
        std::fs::create_dir(codex.home()).unwrap();
        std::fs::write(codex.home().join("config.toml"), codex.config()).unwrap();
        world.executable("bin/tell", TELL);
        Some(codex)
    }

    /// `CODEX_HOME`.
    fn home(&self) -> PathBuf {
        self.world.home().join(".codex")
    }

    fn config(&self) -> String {
        format!(
            r#"model = "made-up"
model_provider = "loopback"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
[features]
daemon_auto_start = false
plugins = false
[model_providers.loopback]
name = "loopback"
base_url = "http://127.0.0.1:{}/v1"
env_key = "LOOPBACK_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[projects."{}"]
trust_level = "trusted"
"#,
            self.world.api.port,
            self.world.project().display()
        )
    }

    /// A profile of clsess, `codex`.
    pub fn profile(&self) -> String {
        format!(
            "[profile.codex]\ncommand = ['{}']\nturns = 'codex'\n\
             env = {{ CODEX_HOME = '{}', LOOPBACK_KEY = 'made-up' }}\n\
             [session.c]\nprofile = 'codex'\n",
            self.binary.display(),
            self.home().display()
        )
    }

    /// `codex ARG...`, with its hooks.
    pub fn command(&self, args: &[&str]) -> Cmd {
        let mut all: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mut trusted = Vec::new();
        for (name, label, timeout) in HOOKS {
            let command = format!(
                "{} {}",
                self.world.root().join("bin/tell").display(),
                self.file(name).display()
            );
            let key = format!("/<session-flags>/config.toml:{label}:0:0");
            let hash = self.hash(label, &command, timeout);
            trusted.push(format!(r#""{key}"={{trusted_hash="{hash}"}}"#));
            let hook = format!(r#"{{type="command",command="{command}"}}"#);
            all.extend(["-c".into(), format!("hooks.{name}=[{{hooks=[{hook}]}}]")]);
        }
        all.extend([
            "-c".into(),
            format!("hooks.state={{{}}}", trusted.join(",")),
        ]);
        self.world
            .program(self.binary.to_str().unwrap(), &all)
            .env("CODEX_HOME", self.home())
            .env("LOOPBACK_KEY", "made-up")
            .env("TERM", "xterm-256color")
    }

    /// What makes a hook one that the user has looked at: a hash of what it is.
    fn hash(&self, label: &str, command: &str, timeout: u32) -> String {
        let identity = format!(
            r#"{{"event_name":"{label}","hooks":[{{"async":false,"command":"{command}","timeout":{timeout},"type":"command"}}]}}"#
        );
        let sum = self.world.program("sha256sum", &["-b"]).stdin(identity);
        let sum = sum.run().ok();
        format!("sha256:{}", sum.text().split(' ').next().unwrap())
    }

    fn file(&self, hook: &str) -> PathBuf {
        self.world.root().join("tmp").join(hook)
    }

    /// Waits for what this hook is given, and takes it away.
    pub fn told(&self, hook: &str) -> Value {
        let file = self.file(hook);
        until(&format!("{hook} is told"), || file.exists());
        let told = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        serde_json::from_slice(&told).unwrap()
    }

    /// Whether this hook was run since.
    pub fn has_told(&self, hook: &str) -> bool {
        self.file(hook).exists()
    }
}
