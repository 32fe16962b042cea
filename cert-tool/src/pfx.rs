//! [`write_pfx`]: a certificate, its chain and its key under one password, in a PFX file (PKCS #12,
//! RFC 7292).

mod many;

use std::path::Path;

use hub_types::IdentityId;
use p12_keystore::{EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKeyChain};

use crate::error::Error;
use crate::input::pkcs12;
use crate::issued::extract::key_block;
use crate::issued::list::IssuedList;
use crate::issued::record::IssuedCertificate;
use crate::platform::fs;
use crate::secrets::secret::Secret;
use crate::x509::certificate::{Certificate, read_certificate, read_certificates};

pub use many::{PfxFile, PfxOptions, PfxOutcome, write_pfx_files};

/// The algorithms of a PFX file, by the programs that are to read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PfxStyle {
    /// AES-256 and SHA-256, as OpenSSL 3 writes it.
    #[default]
    Modern,
    /// Triple DES and SHA-1, for Windows before 2019, Java 8 and the like.
    Legacy,
}

/// Writes a new PFX file, private to its owner, with what a list has of an identity. Answers `None`
/// where the identity is not in the list, and an error where its key is only on the device.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
/// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
/// # let out = temporary.path().join("out");
/// # let mut store = cert_tool::IssuedStore::open(&ca, &out, cert_tool::Sink::Bundle)?;
/// # let identity: hub_types::IdentityId = hub_types::IdentityId::parse("pump-1", None)?;
/// # let request = cert_tool::IssueRequest::new(identity.clone(), cert_tool::KeySource::Generate);
/// # cert_tool::issue_batch(&ca, &cert_tool::IssueOptions::new(now), [request].into_iter(), &mut store, &mut |_| {})?;
/// # drop(store);
/// use cert_tool::{IssuedList, PfxStyle, Secret, write_pfx};
///
/// let list = IssuedList::open(&out)?;
/// let path = temporary.path().join("pump-1.pfx");
/// write_pfx(&list, &identity, &Secret::new("correct horse"), PfxStyle::Modern, &path)?;
/// assert!(path.exists());
/// # Ok(())
/// # }
/// ```
pub fn write_pfx(
    list: &IssuedList,
    identity: &IdentityId,
    password: &Secret,
    style: PfxStyle,
    path: &Path,
) -> Result<Option<IssuedCertificate>, Error> {
    let Some(record) = list.find(identity)? else { return Ok(None) };
    let Some(key) = &record.private_key else {
        let found = "of a device that keeps its key to itself".to_owned();
        return Err(Error::NotA { path: record.certificate, wanted: "a certificate with a key here", found });
    };
    let writer = PfxWriter::new(list, password, style)?;
    writer.write(identity, &record, key, path)?;
    Ok(Some(record))
}

/// Writes PFX files of one folder's certificates under one password.
pub(crate) struct PfxWriter<'a> {
    /// The certificates that follow each certificate.
    chain: Vec<p12_keystore::Certificate>,
    password: &'a Secret,
    style: PfxStyle,
}

impl<'a> PfxWriter<'a> {
    pub(crate) fn new(list: &IssuedList, password: &'a Secret, style: PfxStyle) -> Result<Self, Error> {
        pkcs12::check_password(password.expose())?;
        let chain = read_certificates(&list.issuing_certificate_path())?;
        Ok(Self { chain: chain.iter().map(encoded).collect::<Result<_, _>>()?, password, style })
    }

    /// Writes a new file. It appears when it is whole and on the disk.
    pub(crate) fn write(
        &self,
        identity: &IdentityId,
        record: &IssuedCertificate,
        key: &Path,
        path: &Path,
    ) -> Result<(), Error> {
        // The library keeps a copy of the key and does not wipe it; it lives as long as this function.
        let key = p12_keystore::PrivateKey::from_der(&key_block(key)?.der).map_err(failed)?;
        let mut chain = vec![encoded(&read_certificate(&record.certificate)?)?];
        chain.extend_from_slice(&self.chain);
        let mut store = KeyStore::new();
        store.add_entry(
            &identity.common_name(),
            KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(record.sha1.as_bytes(), key, chain)),
        );
        let writer = store.writer(self.password.expose());
        let writer = match self.style {
            PfxStyle::Modern => writer,
            PfxStyle::Legacy => writer
                .encryption_algorithm(EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc)
                .encryption_iterations(LEGACY_ROUNDS)
                .mac_algorithm(MacAlgorithm::HmacSha1)
                .mac_iterations(LEGACY_ROUNDS),
        };
        fs::write_new_private(path, &writer.write().map_err(failed)?)
    }
}

fn encoded(certificate: &Certificate) -> Result<p12_keystore::Certificate, Error> {
    p12_keystore::Certificate::from_der(certificate.der()).map_err(failed)
}

fn failed(_: p12_keystore::error::Error) -> Error {
    Error::Crypto("encoding a PFX file")
}

/// The number of rounds that such old programs write themselves.
const LEGACY_ROUNDS: u32 = 2048;
