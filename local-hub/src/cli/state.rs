//! `export` and `import`: the devices of a folder that no hub is using.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::args::{ExportArgs, ImportArgs};
use super::output;
use crate::data_folder::{self, DataFolder};
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::store::Store;

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

/// The folder stays locked as long as its value lives.
fn open(path: &Path) -> Result<(Hub, DataFolder)> {
    let folder = DataFolder::open(path)?;
    let (store, stored) = Store::open(&folder.database()?)?;
    Ok((Hub::unserved(stored, Some(store), folder.policies()?), folder))
}

fn read(file: &Path) -> Result<Zeroizing<String>> {
    let mut content = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut content).map(|_| content)
    } else {
        fs::read(file)
    };
    let text = read.and_then(|content| {
        let content = Zeroizing::new(content);
        cli_support::text::decode(&content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    text.map_err(|source| Error::File { action: "read", path: file.to_owned(), source })
}

fn refused(refusal: Refusal) -> Error {
    Error::State(refusal.text)
}
