//! One command's way to the broker, over the deaths of brokers: what was asked of one that is gone
//! is asked of the next.

use clsess_broker::now_ms;
use clsess_proto::{ErrorCode, Failure, Reply, Request};

use crate::client::{Client, Start};
use crate::surroundings::Surroundings;

/// See the module.
pub struct Link<'a> {
    client: Client,
    surroundings: &'a Surroundings,
    start: Start,
    lost: bool,
}

impl<'a> Link<'a> {
    /// Connects; `start` says whether a missing broker is started, now and later.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect(surroundings: &'a Surroundings, start: Start) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::connect(surroundings, start).await?,
            surroundings,
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

    /// Finds the broker again, or the next one.
    ///
    /// # Errors
    /// As [`Client::again`].
    pub async fn find_again(&mut self, why: Failure) -> Result<(), Failure> {
        let again = self.client.again(self.surroundings, self.start, why);
        again.await?;
        self.lost = true;
        Ok(())
    }

    /// Whether a connection was lost, so that something may have been done unheard.
    #[must_use]
    pub fn was_lost(&self) -> bool {
        self.lost
    }
}
