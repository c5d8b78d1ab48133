//! `clsess hook`: a hook of an agent's interface, brought to the broker, and its answer back.
//!
//! The agent starts it for each of its hooks, with the hook's JSON on stdin, and takes what it
//! prints for the answer. A broker that dies meanwhile is waited for, and told again: no hook is
//! lost with one. Who asks is known by its process, which descends from the session's holder; so
//! there is nothing to steal, and nothing comes from anybody else.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::PathBuf;

use clsess_broker::place::Place;
use clsess_proto::{ErrorCode, Failure, Reply, Request};
use serde_bytes::ByteBuf;
use uuid::Uuid;

use crate::output::print_bytes;
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

/// Bytes of one hook at most: a tool's input and result are in it.
const MAX_INPUT: u64 = 32 * 1024 * 1024;

/// Where the broker is.
pub struct Door {
    pub(super) surroundings: Surroundings,
}

impl Door {
    /// By the words of the command: the label, the directory of the labels' state, the socket.
    ///
    /// # Errors
    /// [`ErrorCode::BadRequest`] when those are not there.
    pub fn named(mut words: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut next = || words.next();
        let (Some(label), Some(state), Some(socket)) = (next(), next(), next()) else {
            let message = "clsess hook is what agents start, by themselves";
            return Err(Failure::new(ErrorCode::BadRequest, message));
        };
        let label = label.to_string_lossy().into_owned();
        let state_dir = PathBuf::from(state);
        let surroundings = Surroundings {
            place: Place {
                state: state_dir.join(&label),
                socket: socket.into(),
            },
            socket_named: true,
            activating: None,
            label,
            state_dir,
            program: std::env::current_exe().unwrap_or_default(),
            upgrades: false,
            notes: None,
            config: None,
        };
        Ok(Self { surroundings })
    }

    /// Tells the broker, and the agent what it says.
    ///
    /// # Errors
    /// When there is no broker, or none that knows this agent.
    pub async fn tell(self) -> Result<u8, Failure> {
        let request = Request::Hook {
            id: Uuid::new_v4(),
            input: ByteBuf::from(stdin()?),
        };
        let mut link = Link::connect(&self.surroundings, Start::IfMissing).await?;
        match link.call(request).await? {
            Reply::Hooked { output } => print_bytes(&output),
            other => return Err(unexpected(&other)),
        }
        Ok(0)
    }
}

/// Nothing else is done meanwhile: the agent writes it at once.
fn stdin() -> Result<Vec<u8>, Failure> {
    let mut input = Vec::new();
    let read = io::stdin()
        .lock()
        .take(MAX_INPUT + 1)
        .read_to_end(&mut input);
    read.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    if input.len() as u64 > MAX_INPUT {
        let message = format!("a hook of more than {MAX_INPUT} bytes");
        return Err(Failure::new(ErrorCode::BadRequest, message));
    }
    Ok(input)
}
