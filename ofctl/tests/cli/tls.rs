//! Switches that are reached by TLS.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ofctl::wire::versions::Version;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::support::missing;
use super::support::recorder::Recorder;
use super::{ofctl, run, text};

/// An authority, and a certificate of it for each name.
fn certificates(folder: &Path, authority: &str, names: &[&str]) {
    let openssl = |arguments: String| {
        let mut command = Command::new("openssl");
        command.current_dir(folder).args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "openssl {arguments}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(folder.join("v3.cnf"), "basicConstraints=CA:FALSE\n").unwrap();
    openssl(format!(
        "req -x509 {key} -keyout {authority}.key -out {authority}.pem -subj /CN={authority} -days 2"
    ));
    for name in names {
        openssl(format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 2 \
             -extfile v3.cnf -out {name}.pem"
        ));
    }
}

/// A switch that wants to see a certificate of the authority.
fn switch(folder: &Path) -> Recorder {
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate("switch.pem")],
            PrivateKeyDer::from_pem_file(folder.join("switch.key")).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    Recorder::start_on_tcp(Version::OpenFlow13, "ssl", move |stream: TcpStream| {
        StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream)
    })
}

#[test]
fn over_tls_a_switch_hears_the_same_from_whom_it_trusts() {
    if missing(&["openssl"], false).is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), "ca", &["switch", "client"]);
    certificates(folder.path(), "other", &["stranger"]);
    let (by_tls, by_path) = (switch(folder.path()), Recorder::start(Version::OpenFlow13));
    let file = |name: &str| folder.path().join(name).display().to_string();
    let as_whom = |name: &str, authority: &str| {
        let words = [
            format!("--certificate={}", file(&format!("{name}.pem"))),
            format!("--private-key={}", file(&format!("{name}.key"))),
            format!("--ca-cert={}", file(&format!("{authority}.pem"))),
        ];
        words.to_vec()
    };
    let said = |target: &str, identity: &[String], case: &str| {
        let words: Vec<String> = case.split(' ').map(|word| word.replace("SWITCH", target)).collect();
        run(ofctl(&identity.iter().chain(&words).map(String::as_str).collect::<Vec<_>>()), "")
    };
    for case in
        ["show SWITCH", "add-flow SWITCH in_port=1,actions=drop", "dump-groups SWITCH", "probe SWITCH"]
    {
        let output = said(&by_tls.target, &as_whom("client", "ca"), case);
        assert!(output.status.success(), "{case}: {}", text(&output.stderr));
        let plain = said(&by_path.target, &[], case);
        assert_eq!(
            text(&output.stdout).replace(&by_tls.target, "SWITCH"),
            text(&plain.stdout).replace(&by_path.target, "SWITCH")
        );
        assert_eq!(by_tls.take(), by_path.take(), "{case}");
    }
    // Neither side speaks with whom another authority vouches for.
    for identity in [as_whom("stranger", "ca"), as_whom("client", "other")] {
        let output = said(&by_tls.target, &identity, "add-flow SWITCH actions=drop");
        assert_eq!(output.status.code(), Some(1), "{identity:?}");
        assert!(!text(&output.stderr).is_empty() && by_tls.take().is_empty(), "{identity:?}");
    }
}
