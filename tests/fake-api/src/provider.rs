//! The API as the world reaches it: a proxy that is every host itself, by TLS.
//!
//! Who has this one as `HTTPS_PROXY` and trusts its authority believes that it talks to
//! `api.anthropic.com`. Every other host that is asked for is there too, but another authority vouches
//! for those.

use std::net::Ipv4Addr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::server;
use crate::state::Shared;

/// Longest head of a request for a tunnel, in bytes. A longer one is not answered.
const MAX_HEAD: usize = 8 * 1024;

/// The API's host.
const HOST: &str = "api.anthropic.com";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Who vouches for whom.
struct Authorities {
    /// For the API's host.
    api: Authority,
    /// For all others.
    others: Authority,
}

/// Listens on a port of loopback, which it gives, and writes the authorities that vouch there for the
/// API's host and for all others to the files `ca` and `others`, as PEM. Must run within a `LocalSet`.
pub fn open(ca: &Path, others: &Path, state: &Shared) -> Result<u16, String> {
    let authorities = Authorities {
        api: authority("of the API", ca)?,
        others: authority("of all others", others)?,
    };
    let (listener, port) = listen().map_err(|error| error.to_string())?;
    tokio::task::spawn_local(serve(listener, Rc::new(authorities), Rc::clone(state)));
    Ok(port)
}

/// Makes one of this name, and writes its certificate to a file.
fn authority(name: &str, file: &Path) -> Result<Authority, String> {
    let make = || {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?)
    };
    let authority = make().map_err(|error: rcgen::Error| error.to_string())?;
    std::fs::write(file, authority.pem())
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(authority)
}

fn listen() -> std::io::Result<(TcpListener, u16)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((TcpListener::from_std(listener)?, port))
}

async fn serve(listener: TcpListener, authorities: Rc<Authorities>, state: Shared) {
    server::accept(listener, |stream| {
        let (authorities, state) = (Rc::clone(&authorities), Rc::clone(&state));
        async move {
            // Who asks for anything else, or does not trust the authority, gets nothing.
            let _ = tunnel(stream, &authorities, state).await;
        }
    })
    .await;
}

/// Answers one CONNECT, as the host that it names.
async fn tunnel(
    mut stream: TcpStream,
    authorities: &Authorities,
    state: Shared,
) -> Result<(), Box<dyn std::error::Error>> {
    let head = head(&mut stream).await?;
    let target = head.strip_prefix("CONNECT ").and_then(|rest| {
        let (target, _) = rest.split_once(' ')?;
        target.strip_suffix(":443")
    });
    let host = target.ok_or("no tunnel to 443")?;
    let authority = match host == HOST {
        true => &authorities.api,
        false => &authorities.others,
    };
    let acceptor = acceptor(host, authority)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    server::connection(acceptor.accept(stream).await?, state).await;
    Ok(())
}

/// Everything to the first empty line. Nothing follows it: the client waits for its answer.
async fn head(stream: &mut TcpStream) -> Result<String, Box<dyn std::error::Error>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read_buf(&mut head).await?;
        if count == 0 || head.len() > MAX_HEAD {
            return Err("no head".into());
        }
    }
    Ok(String::from_utf8(head)?)
}

/// TLS in the name of this host, HTTP/1.1 alone.
fn acceptor(host: &str, authority: &Authority) -> Result<TlsAcceptor, Box<dyn std::error::Error>> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    // One of the authority's own name would be taken for the authority.
    params.distinguished_name = DistinguishedName::new();
    let leaf = params.signed_by(&key, authority)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
