//! TLS as Open vSwitch uses it: both sides show a certificate, and one authority has signed both.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Who we are and whom we trust: our certificate and key, and the authority that signs those of the peers.
///
/// As with ovs-vswitchd and ovs-ofctl, a peer is trusted if the authority signed its certificate, whatever host the
/// certificate names: switches and controllers are known by the authority that is theirs alone.
#[derive(Clone)]
pub struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// Why certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM item of the kind.
    #[error("{what} {path}: {source}")]
    File {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// A file without a certificate.
    #[error("{what} {path}: there is no certificate in it; it should hold a block BEGIN CERTIFICATE")]
    NoCertificate {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The authority's certificate cannot verify anything.
    #[error("the authority's certificate {path}: {source}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: VerifierBuilderError,
    },
    /// The certificate or the key is refused, perhaps because they do not belong together.
    #[error("certificate and private key cannot be used together: {0}")]
    Identity(#[from] rustls::Error),
}

impl fmt::Debug for Tls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration holds the private key.
        out.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Equal if they are clones of one.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client, &other.client)
    }
}

impl Eq for Tls {}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::File { what, path: path.to_owned(), source };
    let found = CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<Vec<_>, _>>();
    let found = found.map_err(failed)?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { what, path: path.to_owned() });
    }
    Ok(found)
}

impl Tls {
    /// Reads PEM files: our certificate with those that lead to the authority, our private key, and the certificate
    /// of the authority. They are `--certificate`, `--private-key` and `--ca-cert` of ovs-ofctl.
    ///
    /// # Errors
    /// If a file cannot be read, or holds something else.
    pub fn from_files(certificate: &Path, private_key: &Path, authority: &Path) -> Result<Tls, TlsError> {
        let chain = certificates("certificate", certificate)?;
        let key = PrivateKeyDer::from_pem_file(private_key).map_err(|source| TlsError::File {
            what: "private key",
            path: private_key.to_owned(),
            source,
        })?;
        let trusted = certificates("authority's certificate", authority)?;
        let refused = |source| TlsError::Authority { path: authority.to_owned(), source };
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots.add(certificate)?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let builder = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
        let verifier = Arc::new(AnyName(builder.build().map_err(refused)?));
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain.clone(), key.clone_key())?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let server = server_config(provider)?
            .with_client_cert_verifier(verifier.build().map_err(refused)?)
            .with_single_cert(chain, key)?;
        Ok(Tls { client: Arc::new(client), server: Arc::new(server) })
    }

    pub(super) fn connector(&self) -> TlsConnector {
        TlsConnector::from(self.client.clone())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.server.clone())
    }
}

type ServerBuilder = rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>;

fn server_config(provider: Arc<CryptoProvider>) -> Result<ServerBuilder, rustls::Error> {
    ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// Verifies everything about a certificate but the name of the host, which certificates of switches do not have.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is looked at last, when all else has been found right.
        match self.0.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
