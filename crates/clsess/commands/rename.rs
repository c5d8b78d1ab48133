//! `clsess rename`.

use clsess_proto::{Failure, Reply, Request};

use crate::cli::Rename;
use crate::client::{Client, Start, unexpected};
use crate::surroundings::Surroundings;

pub async fn run(rename: Rename, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut client = Client::connect(surroundings, Start::IfMissing).await?;
    let request = Request::Rename {
        session: rename.old,
        name: rename.new,
    };
    match client.call(request).await? {
        Reply::Session { .. } => Ok(0),
        other => Err(unexpected(&other)),
    }
}
