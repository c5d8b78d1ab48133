//! `NO_PROXY`: which hosts are reached without the user's proxy.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::address::bare;

/// A list as curl and Node read it: separated by commas or spaces, without regard to case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bypass(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    what: What,
    /// `None`: every port.
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum What {
    Everything,
    Address(IpAddr),
    Network(IpNet),
    /// This name and those under it, without a leading dot.
    Name(String),
}

impl Bypass {
    pub(crate) fn parse(list: &str) -> Self {
        let words = list.split(|c: char| c == ',' || c.is_whitespace());
        Self(words.filter_map(Entry::parse).collect())
    }

    /// Whether `host` (a name or an address, without brackets) is reached directly.
    pub(crate) fn contains(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        let fits = |entry: &Entry| {
            entry.port.is_none_or(|wanted| wanted == port) && entry.what.fits(&host, address)
        };
        self.0.iter().any(fits)
    }
}

/// A `NO_PROXY` list without what covers this host and port: for a client that is to come by a proxy there.
#[must_use]
pub fn without(list: &str, (host, port): (&str, u16)) -> String {
    let words = list.split(|c: char| c == ',' || c.is_whitespace());
    let kept = words.filter(|word| !word.is_empty() && !Bypass::parse(word).contains(host, port));
    kept.collect::<Vec<_>>().join(",")
}

impl Entry {
    fn parse(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        if word.is_empty() {
            return None;
        }
        let every_port = |what| Some(Self { what, port: None });
        if let Some(what) = What::address(&word) {
            return every_port(what);
        }
        match word.rsplit_once(':') {
            Some((host, port)) => {
                let port = Some(port.parse().ok()?);
                let what = What::address(host).or_else(|| What::name(host))?;
                Some(Self { what, port })
            }
            None => What::name(&word).and_then(every_port),
        }
    }
}

impl What {
    fn address(word: &str) -> Option<Self> {
        let word = bare(word);
        let address = word.parse().map(Self::Address).ok();
        address.or_else(|| word.parse().map(Self::Network).ok())
    }

    fn name(word: &str) -> Option<Self> {
        if word == "*" {
            return Some(Self::Everything);
        }
        let name = word
            .trim_start_matches('*')
            .trim_start_matches('.')
            .trim_end_matches('.');
        (!name.is_empty()).then(|| Self::Name(name.to_owned()))
    }

    fn fits(&self, host: &str, address: Option<IpAddr>) -> bool {
        match self {
            Self::Everything => true,
            Self::Address(wanted) => address == Some(*wanted),
            Self::Network(network) => address.is_some_and(|a| network.contains(&a)),
            Self::Name(name) => {
                let before = host.strip_suffix(name.as_str());
                let under = before.is_some_and(|b| b.is_empty() || b.ends_with('.'));
                under && address.is_none()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_covers_a_host_is_taken_out_of_a_list() {
        for (list, rest) in [
            ("localhost,.api.test api.test:443", "localhost"),
            ("*", ""),
            ("", ""),
            (
                "api.test:80,other.test,, 10.0.0.0/8",
                "api.test:80,other.test,10.0.0.0/8",
            ),
        ] {
            assert_eq!(without(list, ("api.test", 443)), rest, "{list}");
        }
    }

    #[test]
    fn a_list_is_read_as_curl_and_node_read_it() {
        let cases = [
            ("", "a.example", 443, false),
            ("*", "a.example", 443, true),
            ("*:80", "a.example", 443, false),
            ("a.example", "a.example", 443, true),
            ("A.Example", "a.eXample.", 443, true),
            ("example", "a.example", 443, true),
            (".example", "a.example", 443, true),
            (".example", "example", 443, true),
            ("*.example", "b.a.example", 443, true),
            ("ample", "a.example", 443, false),
            ("b.example,a.example", "a.example", 443, true),
            ("b.example a.example", "a.example", 443, true),
            (" b.example , a.example ", "a.example", 443, true),
            ("a.example:443", "a.example", 443, true),
            ("a.example:8443", "a.example", 443, false),
            ("a.example:port", "a.example", 443, false),
            ("127.0.0.1", "127.0.0.1", 80, true),
            ("127.0.0.1:81", "127.0.0.1", 80, false),
            ("0.0.1", "127.0.0.1", 80, false),
            ("10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("::1", "::1", 443, true),
            ("[::1]", "::1", 443, true),
            ("[::1]:443", "::1", 443, true),
            ("[::1]:444", "::1", 443, false),
            ("fd00::/8", "fd12::1", 443, true),
            ("localhost", "127.0.0.1", 443, false),
            (",", "a.example", 443, false),
        ];
        for (list, host, port, direct) in cases {
            assert_eq!(
                Bypass::parse(list).contains(host, port),
                direct,
                "{list} {host}:{port}"
            );
        }
    }
}
