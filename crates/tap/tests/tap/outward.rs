//! How connections leave.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clsess_tap::{Outward, OutwardError, Pass, Way};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{BOTH, By, Line, Own, UsersProxy, World, soon};

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn the_users_proxy_gets_its_password() {
    for by in BOTH {
        let mut world = World::new(by).await;
        let mut vars = world.vars();
        let url = format!("http://some%20one:p%40ss@127.0.0.1:{}", world.proxy.port);
        vars.insert("HTTPS_PROXY".to_owned(), url);
        world.admit(&vars);
        world.met().await;
        let credentials = STANDARD.encode("some one:p@ss");
        let head = world
            .proxy
            .heads
            .lock()
            .unwrap()
            .pop()
            .unwrap()
            .to_ascii_lowercase();
        let wanted = format!(
            "proxy-authorization: basic {}\r\n",
            credentials.to_ascii_lowercase()
        );
        assert!(
            head.starts_with("connect api.test:443 http/1.1\r\n") && head.contains(&wanted),
            "{head}"
        );
    }
}

#[tokio::test]
async fn small_letters_count_first_and_http_stands_in_for_https() {
    let world = World::new(By::Proxy).await;
    let port = world.proxy.port;
    let right = format!("127.0.0.1:{port}");
    let pem = world.own_pem().display().to_string();
    let sets: [&[(&str, &str)]; 4] = [
        &[
            ("https_proxy", &right),
            ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ],
        &[
            ("http_proxy", &right),
            ("https_proxy", ""),
            ("HTTPS_PROXY", " "),
        ],
        &[("HTTP_PROXY", &right), ("NO_PROXY", "other.test")],
        &[
            ("HTTPS_PROXY", &right),
            ("no_proxy", "other.test"),
            ("NO_PROXY", "*"),
        ],
    ];
    let mut world = world;
    for set in sets {
        let mut set = vars(set);
        set.insert("SSL_CERT_FILE".to_owned(), pem.clone());
        set.insert("NODE_EXTRA_CA_CERTS".to_owned(), "/nowhere".to_owned());
        world.admit(&set);
        world.met().await;
    }
    assert_eq!(world.proxy.heads.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_proxy_with_tls_is_spoken_to_by_tls() {
    let mut world = World::new(By::Proxy).await;
    let own = Own::new("localhost");
    let both = format!("{}{}", world.own.certificate_pem, own.certificate_pem);
    std::fs::write(world.own_pem(), both).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut set = world.vars();
    set.insert(
        "HTTPS_PROXY".to_owned(),
        format!("https://localhost:{port}"),
    );
    world.admit(&set);
    let mut client = world.client().await;
    client.say(world.get("/x")).await;
    let stream = soon(listener.accept()).await.unwrap().0;
    let mut proxy = Line::new(soon(own.acceptor.accept(stream)).await.unwrap());
    assert!(
        proxy
            .head()
            .await
            .starts_with("CONNECT api.test:443 HTTP/1.1\r\n")
    );
    proxy.say("HTTP/1.1 200 OK\r\n\r\n").await;
    let mut server = Line::new(soon(world.own.acceptor.accept(proxy.stream)).await.unwrap());
    assert!(server.head().await.starts_with("GET /x HTTP/1.1\r\n"));
}

/// A base URL of plain http, with a path, at a server of the test.
async fn plain(world: &mut World, set: &BTreeMap<String, String>) -> TcpListener {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let (sender, seen) = mpsc::channel(1000);
    world.seen = seen;
    let upstream = format!("http://127.0.0.1:{port}/gate/way/")
        .parse()
        .unwrap();
    world.admitted = Some(world.tap.admit(Pass {
        secret: world.secret.clone(),
        way: Way::BaseUrl { upstream },
        outward: Outward::from_environment(set).unwrap(),
        seen: sender,
    }));
    server
}

#[tokio::test]
async fn a_base_url_can_be_http_and_have_a_path() {
    let mut world = World::new(By::BaseUrl).await;
    let set = vars(&[
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("NO_PROXY", "127.0.0.1"),
    ]);
    let server = plain(&mut world, &set).await;
    let mut client = world.client().await;
    client.say(world.get("/v1/models?a=b")).await;
    let mut line = Line::new(soon(server.accept()).await.unwrap().0);
    let port = server.local_addr().unwrap().port();
    let wanted = format!("GET /gate/way/v1/models?a=b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    assert_eq!(line.head().await, wanted);
}

#[tokio::test]
async fn plain_http_goes_through_the_proxy_for_it() {
    let mut world = World::new(By::BaseUrl).await;
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://me:pass@127.0.0.1:{}",
        proxy.local_addr().unwrap().port()
    );
    let server = plain(&mut world, &vars(&[("HTTP_PROXY", &url)])).await;
    let mut client = world.client().await;
    for path in ["/one", "/two"] {
        client.say(world.get(path)).await;
    }
    let mut line = Line::new(soon(proxy.accept()).await.unwrap().0);
    let port = server.local_addr().unwrap().port();
    for path in ["/one", "/two"] {
        let head = line.head().await.to_ascii_lowercase();
        let first = format!(
            "get http://127.0.0.1:{port}/gate/way{path} http/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        );
        assert!(head.starts_with(&first), "{head}");
        assert!(head.contains("proxy-authorization: basic "), "{head}");
        line.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        client.head().await;
    }
}

#[tokio::test]
async fn hosts_of_no_proxy_are_reached_directly() {
    let mut world = World::new(By::Proxy).await;
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = target.local_addr().unwrap().port();
    let other = UsersProxy::to(port).await;
    for (list, direct) in [
        ("localhost", true),
        ("localhost:1", false),
        ("127.0.0.0/8", false),
    ] {
        let mut set = world.vars();
        set.insert(
            "HTTPS_PROXY".to_owned(),
            format!("http://127.0.0.1:{}", other.port),
        );
        set.insert("NO_PROXY".to_owned(), list.to_owned());
        world.admit(&set);
        let stream = world.reach_tap().await;
        let (_line, answer) = world
            .ask_for_tunnel(stream, &format!("localhost:{port}"))
            .await;
        assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\n");
        soon(target.accept()).await.unwrap();
        let asked = other.heads.lock().unwrap().drain(..).count();
        assert_eq!(asked, usize::from(!direct), "{list}");
    }
}

#[test]
fn what_cannot_be_used_is_an_error_without_its_value() {
    let refused =
        |value: &str| Outward::from_environment(&vars(&[("HTTPS_PROXY", value)])).unwrap_err();
    let error = refused("socks5://me:pass@proxy.test:1080");
    assert!(
        matches!(&error, OutwardError::Scheme { variable: "HTTPS_PROXY", scheme } if scheme == "socks5")
    );
    assert!(!error.to_string().contains("pass"));
    let error = refused("http://me:pass@proxy.test:port");
    assert!(matches!(&error, OutwardError::NoUrl { .. }));
    assert!(!error.to_string().contains("pass"));
    let shown = format!(
        "{:?}",
        Outward::from_environment(&vars(&[("HTTPS_PROXY", "me:pass@proxy.test:1")])).unwrap()
    );
    assert!(
        shown.contains("proxy.test:1") && !shown.contains("pass"),
        "{shown}"
    );
}
