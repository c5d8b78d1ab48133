//! Replacing the broker by another program, which it starts itself: when somebody asks for it, and
//! when a command is newer than the broker that it meets.

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use clsess_proto::{BrokerStatus, ErrorCode, Failure, Reply, Request, VERSION, newer};
use tokio::time::sleep;

use crate::client::{Client, Start, unexpected};
use crate::reach::is_inside;
use crate::surroundings::Surroundings;

/// How long a broker is looked for that was there before. The old one gives the new one 6 seconds,
/// and goes on itself after that.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two tries meanwhile.
const RETRY: Duration = Duration::from_millis(5);

/// How often a broker is replaced in place of which another one of its program is found then.
const TRIES: u32 = 3;

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Upgraded {
    /// The broker is of this program already.
    Already(BrokerStatus),
    /// It is, now.
    Now {
        /// The version before.
        from: String,
        /// The broker that has taken its place.
        to: BrokerStatus,
    },
}

/// Has the running broker replaced by the program of these surroundings. `force`: also by the same one, or
/// by an older version.
///
/// # Errors
/// [`ErrorCode::UpgradeFailed`] where the old one goes on; [`ErrorCode::BrokerUnreachable`] without one.
pub async fn upgrade(force: bool, surroundings: &Surroundings) -> Result<Upgraded, Failure> {
    let mut client = Client::connect(surroundings, Start::Never).await?;
    let first = status(&mut client).await?;
    let mut before = first.clone();
    for _ in 0..TRIES {
        match client.call(request(surroundings, force, false)).await {
            Ok(Reply::Done {}) => return Ok(Upgraded::Already(before)),
            Ok(other) => return Err(unexpected(&other)),
            // As it is to be.
            Err(failure) if failure.code == ErrorCode::BrokerUnreachable => {}
            Err(failure) => return Err(failure),
        }
        client = next(surroundings).await?;
        let after = status(&mut client).await?;
        if after.pid == before.pid {
            let message = "the new broker proved itself and did not come up; the old one goes on";
            return Err(failed(message));
        }
        if after.version == VERSION {
            let from = first.version;
            return Ok(Upgraded::Now { from, to: after });
        }
        // The old one has died meanwhile, and one of its program has come in its place.
        before = after;
    }
    let message = format!(
        "the broker died each time that it was to be replaced; {} runs",
        before.version
    );
    Err(failed(&message))
}

fn failed(message: &str) -> Failure {
    Failure::new(ErrorCode::UpgradeFailed, message).hint("clsess broker logs -n 20")
}

/// A command that would start a broker has met one. An older one is replaced, after saying so; if
/// that fails, it will do.
pub(crate) async fn met(
    mut client: Client,
    surroundings: &Surroundings,
) -> Result<Client, Failure> {
    let theirs = client.hello.version.clone();
    // What runs inside an agent may not do that, and need not hear of it.
    let wanted = surroundings.upgrades && !is_inside();
    if !wanted || !newer(VERSION, &theirs) || !client.understands("upgrade") {
        return Ok(client);
    }
    surroundings.note(&format!("upgrading the broker {theirs} -> {VERSION}"));
    let why = match client.call(request(surroundings, false, true)).await {
        Ok(_) => return Ok(client),
        Err(failure) if failure.code == ErrorCode::BrokerUnreachable => {
            client = next(surroundings).await?;
            if !newer(VERSION, &client.hello.version) {
                return Ok(client);
            }
            "the new one did not come up".to_owned()
        }
        Err(failure) => failure.message,
    };
    surroundings.note(&format!("it stays {theirs}: {why}"));
    Ok(client)
}

/// The program, to be the broker.
fn request(surroundings: &Surroundings, force: bool, unasked: bool) -> Request {
    Request::Upgrade {
        program: surroundings.program.as_os_str().as_bytes().to_vec().into(),
        version: VERSION.to_owned(),
        force,
        unasked,
    }
}

/// The broker after that: the new one, or the old one again. It listens all the time.
async fn next(surroundings: &Surroundings) -> Result<Client, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Client::find(surroundings, Start::Never).await {
            Err(failure)
                if failure.code == ErrorCode::BrokerUnreachable && Instant::now() < until =>
            {
                sleep(RETRY).await;
            }
            found => return found,
        }
    }
}

async fn status(client: &mut Client) -> Result<BrokerStatus, Failure> {
    match client.call(Request::Status {}).await? {
        Reply::Status(status) => Ok(status),
        other => Err(unexpected(&other)),
    }
}
