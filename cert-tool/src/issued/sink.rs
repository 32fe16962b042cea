//! [`Sink`]: the form in which certificates and keys are written, and [`Payload`], the files of one
//! output in that form.
//!
//! A commit is the same in every form (`store`): the places are determined first, then the bytes
//! are written, then the rows of `issued.csv`. Bytes after the last row's are cut off after a kill.

mod database;
mod folders;
mod stream;

use std::path::{Path, PathBuf};

use hub_types::IdentityId;

use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issued::new_certificate::NewCertificate;

pub use folders::folder_name;
pub(crate) use folders::{CERTIFICATE, CHAIN, KEY};

/// The form in which certificates and keys are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sink {
    /// `certificates.pem` with all certificates and `private-keys.pem` with all keys: as fast as they
    /// can be made.
    #[default]
    Bundle,
    /// `pem.csv` with a row for each identity and PEM in its columns.
    Csv,
    /// A folder with `cert.pem`, `chain.pem` and `key.pem` for each identity: much slower.
    Folder,
    /// `certificates.db` and `private-keys.db`, with a row for each identity in the table `pem`.
    Sqlite,
    /// `certificates.tar`, which has what [`Self::Folder`] would make.
    Tar,
}

impl Sink {
    const ALL: [Self; 5] = [Self::Bundle, Self::Csv, Self::Folder, Self::Sqlite, Self::Tar];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Csv => "csv",
            Self::Folder => "folder",
            Self::Sqlite => "sqlite",
            Self::Tar => "tar",
        }
    }

    /// The files that it has in an output from the beginning.
    pub(crate) fn files(self) -> &'static [&'static str] {
        match self {
            Self::Bundle => &[stream::CERTIFICATES, stream::KEYS],
            Self::Csv => &[stream::CSV],
            Self::Folder => &[],
            Self::Sqlite => &[database::CERTIFICATES, database::KEYS],
            Self::Tar => &[stream::TAR],
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sink| sink.as_str() == name)
    }

    /// The location of a certificate, relative to the output.
    pub(crate) fn certificate_location(self, identity: &IdentityId, place: &Place) -> PathBuf {
        let at = place.certificate;
        match self {
            Self::Bundle => format!("{}#{at}", stream::CERTIFICATES),
            Self::Csv => format!("{}#{at}", stream::CSV),
            Self::Folder => format!("{}/{CERTIFICATE}", folder_name(identity)),
            Self::Sqlite => format!("{}#{at}", database::CERTIFICATES),
            Self::Tar => format!("{}#{at}", stream::TAR),
        }
        .into()
    }

    /// The location of a private key, relative to the output.
    pub(crate) fn key_location(self, identity: &IdentityId, place: &Place) -> Option<PathBuf> {
        let at = place.private_key?;
        let location = match self {
            Self::Bundle => format!("{}#{at}", stream::KEYS),
            Self::Csv => format!("{}#{at}", stream::CSV),
            Self::Folder => format!("{}/{KEY}", folder_name(identity)),
            Self::Sqlite => format!("{}#{at}", database::KEYS),
            Self::Tar => format!("{}#{at}", stream::TAR),
        };
        Some(location.into())
    }
}

/// The place of a certificate in the files of an output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The offset of its entry in the file with the certificates.
    pub(crate) entry: u64,
    /// The offset of the certificate's PEM, or its row number.
    pub(crate) certificate: u64,
    /// The offset of the key's PEM, or its row number.
    pub(crate) private_key: Option<u64>,
    /// The offset of its row in `issued.csv`.
    pub(crate) list: u64,
}

/// The output in addition to the certificate and the key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extras {
    /// The certificates that a device sends after its own, as PEM: [`CertificateAuthority::chain`].
    ///
    /// [`CertificateAuthority::chain`]: crate::CertificateAuthority::chain
    pub(crate) chain_pem: Vec<u8>,
    /// True to write it after each certificate in streams. Folders always have a `chain.pem`.
    pub(crate) with_chain: bool,
}

/// The files of an output.
pub(crate) enum Payload {
    Database(database::Database),
    Folders(folders::Folders),
    Stream(stream::Stream),
}

/// The planned output and its places; most forms need only the certificates themselves.
pub(crate) struct Planned {
    pub(crate) places: Vec<Place>,
    archived: Option<stream::Archived>,
}

impl Payload {
    /// Opens the files, and makes them if nothing was issued yet.
    pub(crate) fn open(folder: &Path, sink: Sink, extras: Extras, contents: Contents) -> Result<Self, Error> {
        Ok(match sink {
            Sink::Folder => Self::Folders(folders::Folders::new(folder, extras)),
            Sink::Sqlite => Self::Database(database::Database::open(folder, extras, contents)?),
            Sink::Bundle | Sink::Csv | Sink::Tar => {
                Self::Stream(stream::Stream::open(folder, sink, extras, contents)?)
            }
        })
    }

    /// The places of everything, before anything is written.
    pub(crate) fn plan(&self, made: &[NewCertificate]) -> Result<Planned, Error> {
        let (places, archived) = match self {
            Self::Database(database) => (database.places(made), None),
            Self::Folders(_) => (made.iter().map(folders::place).collect(), None),
            Self::Stream(stream) => stream.places(made)?,
        };
        Ok(Planned { places, archived })
    }

    /// Writes the output. All of it survives a power failure when it returns.
    pub(crate) fn write(&mut self, planned: &Planned, made: &[NewCertificate]) -> Result<(), Error> {
        match self {
            Self::Database(database) => database.write(made),
            Self::Folders(folders) => folders.write(made),
            Self::Stream(stream) => stream.write(made, planned.archived.as_ref()),
        }
    }

    /// Drops the content at these places and after them.
    pub(crate) fn cut(&mut self, places: &[Place]) -> Result<(), Error> {
        match self {
            Self::Database(database) => database.cut(places),
            // They are overwritten: no row refers to them.
            Self::Folders(_) => Ok(()),
            Self::Stream(stream) => stream.cut(places),
        }
    }

    /// The reason why nothing can be written for an identity.
    pub(crate) fn refusal(&self, identity: &IdentityId) -> Option<Refusal> {
        match self {
            Self::Folders(folders) => folders.refusal(identity),
            Self::Database(_) | Self::Stream(_) => None,
        }
    }
}

/// The required content of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Nothing was issued to it yet.
    None,
    /// The content that the index refers to.
    Something,
}

impl Contents {
    /// Checks that a file exists if it must.
    pub(crate) fn check(self, path: &Path) -> Result<(), Error> {
        if self == Self::Something && !path.exists() {
            return Err(Error::Damaged { path: path.to_owned(), offset: 0, reason: "it is gone" });
        }
        Ok(())
    }
}
