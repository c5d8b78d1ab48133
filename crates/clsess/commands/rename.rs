//! `clsess rename`.

use clsess_proto::{Failure, Reply, Request};

use crate::cli::Rename;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(rename: Rename, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let request = Request::Rename {
        session: link.id_of(&rename.old).await?,
        name: rename.new,
    };
    match link.call(request).await? {
        Reply::Session { .. } => Ok(0),
        other => Err(unexpected(&other)),
    }
}
