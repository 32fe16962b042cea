//! `export` and `import`: the devices of a folder that no hub is using.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use super::args::{ExportArgs, ImportArgs};
use super::output;
use crate::error::{Error, Result};
use crate::local_hub::data_state;

pub(super) fn export(args: &ExportArgs) -> Result<()> {
    output::data(&data_state::export(&args.data)?)
}

pub(super) fn import(args: &ImportArgs) -> Result<()> {
    let document = read(&args.file)?;
    data_state::import(&args.data, document.as_bytes(), args.replace)
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

/// The same import as through the management port.
const LARGEST: u64 = 1024 * 1024 * 1024;
