//! URLs, as far as they say where a connection goes.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use hyper::Uri;

/// Where a connection goes, as an http or https URL says it: `https://api.example`, `http://127.0.0.1:4000/gate`. What
/// stands in it before the host is kept for proxies and not sent elsewhere; a query is passed over.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) tls: bool,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The host as it was written, with the port if that is not the scheme's own.
    pub(crate) named: String,
    /// `user:password`, percent-encoded.
    pub(crate) user: Option<String>,
    /// Without a slash at its end.
    pub(crate) path: String,
}

/// A text is no http or https URL with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https URL with a host")]
pub struct NoAddress;

impl Address {
    /// Whether it is https.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host, an address without brackets, and the port.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let uri: Uri = text.parse().map_err(|_| NoAddress)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(NoAddress),
        };
        let authority = uri.authority().ok_or(NoAddress)?.as_str();
        let (user, written) = match authority.rsplit_once('@') {
            Some((user, written)) => (Some(user.to_owned()), written),
            None => (None, authority),
        };
        let host = uri.host().filter(|h| !h.is_empty()).ok_or(NoAddress)?;
        let own = if tls { 443 } else { 80 };
        let port = match written.strip_prefix(host).ok_or(NoAddress)? {
            "" => own,
            port => port
                .strip_prefix(':')
                .and_then(|p| p.parse().ok())
                .ok_or(NoAddress)?,
        };
        Ok(Self {
            tls,
            host: bare(host).to_owned(),
            port,
            named: if port == own {
                host.to_owned()
            } else {
                format!("{host}:{port}")
            },
            user,
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "Address({scheme}://{}{})", self.named, self.path)
    }
}

/// A host without the brackets of an IPv6 address.
pub(crate) fn bare(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn authority(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_it_goes() {
        let cases = [
            ("https://api.test", true, "api.test", 443, "api.test", ""),
            (
                "https://api.test:443/",
                true,
                "api.test",
                443,
                "api.test",
                "",
            ),
            (
                "https://api.test:8443/a/b/?c",
                true,
                "api.test",
                8443,
                "api.test:8443",
                "/a/b",
            ),
            (
                "http://127.0.0.1:4000",
                false,
                "127.0.0.1",
                4000,
                "127.0.0.1:4000",
                "",
            ),
            ("http://[::1]/x", false, "::1", 80, "[::1]", "/x"),
            ("http://[::1]:81", false, "::1", 81, "[::1]:81", ""),
        ];
        for (text, tls, host, port, named, path) in cases {
            let address: Address = text.parse().unwrap();
            let got = (address.tls, address.host.as_str(), address.port);
            assert_eq!(got, (tls, host, port), "{text}");
            assert_eq!(
                (address.named.as_str(), address.path.as_str()),
                (named, path),
                "{text}"
            );
        }
        let with_user: Address = "http://a%20b:c@d.test".parse().unwrap();
        assert_eq!(with_user.user.as_deref(), Some("a%20b:c"));
        assert_eq!(with_user.named, "d.test");
        assert!(!format!("{with_user:?}").contains("a%20b"));
    }

    #[test]
    fn what_is_none_is_refused() {
        let texts = [
            "",
            "api.test",
            "api.test:443",
            "/path",
            "ftp://api.test",
            "http://",
            "http://:80",
            "http://api.test:",
            "http://api.test:port",
            "http://api.test:70000",
            "http://a b",
        ];
        for text in texts {
            assert_eq!(text.parse::<Address>(), Err(NoAddress), "{text}");
        }
    }
}
