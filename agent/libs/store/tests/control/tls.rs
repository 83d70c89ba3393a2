//! TLS to MariaDB: who is believed, and that there is never a connection in clear instead.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use sf_store::conn::connect;
use sf_store::sql::sql;
use sf_store::testing::{Server, ServerError};
use sf_store::{ConnectOptions, Endpoint, StoreError, StoreResult, Tls, Verify};

const ACCOUNT: &str = "CREATE USER walker@'%' IDENTIFIED BY ''";
const CIPHER: &str = "SELECT VARIABLE_VALUE AS value FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_CIPHER'";

/// A server that listens on loopback, with further options for `mariadbd`.
async fn server(options: &[String]) -> Option<(Server, u16)> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut all = vec![
        "--skip-networking=0".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--port={port}"),
    ];
    all.extend_from_slice(options);
    let texts: Vec<&str> = all.iter().map(String::as_str).collect();
    let server = match Server::start(&texts) {
        Ok(server) => server,
        Err(ServerError::NotInstalled(program)) => {
            eprintln!("skipped: {program} is not installed");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let mut conn = connect(&server.options(None)).await.unwrap();
    sql(ACCOUNT).run(&mut conn).await.unwrap();
    Some((server, port))
}

/// The cipher of a session; empty text where there is none.
async fn cipher(host: &str, port: u16, tls: Option<Tls>) -> StoreResult<String> {
    let endpoint = Endpoint::Tcp { host: host.to_owned(), port };
    let options = ConnectOptions { endpoint, user: "walker".into(), password: None, database: None, tls };
    Ok(sql(CIPHER).value(&mut connect(&options).await?).await?.unwrap_or_default())
}

fn tls(verify: Verify, ca: Option<&Path>) -> Option<Tls> {
    Some(Tls { verify, ca: ca.map(Path::to_path_buf), identity: None })
}

/// Runs openssl in a directory.
fn openssl(directory: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// An authority of this name in a directory; its certificate.
fn authority(directory: &Path, name: &str) -> PathBuf {
    openssl(
        directory,
        &format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name} -days 2"
        ),
    );
    directory.join(format!("{name}.pem"))
}

/// Options of a server whose certificate is for 127.0.0.1 and nothing else.
fn certified(directory: &Path, ca: &Path) -> Vec<String> {
    openssl(directory, "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server");
    std::fs::write(directory.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let key = ca.with_extension("key");
    openssl(
        directory,
        &format!(
            "x509 -req -in server.csr -CA {} -CAkey {} -CAcreateserial -out server.pem -days 2 -extfile san",
            ca.display(),
            key.display()
        ),
    );
    vec![
        format!("--ssl-cert={}", directory.join("server.pem").display()),
        format!("--ssl-key={}", directory.join("server.key").display()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_believed_as_far_as_the_mode_says() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (ca, stranger) = (authority(directory.path(), "ca"), authority(directory.path(), "stranger"));
    let Some((_server, port)) = server(&certified(directory.path(), &ca)).await else { return };

    for (host, verify, anchor, believed) in [
        ("127.0.0.1", Verify::Identity, Some(ca.as_path()), true),
        ("localhost", Verify::Identity, Some(ca.as_path()), false),
        ("127.0.0.1", Verify::Identity, Some(stranger.as_path()), false),
        ("127.0.0.1", Verify::Identity, None, false),
        ("localhost", Verify::Authority, Some(ca.as_path()), true),
        ("localhost", Verify::Authority, Some(stranger.as_path()), false),
        ("127.0.0.1", Verify::Nothing, None, true),
    ] {
        let outcome = cipher(host, port, tls(verify, anchor)).await;
        let encrypted = outcome.as_ref().is_ok_and(|cipher| !cipher.is_empty());
        assert_eq!(encrypted, believed, "{host} {verify:?} {anchor:?}: {outcome:?}");
        assert_eq!(outcome.is_ok(), believed, "{host} {verify:?} {anchor:?}: {outcome:?}");
    }
    assert_eq!(cipher("127.0.0.1", port, None).await.unwrap(), "");

    let Some((_server, port)) = server(&["--skip-ssl".to_owned()]).await else { return };
    let refused = cipher("127.0.0.1", port, tls(Verify::Nothing, None)).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Setup(why) if why.contains("no encrypted session")),
        "{refused:?}"
    );
}
