use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::{Error, Result, Tried};
use crate::random;

/// The people that every control plane knows. Only the admin may do anything at first
/// (`system:masters`); the others have no rights until a test binds a role to their user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// `admin`, in the group `system:masters`.
    Admin,
    /// `author`: meant for who writes restores and configs.
    Author,
    /// `approver`: meant for who approves a price.
    Approver,
    /// `resolver`: meant for who answers what became of an unknown outcome.
    Resolver,
}

impl User {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Author, Self::Approver, Self::Resolver];

    /// The user name that RBAC, admission and the audit log see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Author => "author",
            Self::Approver => "approver",
            Self::Resolver => "resolver",
        }
    }

    fn groups(self) -> &'static str {
        match self {
            Self::Admin => ",system:masters",
            Self::Author | Self::Approver | Self::Resolver => "",
        }
    }
}

/// What a client proves with who it is.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

/// Keys, certificates and tokens of one control plane.
#[derive(Debug)]
pub(crate) struct Credentials {
    ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
    tokens: Vec<(User, String)>,
    client_tls: Arc<ClientConfig>,
    server_tls: Arc<ServerConfig>,
}

impl Credentials {
    /// Makes them and writes into `dir` what the programs read: `ca.crt`, `serving.crt`,
    /// `serving.key`, `sa.key`, `sa.pub` and `tokens.csv`.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let (ca_pem, issuer) = authority().map_err(failed("sign"))?;
        let (serving_pem, serving_key) = serving(&issuer).map_err(failed("sign"))?;
        let account_key = KeyPair::generate().map_err(failed("make a key for"))?;

        let tokens = User::ALL
            .into_iter()
            .map(|user| Ok((user, HEXLOWER.encode(&random::bytes::<16>()?))))
            .collect::<Result<Vec<_>>>()?;
        let table: String = tokens
            .iter()
            .map(|(user, token)| format!("{token},{name},{name}{}\n", user.groups(), name = user.name()))
            .collect();

        for (name, content) in [
            ("ca.crt", ca_pem.as_str()),
            ("serving.crt", &serving_pem),
            ("serving.key", &serving_key.serialize_pem()),
            ("sa.key", &account_key.serialize_pem()),
            ("sa.pub", &account_key.public_key_pem()),
            ("tokens.csv", &table),
        ] {
            let path = dir.join(name);
            fs::write(&path, content).tried(|| format!("write {}", path.display()))?;
        }

        Ok(Self {
            client_tls: Arc::new(client_tls(&ca_pem).map_err(failed("trust"))?),
            server_tls: Arc::new(
                server_tls(&serving_pem, &serving_key.serialize_pem()).map_err(failed("use"))?,
            ),
            ca_pem,
            issuer,
            tokens,
        })
    }

    /// A certificate for a user of any name, in no group.
    pub(crate) fn client_certificate(&self, name: &str, until: SystemTime) -> Result<ClientCertificate> {
        client(&self.issuer, name, until).map_err(failed("sign"))
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(crate) fn token(&self, user: User) -> &str {
        self.tokens
            .iter()
            .find(|(known, _)| *known == user)
            .map_or("", |(_, token)| token)
    }

    pub(crate) fn client_tls(&self) -> Arc<ClientConfig> {
        self.client_tls.clone()
    }

    /// The certificate of the API server, for what stands in front of it.
    pub(crate) fn server_tls(&self) -> Arc<ServerConfig> {
        self.server_tls.clone()
    }
}

fn failed<E: std::fmt::Display>(verb: &'static str) -> impl FnOnce(E) -> Error {
    move |reason| Error::Credentials {
        what: format!("{verb} the certificates of the control plane"),
        reason: reason.to_string(),
    }
}

fn authority() -> std::result::Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "hostup test control plane");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = authority.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(authority, key)))
}

/// For 127.0.0.1 and localhost.
fn serving(issuer: &Issuer<'_, KeyPair>) -> std::result::Result<(String, KeyPair), rcgen::Error> {
    let names = ["127.0.0.1", "localhost"].map(String::from);
    let mut serving = CertificateParams::new(names)?;
    serving
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    serving.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    serving.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    Ok((serving.signed_by(&key, issuer)?.pem(), key))
}

fn client(
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    until: SystemTime,
) -> std::result::Result<ClientCertificate, rcgen::Error> {
    let mut client = CertificateParams::new(Vec::new())?;
    client.distinguished_name.push(DnType::CommonName, name);
    client.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    client.not_after = until.into();
    let key = KeyPair::generate()?;
    Ok(ClientCertificate {
        certificate_pem: client.signed_by(&key, issuer)?.pem(),
        key_pem: key.serialize_pem(),
    })
}

fn client_tls(ca_pem: &str) -> std::result::Result<ClientConfig, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
    Ok(
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

fn server_tls(certificate: &str, key: &str) -> std::result::Result<ServerConfig, Box<dyn std::error::Error>> {
    Ok(
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(key.as_bytes())?,
            )?,
    )
}
