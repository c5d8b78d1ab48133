//! One command's way to the broker, over the deaths of brokers: what was asked of one that is gone
//! is asked of the next.

use clsess_place::now_ms;
use clsess_proto::{ErrorCode, Failure, Reply, Request, SessionRow};

use crate::client::{Client, Start, unexpected};
use crate::surroundings::Surroundings;

/// The ids of the sessions of these names: those that are there now, whatever their names are and
/// whichever come by the time that this is asked twice. What is none stays as it is.
#[must_use]
pub fn ids(names: Vec<String>, rows: &[SessionRow]) -> Vec<String> {
    let id = |name: String| match rows.iter().find(|row| row.name == name) {
        Some(row) => row.id.to_string(),
        None => name,
    };
    names.into_iter().map(id).collect()
}

/// See the module.
pub struct Link {
    client: Client,
    surroundings: Surroundings,
    start: Start,
    lost: bool,
}

impl Link {
    /// Connects; `start` says whether a missing broker is started, now and later.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(surroundings: &Surroundings, start: Start) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::connect(surroundings, start).await?,
            surroundings: surroundings.clone(),
            start,
            lost: false,
        })
    }

    /// Asks until there is an answer. What a broker may have done before it died is not done
    /// twice: it is told when it was first asked.
    ///
    /// # Errors
    /// Of the broker; as [`Client::again`] when it is lost too often, or cannot be found again.
    pub async fn call(&mut self, request: Request) -> Result<Reply, Failure> {
        let now = now_ms();
        let mut first_asked = None;
        loop {
            let answer = self.client.call_again(request.clone(), first_asked).await;
            match answer {
                Err(failure) if failure.code == ErrorCode::BrokerUnreachable => {
                    self.find_again(failure).await?;
                    first_asked = Some(now);
                }
                answer => return answer,
            }
        }
    }

    /// Finds the broker again, or the next one; whether it is the same.
    ///
    /// # Errors
    /// As [`Client::again`].
    pub async fn find_again(&mut self, why: Failure) -> Result<bool, Failure> {
        let again = self.client.again(&self.surroundings, self.start, why);
        let same = again.await?;
        self.lost = true;
        Ok(same)
    }

    /// Whether a connection was lost, so that something may have been done unheard.
    #[must_use]
    pub fn was_lost(&self) -> bool {
        self.lost
    }

    /// The id of a session. It is asked for by that from then on: by the time that the next broker
    /// is asked, its name may be gone, or be another one's.
    ///
    /// # Errors
    /// [`ErrorCode::NoSuchSession`], and as [`Link::call`].
    pub async fn id_of(&mut self, session: &str) -> Result<String, Failure> {
        let session = session.to_owned();
        match self.call(Request::Show { session }).await? {
            Reply::Detail(detail) => Ok(detail.row.id.to_string()),
            other => Err(unexpected(&other)),
        }
    }

    /// The same, where the turns of one that was killed are meant too: those have only an id.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn id_of_any(&mut self, session: &str) -> Result<String, Failure> {
        match self.id_of(session).await {
            Err(failure) if failure.code == ErrorCode::NoSuchSession => Ok(session.to_owned()),
            id => id,
        }
    }

    /// The rows of all sessions.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn rows(&mut self) -> Result<Vec<SessionRow>, Failure> {
        match self.call(Request::List {}).await? {
            Reply::Sessions { sessions } => Ok(sessions),
            other => Err(unexpected(&other)),
        }
    }

    /// The connection, for what has more than one answer. When it is lost: [`Link::find_again`].
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}
