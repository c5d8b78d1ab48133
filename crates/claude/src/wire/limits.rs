//! What answers say of the provider's limits, in their headers.

use std::collections::BTreeMap;

use crate::stream::RateLimit;

/// Headers that are kept of one answer, and bytes of each value; the rest is left out.
pub const MAX_LIMITS: usize = 64;
const MAX_VALUE: usize = 256;

/// What stands in front of their names.
const PREFIX: &str = "anthropic-ratelimit-";

/// Limits and when they reset, by the headers' names without `anthropic-ratelimit-`, and
/// `retry-after`: as the provider wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(BTreeMap<String, String>);

impl Limits {
    /// Keeps a header if it tells of a limit.
    pub fn header(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        let name = match name.strip_prefix(PREFIX) {
            Some(name) => name,
            None if name == "retry-after" => &name,
            None => return,
        };
        if self.0.len() < MAX_LIMITS && value.len() <= MAX_VALUE {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each by its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The subscription's limit, as a stream's `rate_limit_event` tells of it; `None` where these
    /// are not a subscription's.
    #[must_use]
    pub fn subscription(&self) -> Option<RateLimit> {
        let of = |name: &str| self.0.get(&format!("unified-{name}"));
        Some(RateLimit {
            status: Some(of("status")?.clone()),
            resets_at: of("reset").and_then(|value| value.parse().ok()),
            kind: of("representative-claim").cloned(),
        })
    }
}
