//! What a client shows to be let through.

use std::fmt;
use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use tokio_rustls::rustls::crypto::ring;

/// Shortest and longest secret in bytes: one that cannot be guessed, and fits into a URL.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=256;

/// What a client shows to be let through: letters, digits, `-` and `_`, so that it stands in a URL
/// as it is. It is never written by `Debug`.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// A new one of 32 random bytes.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        let source = ring::default_provider().secure_random;
        source
            .fill(&mut bytes)
            .map_err(|_| io::Error::other("no random bytes"))?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes).into()))
    }

    /// One that was made before; `None` for a text of other characters, of less than 16 or of more
    /// than 256.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (LENGTHS.contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.into()))
    }

    /// The secret itself, for the environment of the one client that may pass.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Compares in a time that tells nothing but the length.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
