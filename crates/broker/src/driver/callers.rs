//! Hooks that have called, and wait for what they are told.

use std::collections::{HashMap, VecDeque};
use std::io;

use clsess_proto::{ErrorCode, Failure};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::said::Said;

/// Hooks that wait at most; more are refused, and the agent goes on without them.
const MAX_HOOKS: usize = 256;
/// Answers that are kept for hooks that ask again, after a broker's death.
const MAX_ANSWERS: usize = 256;

/// Where the answer to a hook goes.
pub type Answer = oneshot::Sender<Result<Vec<u8>, Failure>>;

/// See the module.
#[derive(Debug, Default)]
pub struct Callers {
    waiting: HashMap<Uuid, Answer>,
    /// Those that were heard and wait for somebody's answer; they may have lost their broker.
    held: VecDeque<Uuid>,
    /// What was answered to the last ones.
    answers: VecDeque<(Uuid, Vec<u8>)>,
}

impl Callers {
    /// A hook comes, perhaps once more. What it says is kept before anything is done about it. False
    /// when it was answered before.
    pub fn hook(&mut self, id: Uuid, input: &[u8], said: &mut Said, reply: Answer) -> bool {
        if let Some((_, answer)) = self.answers.iter().find(|(answered, _)| *answered == id) {
            let _ = reply.send(Ok(answer.clone()));
            return false;
        }
        self.waiting.retain(|_, reply| !reply.is_closed());
        let heard = match self.waits(id) {
            true => Ok(()),
            false if self.waiting.len() >= MAX_HOOKS => Err(io::ErrorKind::QuotaExceeded.into()),
            false => said.hook(id, input),
        };
        match heard {
            Ok(()) => drop(self.waiting.insert(id, reply)),
            Err(error) => {
                let message = format!("the hook cannot be kept: {error}");
                let _ = reply.send(Err(Failure::new(ErrorCode::Internal, message)));
            }
        }
        true
    }

    /// Whether a hook was heard and not answered.
    #[must_use]
    pub fn waits(&self, id: Uuid) -> bool {
        self.waiting.contains_key(&id) || self.held.contains(&id)
    }

    /// A hook that was heard is answered later.
    pub fn holds(&mut self, id: Uuid) {
        if self.held.len() == MAX_HOOKS {
            self.held.pop_front();
        }
        self.held.push_back(id);
    }

    /// What a hook is answered.
    pub fn answer(&mut self, id: Uuid, answer: Vec<u8>) {
        self.held.retain(|held| *held != id);
        if let Some(reply) = self.waiting.remove(&id) {
            let _ = reply.send(Ok(answer.clone()));
        }
        if self.answers.len() == MAX_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back((id, answer));
    }
}
