//! PKCS#11 modules: the shared libraries that access tokens.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::slot::{Slot, TokenInfo};

use super::uri::TokenUri;
use crate::error::Error;

/// Loads a module. It is initialised once per process and stays loaded, because others may use it
/// too.
pub(super) fn load(uri: &TokenUri) -> Result<Pkcs11, Error> {
    static LOADED: Mutex<Option<HashMap<PathBuf, Pkcs11>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    if let Some(pkcs11) = loaded.get(uri.module()) {
        return Ok(pkcs11.clone());
    }
    let pkcs11 = Pkcs11::new(uri.module()).map_err(|source| uri.failed("load the module of", source))?;
    match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(source) => return Err(uri.failed("start the module of", source)),
    }
    loaded.insert(uri.module().to_owned(), pkcs11.clone());
    Ok(pkcs11)
}

/// The only token that matches a URI.
pub(super) fn find_slot(uri: &TokenUri, pkcs11: &Pkcs11) -> Result<(Slot, TokenInfo), Error> {
    let slots = pkcs11.get_slots_with_initialized_token();
    let mut fitting = Vec::new();
    for slot in slots.map_err(|source| uri.failed("list the tokens of", source))? {
        let info = pkcs11.get_token_info(slot).map_err(|source| uri.failed("read the token of", source))?;
        if uri.fits(slot, &info) {
            fitting.push((slot, info));
        }
    }
    let count = fitting.len();
    match fitting.pop() {
        Some(only) if count == 1 => Ok(only),
        Some(_) => Err(uri.bad(&format!("{count} tokens fit it; add `token`, `serial` or `slot-id`"))),
        None => Err(uri.bad("no token fits it")),
    }
}
