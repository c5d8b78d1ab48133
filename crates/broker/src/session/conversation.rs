//! The agent's conversation before it is taken up: whether all of it is there. The client would say
//! nothing of what is not.
//!
//! **The rule**: what is missing is said once to somebody who hears it, and nothing is given to the
//! agent; then the session goes on with what there is, and says that too. Never in silence, and
//! never twice for the same.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clsess_claude::condition::{Condition, condition};
use clsess_claude::record::Home;
use clsess_proto::{ErrorCode, EventKind, Failure};
use uuid::Uuid;

use super::launch::transcript;
use super::task::Session;
use crate::store::{Damage, SessionRecord};

/// Bytes of a transcript that is looked at; a longer one is resumed as it is. Measured: 20 MB take
/// 31 ms on a busy machine, in a thread of its own.
const MAX_TRANSCRIPT: u64 = 512 * 1024 * 1024;

/// Bytes of it that are read at once.
const READ: usize = 64 * 1024;

/// Why an agent is not started.
#[derive(Debug)]
pub struct Refused {
    /// As it is told.
    pub failure: Failure,
    /// What is wrong with the conversation, when that is why.
    pub damage: Option<Box<Damage>>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            damage: None,
        }
    }
}

/// A conversation that can be taken up.
#[derive(Debug)]
pub struct Sound {
    /// Its id: another one where it begins anew.
    pub id: Uuid,
    /// Where it is; `None` for a new one.
    pub path: Option<PathBuf>,
    /// It lacks something, and nobody was told that the session goes on all the same: what is said.
    pub announced: Option<String>,
}

/// Looks at the conversation of a session. `last`: the line of the last turn in it that has ended
/// with an answer. Reads all of the transcript.
///
/// # Errors
/// When something is missing that was not said before.
pub fn sound(record: &SessionRecord, home: &Home, last: Option<Uuid>) -> Result<Sound, Refused> {
    let id = record.agent_session_id;
    let path = transcript(home, Path::new(&record.cwd), id);
    let found = match &path {
        None if !record.began => None,
        None => Some(missing(record, home)),
        Some(path) => damage(record, path, last)?,
    };
    let Some((code, flaws, message)) = found else {
        return Ok(Sound {
            id,
            path,
            announced: None,
        });
    };
    if !record.began && flaws == [UNREADABLE] {
        // The agent has only noted that it was there: nothing was ever said in it.
        return Ok(Sound {
            id: Uuid::new_v4(),
            path: None,
            announced: None,
        });
    }
    let known = record.damage.as_ref().filter(|known| known.of == id);
    let is_known = |flaw: &String| known.is_some_and(|known| known.flaws.contains(flaw));
    // Of what is only damaged there is something to go on with.
    let fresh = flaws
        .iter()
        .any(|flaw| flaw == MISSING || flaw == UNREADABLE);
    if !flaws.iter().all(is_known) {
        let failure = Failure::new(code, message).hint(hint(&record.name, fresh));
        let damage = Damage {
            of: id,
            flaws,
            said: failure.clone(),
            gone_on: false,
        };
        return Err(Refused {
            failure,
            damage: Some(Box::new(damage)),
        });
    }
    let announced = known.filter(|known| !known.gone_on).map(|_| match fresh {
        true => format!("{message}: a new conversation is begun"),
        false => format!("{message}: it goes on with what can be read"),
    });
    Ok(Sound {
        id: if fresh { Uuid::new_v4() } else { id },
        path: path.filter(|_| !fresh),
        announced,
    })
}

const MISSING: &str = "missing";
const UNREADABLE: &str = "unreadable";

type Found = (ErrorCode, Vec<String>, String);

fn missing(record: &SessionRecord, home: &Home) -> Found {
    let id = record.agent_session_id;
    let path = home.transcript_path(Path::new(&record.cwd), id);
    let message = format!(
        "the agent no longer has the conversation {id}: {} is gone",
        path.display()
    );
    let flaws = vec![MISSING.to_owned()];
    (ErrorCode::ConversationMissing, flaws, message)
}

fn damage(
    record: &SessionRecord,
    path: &Path,
    last: Option<Uuid>,
) -> Result<Option<Found>, Failure> {
    let length = path.metadata().map_or(0, |meta| meta.len());
    if length > MAX_TRANSCRIPT {
        tracing::warn!(path = %path.display(), length, "too long a transcript to be looked at");
        return Ok(None);
    }
    let found = File::open(path).and_then(|file| {
        let text = BufReader::with_capacity(READ, file);
        condition(text, last)
    });
    let found = found.map_err(|error| {
        let message = format!("{} cannot be read: {error}", path.display());
        Failure::new(ErrorCode::AgentStartFailed, message)
    })?;
    let (id, path) = (record.agent_session_id, path.display());
    let code = ErrorCode::ConversationDamaged;
    Ok(match found {
        Condition::Whole => None,
        Condition::Unreadable => {
            let message = format!("nothing of the conversation {id} can be read, in {path}");
            Some((code, vec![UNREADABLE.to_owned()], message))
        }
        Condition::Damaged(flaws) => {
            let flaws: Vec<String> = flaws.iter().map(ToString::to_string).collect();
            let more = match flaws.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let message = format!(
                "part of the conversation {id} is lost: {}{more}, in {path}",
                flaws[0]
            );
            Some((code, flaws, message))
        }
    })
}

fn hint(name: &str, fresh: bool) -> String {
    match fresh {
        true => format!(
            "put the file back, if there is a copy; the next send begins a new conversation, \
             and leaves this one as it is: clsess send {name}"
        ),
        false => format!(
            "put a whole file in its place, if there is a copy; the next send goes on with what \
             can be read; to begin a new conversation: clsess restart --fresh {name}"
        ),
    }
}

impl Session {
    /// What the agent's conversation lacks was found. It was said if somebody waits to hear it.
    pub(super) fn lacks(&mut self, damage: Damage) {
        let waits = |queued: &super::turns::Queued| queued.end.receiver_count() > 0;
        if !self.start_waiters.is_empty() || self.queue.iter().any(waits) {
            self.record.damage = Some(damage);
            // One that never had a turn is being forgotten, with its directory: `new --resume`.
            if !self.journal.is_empty() {
                self.save_record();
            }
        }
    }

    /// The agent was started on this conversation.
    pub(super) fn goes_on(&mut self, id: Uuid, announced: Option<String>) {
        let Some(reason) = announced else { return };
        tracing::warn!(session = %self.record.name, %reason, "the conversation has lost something");
        if self.record.agent_session_id != id {
            self.record.agent_session_id = id;
            self.record.began = false;
        }
        if let Some(damage) = &mut self.record.damage {
            damage.gone_on = true;
            damage.said.message.clone_from(&reason);
            damage.said.hint = None;
            self.last_error = Some(damage.said.clone());
        }
        self.save_record();
        self.context_lost = Some(reason.clone());
        self.tell(None, EventKind::Restart { reason });
    }

    /// What the conversation has lost with which the session has gone on.
    pub(super) fn lost(&self) -> Option<Failure> {
        let id = self.record.agent_session_id;
        let known = self.record.damage.as_ref();
        let damage = known.filter(|it| it.gone_on && it.of == id)?;
        Some(damage.said.clone())
    }

    /// The line of the last turn that has ended with an answer in the agent's conversation.
    pub(super) fn last_answered(&self) -> Option<Uuid> {
        self.journal.last_answered(self.record.agent_session_id)
    }
}
