//! [`write_pfx_files`]: PFX files for many identities, on all cores, in bounded memory.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use hub_types::IdentityId;

use super::{PfxStyle, PfxWriter};
use crate::error::Error;
use crate::issued::list::IssuedList;
use crate::issued::record::IssuedCertificate;
use crate::issued::sink::folder_name;
use crate::platform::fs;
use crate::platform::parallel::in_parallel;
use crate::secrets::secret::Secret;

/// The options of PFX files.
#[derive(Debug, Clone)]
pub struct PfxOptions {
    /// The password of all of them.
    pub password: Secret,
    /// The algorithms, by the programs that are to read the files.
    pub style: PfxStyle,
    /// The number of threads; `None` is one for each core.
    pub threads: Option<NonZeroUsize>,
}

/// The result of writing the PFX file of one identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PfxFile {
    /// The identity that the file is for.
    pub identity: IdentityId,
    /// The certificate in the file, or the one that would be in it.
    pub record: IssuedCertificate,
    /// The outcome.
    pub outcome: PfxOutcome,
}

/// The outcome of writing a PFX file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PfxOutcome {
    /// It was there already, and stays as it was.
    AlreadyThere(PathBuf),
    /// There can be none: the key is only on the device.
    KeyElsewhere,
    /// It was made now, and is on the disk.
    Written(PathBuf),
}

/// Writes a PFX file for each of some entries of a list, `devices/ID.pfx` and `modules/ID/ID.pfx` below a
/// folder, and tells of each, in any order. It can be called again: what is there stays.
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
/// use cert_tool::{IssuedList, PfxOptions, PfxOutcome, PfxStyle, Secret, write_pfx_files};
///
/// let list = IssuedList::open(&out)?;
/// let folder = temporary.path().join("pfx");
/// let options = PfxOptions { password: Secret::new("correct horse"), style: PfxStyle::Modern, threads: None };
/// write_pfx_files(&list, list.entries()?, &folder, &options, &mut |file| {
///     assert!(matches!(file.outcome, PfxOutcome::Written(_)));
/// })?;
/// assert!(folder.join("devices/pump-1.pfx").exists());
/// # Ok(())
/// # }
/// ```
pub fn write_pfx_files(
    list: &IssuedList,
    wanted: impl Iterator<Item = Result<(IdentityId, IssuedCertificate), Error>> + Send,
    folder: &Path,
    options: &PfxOptions,
    on_file: &mut dyn FnMut(PfxFile),
) -> Result<(), Error> {
    let writer = PfxWriter::new(list, &options.password, options.style)?;
    fs::create_private_folder(folder)?;
    list.claim(folder, "PFX files", "")?;
    let work = |(identity, record)| write_one(&writer, identity, record, folder);
    in_parallel(options.threads, wanted, work, on_file)
}

fn write_one(
    writer: &PfxWriter<'_>,
    identity: IdentityId,
    record: IssuedCertificate,
    folder: &Path,
) -> Result<PfxFile, Error> {
    let path = folder.join(format!("{}.pfx", folder_name(&identity)));
    let outcome = match &record.private_key {
        None => PfxOutcome::KeyElsewhere,
        Some(_) if path.exists() => PfxOutcome::AlreadyThere(path),
        Some(key) => {
            fs::create_private_folder(fs::folder_of(&path))?;
            writer.write(&identity, &record, key, &path)?;
            PfxOutcome::Written(path)
        }
    };
    Ok(PfxFile { identity, record, outcome })
}
