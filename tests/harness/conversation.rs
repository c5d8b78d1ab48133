//! The agent's conversation: where the client keeps it, and what the model gets of it.

use std::path::PathBuf;

use serde_json::Value;

use super::{World, until};

impl World {
    /// The id of the session's conversation.
    pub fn conversation(&self, name: &str) -> String {
        let id = &self.show(name)["agent_session_id"];
        id.as_str().unwrap().to_owned()
    }

    /// Where the client keeps a conversation. The interface writes it a moment behind its first turn.
    pub fn transcript(&self, id: &str) -> PathBuf {
        let file = format!("{id}.jsonl");
        let mut found = None;
        until("there is a transcript", || {
            let projects = std::fs::read_dir(self.home().join(".claude/projects"));
            let projects = projects.into_iter().flatten();
            let mut paths = projects.map(|project| project.unwrap().path().join(&file));
            found = paths.find(|path| path.exists());
            found.is_some()
        });
        found.unwrap()
    }

    /// What the model got in the last request: the texts of both sides.
    pub fn context(&self) -> Vec<String> {
        let requests = self.api.main_requests(0);
        let index = requests.last().unwrap()["index"].as_u64().unwrap();
        let body = self.api.body(index);
        let messages = body["messages"].as_array().unwrap();
        // The client's own words to the model are neither's.
        let both = ["user", "assistant"];
        let said = messages
            .iter()
            .filter(|message| both.iter().any(|it| message["role"] == *it));
        let texts = said.flat_map(|message| match &message["content"] {
            Value::String(text) => vec![text.clone()],
            blocks => {
                let texts = blocks.as_array().unwrap().iter();
                texts
                    .filter_map(|block| block["text"].as_str())
                    .map(str::to_owned)
                    .collect()
            }
        });
        texts
            .filter(|text| !text.starts_with("<system-reminder>"))
            .collect()
    }
}
