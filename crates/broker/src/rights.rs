//! Who asks: a user's own program, or one that runs inside a session's agent.
//!
//! What descends from an agent descends from its holder, which is its subreaper: whatever forks,
//! sets a session of its own or loses its parent comes back to it. An agent must not approve
//! itself, nor act on other sessions behind its user's back. It is a rule for agents that were
//! talked into something, not a wall against a program of the same user that is after it: that
//! one can do without us.

use clsess_proto::{ErrorCode, Failure, Request, SessionRow};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::driver::orphans::Process;
use crate::lock::stat_fields;
use crate::registry::Registry;
use crate::session::{Handle, PROGRAM};

/// Ancestors that are looked at; a chain that is longer is nobody's.
const MAX_ANCESTORS: usize = 256;

/// How often the chain is looked at, when processes end meanwhile.
const TRIES: u32 = 5;

/// A client, by the processes that it descends from.
#[derive(Debug)]
pub struct Caller {
    /// Its process and its ancestors, up to but without the first process; `None` when they
    /// could not be told.
    ancestors: Option<Vec<u32>>,
}

/// Where a caller runs.
enum Inside {
    /// In no agent.
    No,
    /// In this session's agent.
    Of(Box<Handle>),
    /// That cannot be told.
    Unknown,
}

impl Caller {
    /// The process that connected, looked at when it did: it may be gone later.
    #[must_use]
    pub fn of(pid: Option<u32>) -> Self {
        Self {
            ancestors: pid.and_then(ancestors),
        }
    }

    /// The process itself, if it could be told.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        let pid = *self.ancestors.as_ref()?.first()?;
        Some(Process::now(pid))
    }

    fn inside(&self, registry: &Registry) -> Inside {
        let Some(ancestors) = &self.ancestors else {
            return Inside::Unknown;
        };
        let holds = |handle: &Handle| {
            let row = handle.row.borrow();
            // A shell's commands are its user's own, as in any other terminal.
            row.row.driver != PROGRAM && is_among(row.holder, ancestors)
        };
        match registry.all().into_iter().find(holds) {
            Some(handle) => Inside::Of(Box::new(handle)),
            None => Inside::No,
        }
    }

    /// Whether it runs in the program of this session, whose terminal it would be shown on itself.
    fn is_in(&self, session: &str, registry: &Registry) -> bool {
        let found = registry.find(session);
        let holder = found.ok().and_then(|handle| handle.row.borrow().holder);
        self.ancestors
            .as_ref()
            .is_some_and(|chain| is_among(holder, chain))
    }

    /// The session in whose agent it runs.
    ///
    /// # Errors
    /// [`ErrorCode::NotAllowed`] when it runs in none.
    pub fn session(&self, registry: &Registry) -> Result<Handle, Failure> {
        match self.inside(registry) {
            Inside::Of(handle) => Ok(*handle),
            Inside::No | Inside::Unknown => {
                let message = "only an agent's own hooks may do that, and this runs in no agent";
                Err(Failure::new(ErrorCode::NotAllowed, message))
            }
        }
    }

    /// Whether it may ask for this.
    ///
    /// # Errors
    /// [`ErrorCode::NotAllowed`].
    pub fn may(&self, request: &Request, registry: &Registry) -> Result<(), Failure> {
        if reads(request) {
            return Ok(());
        }
        if matches!(request, Request::Hook { .. } | Request::Edit { .. }) {
            return self.session(registry).map(drop);
        }
        let handle = match self.inside(registry) {
            Inside::No => return self.not_itself(request, registry),
            Inside::Of(handle) => handle,
            Inside::Unknown => {
                let message = "it cannot be told whether the caller runs inside an agent, since its \
                               process is gone or in another process namespace, or the broker can \
                               open nothing more";
                return Err(Failure::new(ErrorCode::NotAllowed, message)
                    .hint("ask from a shell on the same system"));
            }
        };
        let row = handle.row.borrow();
        if let Request::Send(send) = request {
            return may_send(&row.row, &send.session, registry);
        }
        if let Request::Cancel { session, .. } = request
            && may_send(&row.row, session, registry).is_ok()
        {
            return Ok(());
        }
        Err(Failure::new(
            ErrorCode::NotAllowed,
            format!("{}, which may not do that", runs_inside(&row.row)),
        )
        .hint("ask the user to do it from a shell of their own"))
    }

    /// A terminal that is shown on itself never comes to rest.
    fn not_itself(&self, request: &Request, registry: &Registry) -> Result<(), Failure> {
        match request {
            Request::Attach(attach) if self.is_in(&attach.session, registry) => {
                let message = "this terminal is that of the session itself";
                Err(Failure::new(ErrorCode::NotAllowed, message))
            }
            _ => Ok(()),
        }
    }
}

fn is_among(holder: Option<u32>, ancestors: &[u32]) -> bool {
    holder.is_some_and(|pid| ancestors.contains(&pid))
}

/// Where a caller was found, in words.
fn runs_inside(from: &SessionRow) -> String {
    format!("this runs inside the agent of {}", from.name)
}

/// Whether what runs in a session may send to another one.
fn may_send(from: &SessionRow, to: &str, registry: &Registry) -> Result<(), Failure> {
    let target = registry.find(to)?;
    let row = target.row.borrow();
    let (name, inside) = (&row.row.name, runs_inside(from));
    if row.row.id == from.id {
        let message = format!("{inside}, which cannot wait for itself");
        return Err(Failure::new(ErrorCode::NotAllowed, message));
    }
    let id = from.id.to_string();
    if row
        .allow_from
        .iter()
        .any(|allowed| *allowed == from.name || *allowed == id)
    {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::NotAllowed,
        format!("{inside}, which may not send to {name}"),
    )
    .hint(format!(
        "if it may: allow_from = [\"{}\"] in [session.{name}] of the config, before it is made",
        from.name
    )))
}

/// Whether a request changes nothing.
fn reads(request: &Request) -> bool {
    matches!(
        request,
        Request::Result { .. }
            | Request::List {}
            | Request::Show { .. }
            | Request::Wait { .. }
            | Request::Queue { .. }
            | Request::Log { .. }
            | Request::Questions { .. }
            | Request::Capture { .. }
            | Request::Events { .. }
            | Request::Status {}
            | Request::Unknown
    )
}

/// Whether a process is `of`, or descends from it.
pub(crate) fn descends(pid: u32, of: u32) -> bool {
    of != 0 && ancestors(pid).is_some_and(|chain| chain.contains(&of))
}

/// A process and its ancestors.
fn ancestors(pid: u32) -> Option<Vec<u32>> {
    // One that ends on the way has left its child to another one.
    (0..TRIES).find_map(|_| chain(pid))
}

fn chain(first: u32) -> Option<Vec<u32>> {
    let mut chain = Vec::new();
    let mut pid = first;
    while pid > 1 {
        if chain.len() == MAX_ANCESTORS {
            return None;
        }
        chain.push(pid);
        pid = match parent(pid) {
            Some(parent) => parent,
            // Of another user, on a system that hides those (proc(5), hidepid): no holder.
            None if pid != first && is_hidden(pid) => break,
            None => return None,
        };
    }
    (!chain.is_empty()).then_some(chain)
}

fn is_hidden(pid: u32) -> bool {
    let pid = i32::try_from(pid).map(Pid::from_raw);
    pid.is_ok_and(|pid| kill(pid, None) == Err(Errno::EPERM))
}

fn parent(pid: u32) -> Option<u32> {
    stat_fields(&pid.to_string()).map(|stat| stat.parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_descends_from_its_parents() {
        let own = std::process::id();
        let chain = ancestors(own).unwrap();
        assert_eq!(chain[0], own);
        assert_eq!(
            chain.get(1).copied().unwrap_or(1),
            std::os::unix::process::parent_id()
        );
        assert!(ancestors(0).is_none(), "of another namespace");
    }

    #[test]
    fn a_process_that_is_gone_has_no_ancestors() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(ancestors(pid).is_none());
    }
}
