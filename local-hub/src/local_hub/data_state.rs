//! The state of a data folder that no hub is using: its devices and configurations as a document.

use std::path::Path;

use crate::api_error::ApiError;
use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::storage::data_folder::{self, DataFolder};
use crate::storage::hub_tables::HubStore;

/// Returns the state of a folder that was served from, with all keys.
pub(crate) fn export(folder: &Path) -> Result<Vec<u8>> {
    data_folder::check_has_hub(folder)?;
    let (hub, _folder) = open(folder)?;
    hub.export().map_err(refused)
}

/// Imports a document into a folder, which is made if it is missing: all of it, or nothing.
/// `replace` deletes all objects that the document does not name.
pub(crate) fn import(folder: &Path, document: &[u8], replace: bool) -> Result<()> {
    let (hub, _folder) = open(folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Error::Thread)?;
    let imported = runtime.block_on(hub.import(document, replace));
    hub.close();
    imported.map_err(refused)
}

/// Opens the folder, which stays locked as long as the value lives.
fn open(path: &Path) -> Result<(Hub, DataFolder)> {
    let folder = DataFolder::open(path)?;
    let (store, stored) = HubStore::open(&folder.database()?)?;
    Ok((Hub::standalone(stored, Some(store), folder.policies(data_folder::POLICIES_FILE)?), folder))
}

fn refused(error: ApiError) -> Error {
    Error::State(error.text)
}
