//! Certificates of a test authority, and raw TLS connections that check them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData as _};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use super::client::HOST;
use super::gate::{Setup, write_private};
use super::wait::SOON;

/// An authority and the files of its certificates.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key, in PEM.
pub(crate) struct Leaf {
    pub(crate) chain: String,
    pub(crate) key: String,
    /// The public key as Chromium's list of exceptions wants it: SHA-256 of the SubjectPublicKeyInfo.
    pub(crate) spki: [u8; 32],
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Test authority");
        let certificate = parameters.self_signed(&key).expect("an authority");
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("ca.pem");
        Self {
            folder,
            certificate: certificate.der().clone(),
            issuer: Issuer::new(parameters, key),
        }
    }

    /// The authority's own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A certificate for these names, good from yesterday for 90 days by the clock of real programs.
    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("names");
        let day = Duration::from_secs(24 * 60 * 60);
        let now = Duration::from_secs(mediagate::clock::Clock::system().now().secs().unsigned_abs());
        let start = rcgen::date_time_ymd(1970, 1, 1);
        parameters.not_before = start + (now - day);
        parameters.not_after = start + (now + day * 90);
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let spki = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
        Leaf {
            chain: certificate.pem(),
            key: key.serialize_pem(),
            spki: spki.as_ref().try_into().expect("32 bytes"),
        }
    }

    /// Writes `NAME.pem` and `NAME.key` for these names.
    pub(crate) fn put(&self, name: &str, names: &[&str]) -> Leaf {
        let leaf = self.leaf(names);
        self.write(name, &leaf);
        leaf
    }

    pub(crate) fn write(&self, name: &str, leaf: &Leaf) {
        fs::write(self.chain(name), &leaf.chain).expect("a chain");
        write_private(&self.key(name), leaf.key.as_bytes());
    }

    pub(crate) fn chain(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.pem"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.key"))
    }

    /// `certificates = […]` of these files.
    pub(crate) fn list(&self, names: &[&str]) -> String {
        let one = |name: &&str| {
            format!(
                "{{ chain = \"{}\", key = \"{}\" }}",
                self.chain(name).display(),
                self.key(name).display()
            )
        };
        let all: Vec<String> = names.iter().map(one).collect();
        format!("certificates = [{}]", all.join(", "))
    }

    /// A gate with a TLS listener beside the one in clear, for the public host and loopback.
    pub(crate) fn secure(&self, setup: Setup) -> Setup {
        self.put("main", &[HOST, "localhost", "127.0.0.1"]);
        self.listen(setup)
    }

    /// The same with the files that are there.
    pub(crate) fn listen(&self, setup: Setup) -> Setup {
        let list = self.list(&["main"]);
        setup.server(&format!("tls = {{ listen = [\"127.0.0.1:0\"], {list} }}"))
    }

    /// How a client of this authority connects.
    pub(crate) fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// A connection that asks for the public host.
    pub(crate) fn connect(&self, address: SocketAddr, alpn: &[&str]) -> Secure {
        Secure::connect(address, &Arc::new(self.client(alpn)), HOST)
    }
}

/// A TLS connection whose handshake is done.
pub(crate) struct Secure {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Secure {
    pub(crate) fn connect(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Self {
        Self::try_connect(address, config, name).expect("a TLS connection")
    }

    pub(crate) fn try_connect(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        Self::behind(b"", address, config, name)
    }

    /// Sends these bytes before the handshake, as a load balancer does.
    pub(crate) fn behind(
        header: &[u8],
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let mut tcp = TcpStream::connect_timeout(&address, SOON)?;
        tcp.write_all(header)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(SOON))?;
        tcp.set_write_timeout(Some(SOON))?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut connection = ClientConnection::new(Arc::clone(config), name).expect("a client");
        while connection.is_handshaking() {
            connection.complete_io(&mut tcp)?;
        }
        Ok(Self {
            stream: StreamOwned::new(connection, tcp),
        })
    }

    /// The names of the server's certificate.
    pub(crate) fn names(&self) -> Vec<String> {
        let chain = self.stream.conn.peer_certificates().expect("a certificate");
        let parsed = webpki::EndEntityCert::try_from(&chain[0]).expect("a certificate");
        parsed.valid_dns_names().map(str::to_owned).collect()
    }

    /// The protocol that was agreed on.
    pub(crate) fn protocol(&self) -> Option<String> {
        self.stream
            .conn
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// Sends bytes.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("send");
        self.stream.flush().expect("send");
    }

    /// A GET on this connection, which lives on: status and body, by Content-Length.
    pub(crate) fn get(&mut self, target: &str) -> (u16, Vec<u8>) {
        self.send(super::client::head("GET", target, &[]));
        let mut bytes = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            let head = bytes
                .windows(4)
                .position(|window: &[u8]| window == b"\r\n\r\n")
                .map(|at| at + 4);
            if let Some(head) = head {
                let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
                let status = text[9..12].parse().expect("a status");
                let length: usize = text
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .expect("a length")
                    .parse()
                    .expect("a length");
                if bytes.len() >= head + length {
                    return (status, bytes[head..head + length].to_vec());
                }
            }
            let count = self.stream.read(&mut piece).expect("an answer");
            assert!(count > 0, "ended early: {}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&piece[..count]);
        }
    }
}
