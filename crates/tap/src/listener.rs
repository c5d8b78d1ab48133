//! The listener, and who is let in.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::door::serve;
use crate::exchange::Exchange;
use crate::outward::Outward;
use crate::seen::Seen;
use crate::upstream::Target;
use crate::{MAX_CONNECTIONS, Pass, Secret, Way};

/// Connections that have not shown a secret. Further ones wait in the kernel's queue.
const MAX_STRANGERS: usize = 128;

/// Connections that wait in the kernel's queue.
const WAITING: u32 = 1024;

/// How long loopback may take to say that nobody listens at a port; it does at once.
const ANSWER: Duration = Duration::from_millis(500);

/// How long nobody is let in after the system had no room for a connection (no descriptor is left):
/// it does not tell when there is.
const NO_ROOM_WAIT: Duration = Duration::from_millis(100);

/// One listener on loopback for all sessions of a broker. Its connections are cut when it is dropped;
/// the port is free when the runtime has done that, or [`Tap::close`] has, and nobody holds it
/// ([`Tap::hold`]).
#[derive(Debug)]
pub struct Tap {
    port: u16,
    /// Has the port too, and does not listen.
    hold: TcpSocket,
    guests: Arc<Guests>,
    serving: JoinSet<()>,
}

/// Who is let in. The later of two with the same secret counts.
#[derive(Default)]
pub(crate) struct Guests(Mutex<Vec<Arc<Entry>>>);

/// A pass that holds.
pub(crate) struct Entry {
    secret: Secret,
    pub(crate) way: Way,
    pub(crate) target: Target,
    pub(crate) outward: Outward,
    seen: mpsc::Sender<Seen>,
    /// For [`MAX_CONNECTIONS`].
    pub(crate) room: Arc<Semaphore>,
    /// For those that wait for room, as many again: another one is refused.
    pub(crate) queue: Semaphore,
    pub(crate) ended: CancellationToken,
    /// How many exchanges have begun.
    exchanges: AtomicU64,
}

/// The pass holds as long as this: then its connections are cut, and its secret is unknown.
#[must_use = "the pass ends when this is dropped"]
pub struct Admitted {
    guests: Arc<Guests>,
    entry: Arc<Entry>,
}

impl Tap {
    /// Listens on 127.0.0.1 at `port`, or at any with 0, and serves in tasks of the current runtime.
    /// A port that another process of this user only holds can be had.
    ///
    /// # Errors
    /// The port cannot be had, or somebody listens there.
    pub async fn listen(port: u16) -> io::Result<Self> {
        // The system would let two of one user listen, and each get some of the connections.
        let there = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        let refused = |there: io::Result<_>| {
            there.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        if port != 0 && !timeout(ANSWER, there).await.is_ok_and(refused) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let socket = TcpSocket::new_v4()?;
        // Connections of the last one may still be fading.
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
        let listener = socket.listen(WAITING)?;
        let port = listener.local_addr()?.port();
        // Only sockets that all say so share a port, and only if they are one user's. And with
        // SO_REUSEADDR one that does not listen would keep nobody away.
        let hold = TcpSocket::new_v4()?;
        hold.set_reuseport(true)?;
        hold.bind((Ipv4Addr::LOCALHOST, port).into())?;
        let guests = Arc::new(Guests::default());
        let mut serving = JoinSet::new();
        serving.spawn(let_in(listener, Arc::clone(&guests)));
        Ok(Self {
            port,
            hold,
            guests,
            serving,
        })
    }

    /// What keeps the port from all other users for as long as any process has it, also while nobody
    /// listens there: who knows the port would tell them what is meant for this.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn hold(&self) -> io::Result<OwnedFd> {
        self.hold.as_fd().try_clone_to_owned()
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets the client with this secret pass, until what is returned is dropped.
    pub fn admit(&self, pass: Pass) -> Admitted {
        let entry = Arc::new(Entry {
            target: Target::of(&pass.way),
            secret: pass.secret,
            way: pass.way,
            outward: pass.outward,
            seen: pass.seen,
            room: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            queue: Semaphore::new(MAX_CONNECTIONS),
            ended: CancellationToken::new(),
            exchanges: AtomicU64::new(0),
        });
        self.guests.lock().push(Arc::clone(&entry));
        let guests = Arc::clone(&self.guests);
        Admitted { guests, entry }
    }

    /// Cuts all connections and leaves the port, and returns when that is done.
    pub async fn close(mut self) {
        self.serving.shutdown().await;
    }
}

impl Guests {
    /// The pass with this secret.
    pub(crate) fn find(&self, secret: &[u8]) -> Option<Arc<Entry>> {
        let guests = self.lock();
        guests
            .iter()
            .rev()
            .find(|entry| entry.secret.is(secret))
            .cloned()
    }

    /// A panic of another holder leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Begins the next exchange.
    pub(crate) fn begin(&self) -> Exchange {
        let number = self.exchanges.fetch_add(1, Ordering::Relaxed) + 1;
        Exchange::begin(number, &self.seen, &self.ended)
    }

    /// Whether a later request of the same connection shows the same secret.
    pub(crate) fn has(&self, secret: &[u8]) -> bool {
        self.secret.is(secret)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.guests
            .lock()
            .retain(|other| !Arc::ptr_eq(other, &self.entry));
        self.entry.ended.cancel();
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted")
            .field("way", &self.entry.way)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Guests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guests({})", self.lock().len())
    }
}

/// Takes connections, each into a task of its own that ends with this one.
async fn let_in(listener: TcpListener, guests: Arc<Guests>) {
    let strangers = Arc::new(Semaphore::new(MAX_STRANGERS));
    let mut clients = JoinSet::new();
    loop {
        let Ok(stranger) = Arc::clone(&strangers).acquire_owned().await else {
            return; // nobody closes it
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(serve(stream, Arc::clone(&guests), stranger));
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection to the tap");
                    tokio::time::sleep(NO_ROOM_WAIT).await;
                }
            },
            Some(_) = clients.join_next() => {}
        }
    }
}
