//! `clsess interrupt`.

use clsess_proto::{Failure, Reply, Request};

use crate::cli::Interrupt;
use crate::output::Output;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(
    interrupt: Interrupt,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let session = link.id_of(&interrupt.name).await?;
    match link.call(Request::Interrupt { session }).await? {
        Reply::Interrupted { turn: Some(_) } => {}
        Reply::Interrupted { turn: None } => {
            let name = &interrupt.name;
            output.note(&format!("nothing runs in {name} that anybody asked for"));
        }
        other => return Err(unexpected(&other)),
    }
    Ok(0)
}
