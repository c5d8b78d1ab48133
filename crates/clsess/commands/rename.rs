//! `clsess rename`.

use clsess_proto::{Failure, Reply, Request};

use crate::cli::Rename;
use crate::client::{Start, unexpected};
use crate::link::Link;
use crate::surroundings::Surroundings;

pub async fn run(rename: Rename, surroundings: &Surroundings) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    // By its id, so that nothing else is renamed when this has to be asked twice.
    let session = match link
        .call(Request::Show {
            session: rename.old,
        })
        .await?
    {
        Reply::Detail(detail) => detail.row.id.to_string(),
        other => return Err(unexpected(&other)),
    };
    let request = Request::Rename {
        session,
        name: rename.new,
    };
    match link.call(request).await? {
        Reply::Session { .. } => Ok(0),
        other => Err(unexpected(&other)),
    }
}
