//! `clsess version`.

use clsess_proto::{Failure, PROTOCOL, VERSION};
use serde_json::json;

use crate::cli::Version;
use crate::output::{print, print_json};
use clsess_client::client::{Client, Start};
use clsess_client::surroundings::Surroundings;

pub async fn run(version: &Version, surroundings: &Surroundings) -> Result<u8, Failure> {
    let broker = Client::connect(surroundings, Start::Never).await.ok();
    let broker = broker.map(|client| client.hello.version);
    if version.json {
        let mut value = json!({ "version": VERSION, "protocol": PROTOCOL });
        if let Some(broker) = broker {
            value["broker"] = broker.into();
        }
        print_json(&value);
    } else {
        let broker = broker.map_or_else(|| "none is running".to_owned(), |v| format!("clsess {v}"));
        print(&format!(
            "clsess {VERSION} (protocol {PROTOCOL})\nbroker: {broker}\n"
        ));
    }
    Ok(0)
}
