//! Tool calls of the scripted model, that go on until the test lets them.

use std::path::Path;

use serde_json::{Value, json};

use super::World;

impl World {
    /// The agents of the project may use Bash without being asked about it.
    pub fn allow_bash(&self) {
        let settings = self.project().join(".claude");
        std::fs::create_dir_all(&settings).unwrap();
        let allow = json!({"permissions": {"allow": ["Bash"]}});
        std::fs::write(settings.join("settings.json"), allow.to_string()).unwrap();
    }

    /// A call that writes the project's file of this name, for which the agent needs a permission.
    pub fn write(&self, name: &str) -> Value {
        let input = json!({"file_path": self.project().join(name), "content": "x"});
        json!({"tool": {"name": "Write", "input": input}})
    }

    /// Steps: a Bash call that adds a line to the project's file `began`, and goes on until there is
    /// one `goes-on`; then this text.
    pub fn bash_that_waits(&self, then: &str) -> Value {
        let (began, goes_on) = (self.project().join("began"), self.project().join("goes-on"));
        let command = format!("echo x >>{}; {}", began.display(), waits_for(&goes_on));
        json!([{"blocks": [bash(&command)]}, {"text": then}])
    }
}

/// A Bash call.
pub fn bash(command: &str) -> Value {
    json!({"tool": {"name": "Bash", "input": {"command": command}}})
}

/// A Bash call in the background.
pub fn background_bash(command: &str) -> Value {
    let input = json!({"command": command, "run_in_background": true});
    json!({"tool": {"name": "Bash", "input": input}})
}

/// A shell's command that ends when there is such a file.
pub fn waits_for(file: &Path) -> String {
    format!("until [ -e {} ]; do sleep 0.05; done", file.display())
}
