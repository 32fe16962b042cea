//! `export` and `import`: the devices of a folder that no hub is using.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::args::{ExportArgs, ImportArgs};
use super::output;
use crate::api_error::ApiError;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::storage::data_folder::{self, DataFolder};
use crate::storage::store::Store;

pub(super) fn export(args: &ExportArgs) -> Result<()> {
    data_folder::check_has_hub(&args.data)?;
    let (hub, _folder) = open(&args.data)?;
    let document = hub.export().map_err(refused)?;
    output::data(&document)
}

pub(super) fn import(args: &ImportArgs) -> Result<()> {
    let document = read(&args.file)?;
    let (hub, _folder) = open(&args.data)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Error::Thread)?;
    let imported = runtime.block_on(hub.import(document.as_bytes(), args.replace));
    hub.close();
    imported.map_err(refused)
}

/// Opens the folder, which stays locked as long as the value lives.
fn open(path: &Path) -> Result<(Hub, DataFolder)> {
    let folder = DataFolder::open(path)?;
    let (store, stored) = Store::open(&folder.database()?)?;
    Ok((Hub::standalone(stored, Some(store), folder.policies()?), folder))
}

fn read(file: &Path) -> Result<Zeroizing<String>> {
    let bounded = |reader: &mut dyn Read| {
        let mut content = Zeroizing::new(Vec::new());
        match reader.take(LARGEST + 1).read_to_end(&mut content)? as u64 > LARGEST {
            true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 GiB")),
            false => Ok(content),
        }
    };
    let read = if file == Path::new("-") {
        bounded(&mut io::stdin().lock())
    } else {
        File::open(file).and_then(|mut file| bounded(&mut file))
    };
    let text = read.and_then(|content| {
        cli_support::text::decode(&content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    text.map_err(|source| Error::File { action: "read", path: file.to_owned(), source })
}

fn refused(error: ApiError) -> Error {
    Error::State(error.text)
}

/// The same import as through the management port.
const LARGEST: u64 = 1024 * 1024 * 1024;
