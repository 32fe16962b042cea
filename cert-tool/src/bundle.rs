//! [`Bundler`]: everything that one device or module needs to connect, as a folder or a tar file.
//!
//! A bundle is made beside its place under a name of its own and renamed when it is whole: what an
//! interrupted run left there is removed by the next one.

mod edge;
mod place;
mod sdk;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use cli_support::causes::with_causes;
use hub_types::dps::RegistrationId;
use hub_types::{IdentityId, Sha256Thumbprint};
use x509_parser::prelude::X509Certificate;
use zeroize::Zeroizing;

use crate::encoding::pem;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issued::extract::key_block;
use crate::issued::file_name;
use crate::issued::list::IssuedList;
use crate::issued::record::IssuedCertificate;
use crate::issued::sink::{self, folder_name};
use crate::platform::fs;
use crate::platform::parallel::in_parallel;
use crate::x509::certificate::{Certificate, read_certificate, read_certificates};
use crate::x509::name;
use crate::x509::signed_by::signature_fault;

/// The options of bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleOptions {
    /// The software that reads the bundles.
    pub target: BundleTarget,
    /// The service that the device connects to.
    pub service: BundleService,
    /// Folder or tar file.
    pub form: BundleForm,
    /// The folder on the device that the files will be in, for files that name others by whole paths.
    pub installed_in: String,
    /// The certificates with which a program verifies the server that it connects to; without any, it
    /// takes those of its operating system.
    pub server_roots: Vec<Certificate>,
    /// The number of threads; `None` is one for each core.
    pub threads: Option<NonZeroUsize>,
}

/// The result of writing the bundle of one identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenBundle {
    /// The identity that the bundle is for.
    pub identity: IdentityId,
    /// The certificate in the bundle.
    pub record: IssuedCertificate,
    /// The outcome.
    pub outcome: BundleOutcome,
}

/// The program that reads a bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundleTarget {
    /// A program with one of the device SDKs: `connection.json`.
    #[default]
    Sdk,
    /// IoT Edge: `config.toml`.
    Edge,
}

/// The service that the owner of a bundle connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundleService {
    /// An IoT hub, by its host name.
    Hub(String),
    /// The Device Provisioning Service, by its endpoint and the ID scope; the registration id is the device id.
    Dps {
        /// The host name of its endpoint.
        endpoint: String,
        /// The ID scope.
        id_scope: String,
    },
}

/// The form of bundles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundleForm {
    /// A folder.
    #[default]
    Folder,
    /// A tar file with that folder in it.
    Tar,
}

/// The outcome of writing a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundleOutcome {
    /// It was there already, and stays as it was.
    AlreadyThere(PathBuf),
    /// It was made now, and is on the disk.
    Written(PathBuf),
}

/// Makes bundles of the certificates in a list.
pub struct Bundler<'a> {
    list: &'a IssuedList,
    options: &'a BundleOptions,
    chain_pem: String,
    roots_pem: String,
}

/// A file of a bundle.
struct BundleFile {
    name: &'static str,
    bytes: Zeroizing<Vec<u8>>,
}

impl<'a> Bundler<'a> {
    /// A bundler whose devices get some certificates to trust; the chain must lead to one of them. After a
    /// change of keys it leads to the new root and, by its last certificate, to the old one.
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
    /// use cert_tool::{BundleForm, BundleOptions, BundleService, BundleTarget, Bundler, IssuedList};
    ///
    /// let list = IssuedList::open(&out)?;
    /// let options = BundleOptions {
    ///     target: BundleTarget::Sdk,
    ///     service: BundleService::Hub("plant7.azure-devices.net".to_owned()),
    ///     form: BundleForm::Folder,
    ///     installed_in: "/var/aziot".to_owned(),
    ///     server_roots: Vec::new(),
    ///     threads: None,
    /// };
    /// let roots: Vec<_> = ca.root_certificate().cloned().into_iter().collect();
    /// let bundler = Bundler::new(&list, &roots, &options)?;
    /// let folder = temporary.path().join("pump-1");
    /// bundler.write(&identity, &folder)?;
    /// assert!(folder.join("connection.json").exists() && folder.join("key.pem").exists());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(
        list: &'a IssuedList,
        roots: &[Certificate],
        options: &'a BundleOptions,
    ) -> Result<Self, Error> {
        let chain_path = list.issuing_certificate_path();
        let chain = read_certificates(&chain_path)?;
        if !roots.iter().any(|root| chain.iter().any(|certificate| is_root_of(root, certificate))) {
            return Err(Error::NotRoot { chain: chain_path });
        }
        Ok(Self {
            list,
            options,
            chain_pem: chain.iter().map(Certificate::to_pem).collect(),
            roots_pem: roots.iter().map(Certificate::to_pem).collect(),
        })
    }

    /// Makes the bundle of an identity at a place that must not exist yet; `None` where the list has no
    /// certificate of it.
    pub fn write(&self, identity: &IdentityId, path: &Path) -> Result<Option<IssuedCertificate>, Error> {
        let Some(record) = self.list.find(identity)? else { return Ok(None) };
        if path.symlink_metadata().is_ok() {
            return Err(Error::AlreadyExists { path: path.to_owned() });
        }
        fs::create_private_folder(fs::folder_of(path))?;
        self.make(identity, &record, path)?;
        Ok(Some(record))
    }

    /// Makes the bundles of some entries of the list, `devices/ID` and `modules/ID/ID` below a folder, and
    /// tells of each, in any order. It can be called again: what is there stays.
    pub fn write_all(
        &self,
        wanted: impl Iterator<Item = Result<(IdentityId, IssuedCertificate), Error>> + Send,
        folder: &Path,
        on_bundle: &mut dyn FnMut(WrittenBundle),
    ) -> Result<(), Error> {
        fs::create_private_folder(folder)?;
        self.list.claim(folder, "bundles", &self.digest_of_options())?;
        let work = |(identity, record)| {
            let outcome = self.write_below(&identity, &record, folder)?;
            Ok(WrittenBundle { identity, record, outcome })
        };
        in_parallel(self.options.threads, wanted, work, on_bundle)
    }

    /// The reason why an identity gets no bundle, if there is one: the program or the service does not take it.
    pub fn refusal(&self, identity: &IdentityId) -> Option<Refusal> {
        let is_module = identity.module().is_some();
        let reason = match (&self.options.service, self.options.target) {
            (_, BundleTarget::Edge) if is_module => {
                "it is a module; IoT Edge is configured for devices only".to_owned()
            }
            (BundleService::Dps { .. }, _) if is_module => {
                "it is a module; only devices register with a Device Provisioning Service".to_owned()
            }
            (BundleService::Dps { .. }, _) => {
                let error = identity.device().as_str().parse::<RegistrationId>().err()?;
                format!(
                    "a Device Provisioning Service takes no such registration id: {}",
                    with_causes(&error)
                )
            }
            (BundleService::Hub(_), _) => return None,
        };
        Some(Refusal::NotBundled { reason })
    }

    /// A digest of what all bundles of a folder have in common.
    fn digest_of_options(&self) -> String {
        let BundleOptions { target, service, form, installed_in, server_roots, threads: _ } = self.options;
        let service = match service {
            BundleService::Hub(host) => format!("hub {host}"),
            BundleService::Dps { endpoint, id_scope } => format!("dps {endpoint} {id_scope}"),
        };
        let target = match target {
            BundleTarget::Sdk => "sdk".to_owned(),
            BundleTarget::Edge => format!("edge {installed_in}"),
        };
        let form = match form {
            BundleForm::Folder => "folder",
            BundleForm::Tar => "tar",
        };
        let server_roots: String = server_roots.iter().map(Certificate::to_pem).collect();
        let all = [&service, &target, form, &self.roots_pem, &server_roots].join("\n");
        format!("\n{}", Sha256Thumbprint::of_der(all.as_bytes()))
    }

    /// Makes the bundle of an entry of the list below a folder, unless it is there already.
    fn write_below(
        &self,
        identity: &IdentityId,
        record: &IssuedCertificate,
        folder: &Path,
    ) -> Result<BundleOutcome, Error> {
        let ending = match self.options.form {
            BundleForm::Folder => "",
            BundleForm::Tar => ".tar",
        };
        let path = folder.join(format!("{}{ending}", folder_name(identity)));
        if path.symlink_metadata().is_ok() {
            return Ok(BundleOutcome::AlreadyThere(path));
        }
        fs::create_private_folder(fs::folder_of(&path))?;
        self.make(identity, record, &path)?;
        Ok(BundleOutcome::Written(path))
    }

    fn make(&self, identity: &IdentityId, record: &IssuedCertificate, path: &Path) -> Result<(), Error> {
        let files = self.files(identity, record)?;
        let name =
            file_name::encode(identity.module().map_or_else(|| identity.device().as_str(), |it| it.as_str()));
        match self.options.form {
            BundleForm::Folder => place::write_folder(path, &files),
            BundleForm::Tar => place::write_tar(path, &name, &files, record.not_before),
        }
    }

    fn files(&self, identity: &IdentityId, record: &IssuedCertificate) -> Result<Vec<BundleFile>, Error> {
        if self.options.target == BundleTarget::Edge && identity.module().is_some() {
            return Err(Error::EdgeModule { identity: identity.clone() });
        }
        let certificate = read_certificate(&record.certificate)?.to_pem();
        let file = |name, text: String| BundleFile { name, bytes: Zeroizing::new(text.into_bytes()) };
        let mut files = Vec::with_capacity(6);
        if let Some(key) = &record.private_key {
            files.push(BundleFile {
                name: sink::KEY,
                bytes: pem::encode(pem::PRIVATE_KEY, &key_block(key)?.der),
            });
        }
        files.push(file(sink::CHAIN, format!("{certificate}{}", self.chain_pem)));
        files.push(file(sink::CERTIFICATE, certificate));
        files.push(file(ROOT, self.roots_pem.clone()));
        if !self.options.server_roots.is_empty() {
            files
                .push(file(SERVER_ROOT, self.options.server_roots.iter().map(Certificate::to_pem).collect()));
        }
        files.push(match self.options.target {
            BundleTarget::Edge => file(edge::FILE, edge::config(identity, self.options)?),
            BundleTarget::Sdk => file(sdk::FILE, sdk::connection(identity, self.options)?),
        });
        Ok(files)
    }
}

/// Tells whether a certificate has signed another one and itself.
fn is_root_of(root: &Certificate, other: &Certificate) -> bool {
    let (upper, lower) = (root.parsed(), other.parsed());
    let has_signed = |below: &X509Certificate<'_>, certificate| {
        name::is_equal(below.issuer(), upper.subject()) && signature_fault(certificate, root).is_none()
    };
    upper.is_ca() && has_signed(&lower, other) && has_signed(&upper, root)
}

const ROOT: &str = "root.pem";
/// The certificates that the server's certificate leads to.
const SERVER_ROOT: &str = "server-root.pem";
