//! The authority vouches for its one host, and nobody else has a hand in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use clsess_tap::Authority;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::support::{HOST, skipped};

fn made() -> (TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::load_or_make(&dir.path().join("a/b"), HOST).unwrap();
    (dir, authority)
}

fn file(dir: &TempDir) -> std::path::PathBuf {
    dir.path().join("a/b/api.test.pem")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_key_is_the_owners_alone() {
    let (dir, authority) = made();
    assert_eq!(mode(&dir.path().join("a/b")), 0o700);
    assert_eq!(mode(&file(&dir)), 0o600);
    assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
    let text = fs::read_to_string(file(&dir)).unwrap();
    assert!(text.contains("PRIVATE KEY") && text.contains(authority.certificate_pem()));
    assert!(!authority.certificate_pem().contains("PRIVATE"));
}

#[test]
fn it_is_the_same_the_next_time() {
    let (dir, authority) = made();
    let again = Authority::load_or_make(&dir.path().join("a/b"), "API.test").unwrap();
    assert_eq!(again.certificate_pem(), authority.certificate_pem());
    let other = Authority::load_or_make(&dir.path().join("a/b"), "other.test").unwrap();
    assert_ne!(other.certificate_pem(), authority.certificate_pem());
}

#[test]
fn what_others_had_a_hand_in_is_refused() {
    let load = |dir: &TempDir| Authority::load_or_make(&dir.path().join("a/b"), HOST).map(|_| ());
    let (dir, _) = made();
    fs::set_permissions(file(&dir), PermissionsExt::from_mode(0o640)).unwrap();
    assert!(load(&dir).is_err());
    let (dir, _) = made();
    fs::set_permissions(dir.path().join("a/b"), PermissionsExt::from_mode(0o750)).unwrap();
    assert!(load(&dir).is_err());
    let (dir, _) = made();
    fs::rename(file(&dir), dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), file(&dir)).unwrap();
    assert!(load(&dir).is_err());
}

#[test]
fn a_file_of_something_else_is_refused_by_its_name() {
    let (dir, _) = made();
    let (other_dir, other) = made();
    let text = fs::read_to_string(file(&dir)).unwrap();
    let begin = text.find("-----BEGIN CERTIFICATE").unwrap();
    let mixed = format!("{}{}", &text[..begin], other.certificate_pem());
    drop(other_dir);
    for text in ["", "nothing", &text[..begin], &mixed] {
        fs::write(file(&dir), text).unwrap();
        let error = Authority::load_or_make(&dir.path().join("a/b"), HOST)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("api.test.pem") && error.ends_with("; remove it"),
            "{error}"
        );
    }
    for host in ["", "a/b", "..", "*"] {
        assert!(Authority::load_or_make(dir.path(), host).is_err(), "{host}");
    }
}

/// A certificate by the authority's own key, as its thief would make it.
fn forged(dir: &TempDir, names: &[&str], ca: bool) -> (CertificateDer<'static>, String, KeyPair) {
    let text = fs::read_to_string(file(dir)).unwrap();
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.distinguished_name = DistinguishedName::new();
    issuer
        .distinguished_name
        .push(DnType::CommonName, "clsess tap, for api.test alone");
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = Issuer::new(issuer, KeyPair::from_pem(&text).unwrap());
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "forged");
    if ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    }
    let certificate = params.signed_by(&key, &issuer).unwrap();
    (certificate.der().clone(), certificate.pem(), key)
}

fn taken_by_webpki(authority: &Authority, chain: &[CertificateDer<'static>], host: &str) -> bool {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    verifier
        .verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now())
        .is_ok()
}

/// `None` where there is no openssl.
fn taken_by_openssl(
    dir: &TempDir,
    authority: &Authority,
    pem: &str,
    between: Option<&str>,
) -> Option<bool> {
    let at = |name: &str| dir.path().join(name);
    fs::write(at("root"), authority.certificate_pem()).unwrap();
    fs::write(at("leaf"), pem).unwrap();
    let mut command = Command::new("openssl");
    command.arg("verify").arg("-CAfile").arg(at("root"));
    if let Some(between) = between {
        fs::write(at("between"), between).unwrap();
        command.arg("-untrusted").arg(at("between"));
    }
    match command.arg(at("leaf")).output() {
        Ok(output) => Some(output.status.success()),
        Err(error) => skipped(&format!("openssl: {error}")),
    }
}

#[test]
fn even_with_its_key_nobody_can_be_another_host() {
    let (dir, authority) = made();
    let cases: [(&[&str], &str, bool); 5] = [
        (&[HOST], HOST, true),
        (&["other.test"], "other.test", false),
        (&[HOST, "other.test"], HOST, false),
        (&["127.0.0.1"], "127.0.0.1", false),
        (&["xapi.test"], "xapi.test", false),
    ];
    for (names, host, taken) in cases {
        let (der, pem, _) = forged(&dir, names, false);
        assert_eq!(
            taken_by_webpki(&authority, &[der], host),
            taken,
            "{names:?}"
        );
        if let Some(openssl) = taken_by_openssl(&dir, &authority, &pem, None) {
            assert_eq!(openssl, taken, "openssl: {names:?}");
        }
    }
}

#[test]
fn even_with_its_key_nobody_can_make_an_authority() {
    let (dir, authority) = made();
    let (between, between_pem, key) = forged(&dir, &[], true);
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.distinguished_name = DistinguishedName::new();
    issuer.distinguished_name.push(DnType::CommonName, "forged");
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = Issuer::new(issuer, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    if let Some(taken) = taken_by_openssl(&dir, &authority, &leaf.pem(), Some(&between_pem)) {
        assert!(!taken, "the length of the path is 0");
    }
    // webpki does not look at what a root says of the length of its paths: the name holds there
    let chain = [leaf.der().clone(), between];
    assert!(taken_by_webpki(&authority, &chain, HOST));
}
