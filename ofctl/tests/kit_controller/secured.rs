//! TLS, with certificates that openssl makes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ofctl::client::openflow::{self, Connection};
use ofctl::client::{Listen, Target, Tls, TlsError};

use super::{Running, quick};

fn openssl(folder: &Path, arguments: &str) -> bool {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// An authority and a certificate of it for each name; `false` without openssl.
fn authority(folder: &Path, names: &[&str]) -> bool {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    let made =
        openssl(folder, &format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 2"));
    made && names.iter().all(|name| {
        std::fs::write(folder.join("v3.cnf"), "basicConstraints=CA:FALSE\n").unwrap();
        openssl(folder, &format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"))
            && openssl(
                folder,
                &format!(
                    "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
                     -extfile v3.cnf -out {name}.pem"
                ),
            )
    })
}

fn tls(folder: &Path, name: &str, trusted: &Path) -> Result<Tls, TlsError> {
    Tls::from_files(&folder.join(format!("{name}.pem")), &folder.join(format!("{name}.key")), trusted)
}

#[tokio::test]
async fn only_who_has_the_authoritys_certificate_comes_in() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if !authority(ours.path(), &["controller", "switch"]) || !authority(theirs.path(), &["stranger"]) {
        eprintln!("SKIPPED: openssl is not installed");
        return;
    }
    let ca = ours.path().join("ca.pem");
    let controller = tls(ours.path(), "controller", &ca).unwrap();
    let switch = tls(ours.path(), "switch", &ca).unwrap();
    // A stranger who trusts us, and a friend who trusts strangers.
    let stranger = tls(theirs.path(), "stranger", &ca).unwrap();
    let suspicious = tls(ours.path(), "switch", &theirs.path().join("ca.pem")).unwrap();

    let running = Running::start(quick());
    let place = Listen::parse("pssl:0:127.0.0.1", Some(&controller)).unwrap();
    let port = running.controller.listen(place).await.unwrap().unwrap().port();
    let target = |tls: &Tls| Target::parse(&format!("ssl:localhost:{port}"), Some(tls)).unwrap();
    let options = openflow::Options { timeout: Duration::from_secs(5), ..Default::default() };
    let (connection, _events) = Connection::connect(target(&switch), options).await.unwrap();
    assert!(connection.closed().is_none());
    for refused in [&stranger, &suspicious] {
        let error = Connection::connect(target(refused), options).await.unwrap_err();
        eprintln!("{error}");
    }
    let plain = Target::Tcp("localhost".to_owned(), port);
    Connection::connect(plain, options).await.unwrap_err();

    // A key that belongs to another certificate.
    let mixed = Tls::from_files(&ours.path().join("switch.pem"), &ours.path().join("controller.key"), &ca);
    assert!(matches!(mixed, Err(TlsError::Identity(_))), "{mixed:?}");
    let missing = tls(ours.path(), "nobody", &ca).unwrap_err().to_string();
    assert!(missing.contains("nobody.pem"), "{missing}");
    let empty = tls(ours.path(), "switch", &ours.path().join("v3.cnf")).unwrap_err().to_string();
    assert!(empty.contains("BEGIN CERTIFICATE"), "{empty}");
    assert!(!format!("{controller:?}").contains("key"), "a key must not be logged");
}
