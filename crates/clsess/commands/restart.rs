//! `clsess restart`.

use clsess_proto::{Failure, Reply, Request};

use super::{ms, new};
use crate::cli::{AgentOptions, Restart};
use crate::config::Config;
use crate::output::print_json;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(restart: Restart, surroundings: &Surroundings) -> Result<u8, Failure> {
    let config = Config::load(surroundings.config.as_ref())?;
    let line = AgentOptions {
        start_timeout: restart.start_timeout,
        ..AgentOptions::default()
    };
    let resolved = config.resolve(Some(&restart.name), &line)?;
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let request = Request::Restart {
        session: link.id_of(&restart.name).await?,
        fresh: restart.fresh,
        env: restart.update_env.then(|| new::environment(&resolved.env)),
        start_timeout_ms: ms(resolved.start_timeout),
    };
    match link.call(request).await? {
        Reply::Session { session, .. } => {
            if restart.json {
                print_json(&session);
            }
            Ok(0)
        }
        other => Err(unexpected(&other)),
    }
}
