//! `clsess ls`.

use clsess_proto::{Failure, Reply, Request, SessionRow};
use serde_json::{Value, json};

use crate::cli::Ls;
use crate::output::{ago, name_of, print, print_json, table};
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(ls: Ls, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let sessions = match link.call(Request::List {}).await? {
        Reply::Sessions { sessions } => sessions,
        other => return Err(unexpected(&other)),
    };
    if ls.json {
        print_json(&json!({ "sessions": sessions }));
    } else if let Some(format) = &ls.format {
        let lines: String = sessions
            .iter()
            .map(|row| filled(format, row) + "\n")
            .collect();
        print(&lines);
    } else if !sessions.is_empty() {
        print(&table(&rows(&sessions)));
    }
    Ok(0)
}

fn rows(sessions: &[SessionRow]) -> Vec<Vec<String>> {
    let heads = [
        "NAME",
        "STATE",
        "DRIVER",
        "QUEUE",
        "TURNS",
        "ATTACHED",
        "IDLE",
        "DIRECTORY",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(sessions.iter().map(|row| {
        vec![
            row.name.clone(),
            name_of(&row.state),
            row.driver.clone(),
            row.queue.to_string(),
            row.turns.to_string(),
            row.attached.to_string(),
            ago(row.idle_s),
            row.cwd.clone(),
        ]
    }));
    rows
}

/// Replaces each `#{field}` of `format` by the row's; others stay as they are.
fn filled(format: &str, row: &SessionRow) -> String {
    let mut fields = serde_json::to_value(row).unwrap_or_default();
    // Left out of the JSON where there is nothing to say.
    for (field, nothing) in [("detail", json!("")), ("background", json!(0))] {
        if fields[field].is_null() {
            fields[field] = nothing;
        }
    }
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find("#{") {
        let (before, after) = rest.split_at(at);
        text.push_str(before);
        let Some(end) = after.find('}') else {
            rest = after;
            break;
        };
        match fields.get(&after[2..end]) {
            Some(Value::String(value)) => text.push_str(value),
            Some(value) => text.push_str(&value.to_string()),
            None => text.push_str(&after[..=end]),
        }
        rest = &after[end + 1..];
    }
    text + rest
}
