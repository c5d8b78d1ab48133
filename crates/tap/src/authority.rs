//! A certificate authority for one host name, trusted by nobody but the agents it was made for.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use clsess_place::place::private_dir;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls;

/// How long an authority is valid: longer than any broker's directory lives, so nothing has to be
/// renewed under agents that run.
const VALID_FOR: Duration = Duration::days(30 * 365);

/// Longest file that is read as one of ours, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A certificate authority for one host name. It can vouch for that name alone (a critical name
/// constraint) and for no other authority. Its key is in a file of the owner's; those of its leaves
/// are in memory.
pub struct Authority {
    host: String,
    certificate_pem: String,
    serving: Arc<ServerConfig>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority of `host` (a DNS name or an IP address) in `dir`; made with its directory (0700)
    /// and its file (0600) when it is not there. Agents trust the same one as long as the file lives.
    ///
    /// # Errors
    /// The directory or the file is not the owner's alone, cannot be read or written, or does not
    /// hold an authority (then its removal makes a new one).
    pub fn load_or_make(dir: &Path, host: &str) -> io::Result<Self> {
        let host = host.to_ascii_lowercase();
        let fits = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b));
        if !fits {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a host name",
            ));
        }
        private_dir(dir).map_err(|failure| io::Error::other(failure.message))?;
        let path = dir.join(format!("{host}.pem"));
        let pem = match read_own(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_new(&path, &made(&host)?)?
            }
            read => read?,
        };
        Self::from_pem(host, &pem).map_err(|why| {
            let what = format!("{} holds no authority: {why}; remove it", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }

    /// What agents have to trust, without the key.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The one host that it vouches for, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TLS towards clients, in the name of the host.
    pub(crate) fn serving(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.serving)
    }

    fn from_pem(host: String, pem: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let key = KeyPair::from_pem(pem)?;
        let begin = pem
            .find("-----BEGIN CERTIFICATE-----")
            .ok_or("no certificate")?;
        let certificate_pem = pem[begin..].to_owned();
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())?;
        let (leaf, leaf_key) = leaf(&host, key)?;
        tls::check_leaf(&certificate, &leaf, &host)?;
        let serving = Arc::new(tls::serving(vec![leaf, certificate], leaf_key)?);
        Ok(Self {
            host,
            certificate_pem,
            serving,
        })
    }
}

/// The file of a new authority: its key and its certificate.
fn made(host: &str) -> io::Result<String> {
    let make = || -> Result<String, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(host)?;
        params.not_before = OffsetDateTime::now_utc() - Duration::DAY; // clocks differ
        params.not_after = params.not_before + VALID_FOR;
        let certificate = params.self_signed(&key)?;
        Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
    };
    make().map_err(io::Error::other)
}

/// What is the same in each authority of a host: leaves name their issuer by it.
fn authority_params(host: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    let name = format!("clsess tap, for {host} alone");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted(host),
        excluded_subtrees: excluded(host),
    });
    Ok(params)
}

fn permitted(host: &str) -> Vec<GeneralSubtree> {
    vec![match host.parse::<IpAddr>() {
        Ok(address) => GeneralSubtree::IpAddress(only(address)),
        Err(_) => GeneralSubtree::DnsName(host.to_owned()),
    }]
}

/// A constraint says nothing of the kinds of names that it does not mention: of addresses where a
/// name is permitted, and the other way round. Names under the host are its own too, by the rules.
fn excluded(host: &str) -> Vec<GeneralSubtree> {
    let every_v4 = GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4]));
    let every_v6 = GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16]));
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => vec![GeneralSubtree::DnsName(String::new()), every_v6],
        Ok(IpAddr::V6(_)) => vec![GeneralSubtree::DnsName(String::new()), every_v4],
        Err(_) => vec![every_v4, every_v6],
    }
}

fn only(address: IpAddr) -> CidrSubnet {
    match address {
        IpAddr::V4(v4) => CidrSubnet::V4(v4.octets(), [255; 4]),
        IpAddr::V6(v6) => CidrSubnet::V6(v6.octets(), [255; 16]),
    }
}

/// A certificate for the host with a key of its own.
fn leaf(
    host: &str,
    key: KeyPair,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Box<dyn std::error::Error>> {
    let leaf_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, host);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::DAY;
    params.not_after = params.not_before + VALID_FOR;
    let serial = now.unix_timestamp_nanos().to_be_bytes();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let issuer = Issuer::new(authority_params(host)?, key);
    let leaf = params.signed_by(&leaf_key, &issuer)?;
    let leaf_key = PrivateKeyDer::try_from(leaf_key.serialize_der())?;
    Ok((leaf.der().clone(), leaf_key))
}

/// Reads a file that is ours alone.
fn read_own(path: &Path) -> io::Result<String> {
    let meta = fs::symlink_metadata(path)?;
    let ours = meta.is_file() && meta.uid() == nix::unistd::geteuid().as_raw();
    if !ours || meta.mode() & 0o077 != 0 || meta.len() > MAX_FILE {
        let what = format!("{} is not a file of the owner's alone", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    fs::read_to_string(path)
}

/// Puts a new file there in one step. If another was quicker, that one counts.
fn write_new(path: &Path, text: &str) -> io::Result<String> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let _ = fs::remove_file(&beside); // of a process of this number that died here
    let mut file: File = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&beside, path);
    let _ = fs::remove_file(&beside);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read_own(path),
    }
}
