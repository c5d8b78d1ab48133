//! clsess for Rust programs: named warm Claude Code sessions, owned by a background broker.
//!
//! ```no_run
//! # async fn example() -> Result<(), clsess_client::Failure> {
//! use clsess_client::Clsess;
//!
//! let mut clsess = Clsess::connect().await?;
//! let session = clsess.new_session("/home/me/src/project").named("work").or_existing();
//! clsess.make(session).await?;
//! let turn = clsess.send("work", "summarise the failing test").await?;
//! println!("{}", turn.answer.unwrap_or_default());
//! # Ok(())
//! # }
//! ```
//!
//! [`Clsess`] is what most programs need. Everything else is what the command `clsess` is made of: a
//! [`client::Client`] is one connection, a [`link::Link`] one over the deaths of brokers, [`surroundings::Surroundings`]
//! where a broker is looked for. The requests and answers themselves are in [`clsess_proto`], and in PROTOCOL.md.
//!
//! All of it runs on a tokio runtime with I/O and time, of any kind. Nothing is printed. A broker that is
//! missing is started by the program `clsess`, which has to be installed.

pub mod client;
mod clsess;
pub mod hearing;
pub mod link;
pub mod reach;
pub mod surroundings;
pub mod telling;
pub mod upgrade;

pub use clsess::{Clsess, NewSession};
pub use clsess_proto as proto;
pub use clsess_proto::{ErrorCode, Event, EventKind, Failure, Outcome, TurnReport};
