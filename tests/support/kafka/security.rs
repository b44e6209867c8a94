//! Listeners that want to know who comes, and the papers that they accept.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::node::Listener;
use super::ports::Port;

/// The only user.
pub const USER: &str = "korch";
/// The user's password, by SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN.
pub const PASSWORD: &str = "secret-korch";

/// Listeners with TLS, with passwords and with certificates, beside the open one.
pub struct Security {
    directory: PathBuf,
    sasl_ssl: Port,
    sasl_plaintext: Port,
    tls: Port,
    mutual: Port,
}

impl Security {
    /// Makes an authority and what it signs.
    pub(super) fn new(directory: &Path) -> Security {
        let authority = Authority::new();
        let security = Security {
            directory: directory.to_owned(),
            sasl_ssl: Port::reserve(),
            sasl_plaintext: Port::reserve(),
            tls: Port::reserve(),
            mutual: Port::reserve(),
        };
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let server = authority.sign("broker", &names, ExtendedKeyUsagePurpose::ServerAuth);
        let client = authority.sign(USER, &[], ExtendedKeyUsagePurpose::ClientAuth);
        let stranger = Authority::new();
        let write = |path: PathBuf, text: &str| fs::write(path, text).unwrap();
        write(security.ca_file(), &authority.certificate);
        write(security.other_ca_file(), &stranger.certificate);
        write(security.file("server.pem"), &format!("{}{}", server.key, server.certificate));
        write(security.client_cert(), &client.certificate);
        write(security.client_key(), &client.key);
        security
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The authority that signed the broker's certificate, and the client's.
    pub fn ca_file(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// An authority that signed nothing here.
    pub fn other_ca_file(&self) -> PathBuf {
        self.file("other-ca.pem")
    }

    pub fn client_cert(&self) -> PathBuf {
        self.file("client.pem")
    }

    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }

    /// TLS and a password.
    pub fn sasl_bootstrap(&self) -> String {
        self.sasl_ssl.address()
    }

    /// A password without TLS.
    pub fn sasl_plaintext_bootstrap(&self) -> String {
        self.sasl_plaintext.address()
    }

    /// TLS, and no question who comes.
    pub fn tls_bootstrap(&self) -> String {
        self.tls.address()
    }

    /// TLS, and a certificate of the client's too.
    pub fn mtls_bootstrap(&self) -> String {
        self.mutual.address()
    }

    pub(super) fn listeners(&self) -> Vec<Listener> {
        vec![
            Listener::new("SASLTLS", "SASL_SSL", &self.sasl_ssl),
            Listener::new("SASLOPEN", "SASL_PLAINTEXT", &self.sasl_plaintext),
            Listener::new("TLS", "SSL", &self.tls),
            Listener::new("MUTUAL", "SSL", &self.mutual),
        ]
    }

    pub(super) fn settings(&self) -> Vec<(String, String)> {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut settings = vec![
            setting("ssl.keystore.type", "PEM"),
            setting("ssl.keystore.location", self.file("server.pem").to_str().unwrap()),
            setting("ssl.truststore.type", "PEM"),
            setting("ssl.truststore.location", self.ca_file().to_str().unwrap()),
            setting("listener.name.mutual.ssl.client.auth", "required"),
        ];
        for listener in ["sasltls", "saslopen"] {
            let prefix = format!("listener.name.{listener}");
            let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
            let plain = format!(
                "org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"
            );
            settings.extend([
                setting(&format!("{prefix}.sasl.enabled.mechanisms"), "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN"),
                setting(&format!("{prefix}.scram-sha-256.sasl.jaas.config"), scram),
                setting(&format!("{prefix}.scram-sha-512.sasl.jaas.config"), scram),
                setting(&format!("{prefix}.plain.sasl.jaas.config"), &plain),
            ]);
        }
        settings
    }

    /// What makes the user part of a new cluster.
    pub(super) fn format_arguments() -> Vec<String> {
        ["SCRAM-SHA-256", "SCRAM-SHA-512"]
            .into_iter()
            .flat_map(|mechanism| {
                ["--add-scram".to_owned(), format!("{mechanism}=[name={USER},password={PASSWORD}]")]
            })
            .collect()
    }
}

struct Signed {
    certificate: String,
    key: String,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "korch test authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, name: &str, hosts: &[String], purpose: ExtendedKeyUsagePurpose) -> Signed {
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { certificate, key: key.serialize_pem() }
    }
}
