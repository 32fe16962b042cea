//! [`Folders`]: a folder for each identity, with `cert.pem`, `chain.pem` and `key.pem`.
//!
//! The files have their final names from the start: a file torn by a kill has no row in
//! `issued.csv` yet, and is written again.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use hub_types::IdentityId;

use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issued::file_name;
use crate::issued::new_certificate::NewCertificate;
use crate::issued::sink::{Extras, Place};
use crate::platform::fs;

/// The folder that contains the folders.
pub(crate) struct Folders {
    root: PathBuf,
    extras: Extras,
    /// True if there was no folder of any identity: then all files are of this process.
    is_new: bool,
}

/// The place of a certificate: it only depends on the presence of a key.
pub(crate) fn place(made: &NewCertificate) -> Place {
    Place { private_key: made.key_pem.as_ref().map(|_| 0), ..Place::default() }
}

impl Folders {
    pub(crate) fn new(root: &Path, extras: Extras) -> Self {
        let is_new = TREES.iter().all(|tree| !root.join(tree).exists());
        Self { root: root.to_owned(), extras, is_new }
    }

    /// The reason why nothing can be written for an identity that has no row yet. The remains of an
    /// interrupted run are not a reason: no row refers to them.
    pub(crate) fn refusal(&self, identity: &IdentityId) -> Option<Refusal> {
        if self.is_new {
            return None;
        }
        let path = self.root.join(folder_name(identity));
        let entries = std::fs::read_dir(&path).ok()?;
        let is_ours = |name: &std::ffi::OsStr| FILES.iter().any(|file| name == *file);
        let has_others = entries.flatten().any(|entry| !is_ours(&entry.file_name()));
        has_others.then_some(Refusal::FolderOccupied { path })
    }

    /// Writes the files of certificates, on all cores. They survive a power failure when it
    /// returns.
    pub(crate) fn write(&self, made: &[NewCertificate]) -> Result<(), Error> {
        let disk = fs::Disk::of(&self.root)?;
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = made.len().div_ceil(threads).max(MIN_SHARE);
        thread::scope(|scope| {
            let write = |share: &[NewCertificate]| share.iter().try_for_each(|made| self.write_one(made));
            let shares: Vec<_> = made.chunks(share).map(|share| scope.spawn(move || write(share))).collect();
            let ends = shares.into_iter().map(|share| share.join().unwrap_or(Err(GONE)));
            ends.collect::<Result<(), Error>>()
        })?;
        // One by one it takes longer, unless there are few.
        if made.len() >= MANY && disk.sync_all()? {
            return Ok(());
        }
        made.iter().try_for_each(|made| self.sync_one(made))
    }

    fn write_one(&self, made: &NewCertificate) -> Result<(), Error> {
        let folder = self.root.join(folder_name(&made.identity));
        if !fs::create_new_private_folder(&folder)? {
            remove_leftovers(&folder)?;
        }
        if let Some(key) = &made.key_pem {
            fs::write_unsynced_private(&folder.join(KEY), key)?;
        }
        let chain = [made.certificate_pem.as_slice(), &self.extras.chain_pem].concat();
        fs::write_unsynced_private(&folder.join(CHAIN), &chain)?;
        fs::write_unsynced_private(&folder.join(CERTIFICATE), &made.certificate_pem)
    }

    fn sync_one(&self, made: &NewCertificate) -> Result<(), Error> {
        let folder = self.root.join(folder_name(&made.identity));
        let files = FILES.iter().map(|file| folder.join(file)).filter(|path| path.exists());
        files.into_iter().try_for_each(|path| fs::sync_file(&path))?;
        let parents = folder.ancestors().take_while(|parent| parent.starts_with(&self.root));
        parents.into_iter().try_for_each(fs::sync_folder)
    }
}

/// The folder of an identity below a common root. Devices and modules have separate trees: a module
/// may have any name, and one folder name is too short for two ids.
pub fn folder_name(identity: &IdentityId) -> String {
    let device = file_name::encode(identity.device().as_str());
    match identity.module() {
        None => format!("{DEVICES}/{device}"),
        Some(module) => format!("{MODULES}/{device}/{}", file_name::encode(module.as_str())),
    }
}

fn remove_leftovers(folder: &Path) -> Result<(), Error> {
    for path in FILES.iter().map(|file| folder.join(file)).filter(|path| path.exists()) {
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

pub(crate) const CERTIFICATE: &str = "cert.pem";
pub(crate) const CHAIN: &str = "chain.pem";
pub(crate) const KEY: &str = "key.pem";
/// The number of files from which on the whole file system is synced rather than each file.
const MANY: usize = 64;
/// The smallest number of certificates that is worth a thread.
const MIN_SHARE: usize = 32;
/// The error of a thread that ended early, which only a panic can cause.
const GONE: Error = Error::Crypto("a thread that writes files");
const DEVICES: &str = "devices";
const MODULES: &str = "modules";
const TREES: [&str; 2] = [DEVICES, MODULES];
const FILES: [&str; 3] = [CERTIFICATE, CHAIN, KEY];
