//! TLS on both sides: who is trusted outward, and what is shown to clients. HTTP/1.1 alone.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};

const HTTP_1: &[u8] = b"http/1.1";

/// Longest PEM file that is read for roots, in bytes: a system's whole bundle has a tenth of it.
const MAX_ROOTS: u64 = 4 << 20;

/// The roots without extra ones: read once, and the same for all sessions of a process.
static USUAL: OnceLock<Arc<RootCertStore>> = OnceLock::new();

/// ring, named each time: a process-wide default would be somebody else's to set.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// TLS towards upstreams: the system's roots (Mozilla's, where it has none), and those of the PEM
/// files. A file that cannot be read, and what is in it and is no certificate, is passed over as Node
/// does, with a line in the log.
pub(crate) fn outward(extra: &[&Path]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let usual = USUAL.get_or_init(|| Arc::new(usual_roots()));
    if extra.is_empty() {
        return trusting(Arc::clone(usual));
    }
    let mut roots = RootCertStore::clone(usual);
    for file in extra {
        match certificates(file) {
            Ok(found) => {
                roots.add_parsable_certificates(found);
            }
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "extra root certificates not read");
            }
        }
    }
    trusting(Arc::new(roots))
}

/// Those of a file. Only of a regular one: the opening of a pipe would wait for its writer.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Box<dyn Error>> {
    let meta = std::fs::metadata(file)?;
    if !meta.is_file() || meta.len() > MAX_ROOTS {
        return Err("not a file of a few certificates".into());
    }
    Ok(CertificateDer::pem_file_iter(file)?.flatten().collect())
}

/// Those that this system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` of this very process, if it has
/// them, say where they are.
fn usual_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn trusting(roots: Arc<RootCertStore>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(Arc::new(config))
}

/// TLS towards clients with this chain.
pub(crate) fn serving(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(config)
}

/// Whether a client that trusts `authority` would take `leaf` for `host`: whether the key and the
/// certificate of a file belong together.
pub(crate) fn check_leaf(
    authority: &CertificateDer<'static>,
    leaf: &CertificateDer<'static>,
    host: &str,
) -> Result<(), Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
    let name = ServerName::try_from(host.to_owned())?;
    verifier.verify_server_cert(leaf, &[], &name, &[], UnixTime::now())?;
    Ok(())
}
