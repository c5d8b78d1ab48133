//! `clsess show`.

use clsess_proto::{Failure, Reply, Request};
use serde_json::Value;

use crate::cli::Show;
use crate::output::{print, print_json, table};
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(show: Show, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let session = show.name;
    let detail = match link.call(Request::Show { session }).await? {
        Reply::Detail(detail) => detail,
        other => return Err(unexpected(&other)),
    };
    if show.json {
        print_json(&detail);
        return Ok(0);
    }
    let fields = serde_json::to_value(&detail).unwrap_or_default();
    let rows: Vec<Vec<String>> = fields
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| vec![name.clone(), plain(value)])
        .collect();
    print(&table(&rows));
    Ok(0)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let parts = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", plain(value)));
            parts.collect::<Vec<_>>().join(" ")
        }
        value => value.to_string(),
    }
}
