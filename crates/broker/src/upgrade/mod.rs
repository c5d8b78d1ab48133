//! Another program takes the broker's place, under running turns.
//!
//! A broker that dies loses nothing, so an upgrade is a death whose successor is ready:
//!
//! 1. The old broker starts the new one, which proves itself ([`trial`]): it runs, and understands
//!    what is on disk. Until then nothing has changed, and a program that is not fit is ended.
//! 2. The old one stops serving, and hands over ([`hand_over`]) its lock and its listening socket:
//!    the lock is never free, and no client is refused.
//! 3. The new one ([`take_over`]) finds the holders, as after a death, serves, and says so; the old
//!    one exits. If it does not come up it is ended, and the old one begins again as it had begun
//!    before: it still has the lock and the socket.
//!
//! What the two say to each other is in [`words`].

mod hand_over;
mod take_over;
mod trial;
mod words;

pub use hand_over::hand_over;
pub use take_over::{Predecessor, TakenOver, take_over};
pub use trial::{Proven, Upgrade, upgrades};
pub use words::Go;
