//! `csr`: keys and requests for them.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use cert_tool::{
    CsrEncoding, Error, KeyType, PrivateKey, SecretSource, create_csr_as, folder_name, is_request, shell_word,
};
use cli_support::exit::Exit;
use cli_support::new_file::{self, Existing, NewFile, Readers};
use hub_types::IdentityId;
use hub_types::dps::RegistrationId;
use hub_types::shown::{ShownBare, ShownPath};
use serde::Serialize;

use super::args::CsrArgs;
use super::batch::{self, BatchFile, Rows};
use super::failure::{Failure, unread_input, unwritable};
use super::input;
use super::issue::is_wanted;
use super::output::Output;

pub(crate) fn run(
    args: &CsrArgs,
    encoding: Option<CsrEncoding>,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let encoding = encoding.unwrap_or_default();
    match (&args.from, args.identity.identity()?) {
        (Some(batch), _) => many(args, &BatchFile::new(batch, &args.batch), encoding, output),
        (None, Some(identity)) => one(args, &identity, encoding, output),
        (None, None) => Err(Failure::Usage(anyhow!("neither --device-id nor --from is given"))),
    }
}

fn one(
    args: &CsrArgs,
    identity: &IdentityId,
    encoding: CsrEncoding,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let key = match (&args.key, &args.key_out) {
        (Some(path), _) => {
            let secrets = SecretSource::default().with_passphrase_file(args.passphrase_file.clone());
            input::private_key(path, &mut |asked_for| secrets.ask(asked_for)).map_err(unread_input)?
        }
        (None, Some(path)) => {
            let key = PrivateKey::generate(args.key_type.into())?;
            key.write_new(path).inspect_err(|error| {
                if matches!(error, Error::AlreadyExists { .. }) {
                    output.note(&format!(
                        "note: if an earlier attempt has left this key, `--key {}` makes the request of it",
                        shell_word(&ShownPath(path).to_string())
                    ));
                }
            })?;
            key
        }
        (None, None) => return Err(Failure::Usage(anyhow!("neither --key nor --key-out is given"))),
    };
    if encoding == CsrEncoding::Base64Der {
        note_for_dps(identity, key.key_type(), output);
    }
    write(&args.out, &create_csr_as(identity, &key, encoding)?)?;
    output.record(&CsrRecord::new(identity, &args.out));
    Ok(Exit::Done)
}

/// Says why the Device Provisioning Service would issue no certificate for a request.
fn note_for_dps(identity: &IdentityId, key_type: KeyType, output: &mut Output) {
    if key_type != KeyType::P384 {
        output.note("note: the Device Provisioning Service issues certificates for keys on P-384 only");
    }
    let name = identity.common_name();
    if !identity.common_name_fits() || RegistrationId::try_from(name.clone()).is_err() {
        output.note(&format!(
            "note: `{name}` is not a registration id of the Device Provisioning Service, which has 1 to 64 letters, \
             digits and `- . _ :`, the last one a letter, a digit or `-`"
        ));
    }
}

/// A folder for each row, and a batch file that names the requests.
fn many(
    args: &CsrArgs,
    batch: &BatchFile<'_>,
    encoding: CsrEncoding,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let file = match encoding {
        CsrEncoding::Base64Der => "request.b64",
        _ => "request.csr",
    };
    batch::check(batch, output, |_| {})?;
    let mut list = Vec::new();
    for row in Rows::open(batch)?.filter(is_wanted) {
        let request = Path::new(&folder_name(&row.identity)).join(file);
        let path = args.out.join(&request);
        let folder = path.parent().unwrap_or(&args.out);
        fs::create_dir_all(folder).context("can't make a folder").map_err(Failure::Usage)?;
        let key_path = folder.join("key.pem");
        // A key that is there stays: the request is made again from it.
        let key = if key_path.exists() {
            PrivateKey::read(&key_path)?
        } else {
            let key = PrivateKey::generate(args.key_type.into())?;
            key.write_new(&key_path)?;
            key
        };
        let bytes = create_csr_as(&row.identity, &key, encoding)?;
        write(&path, &bytes)?;
        // A batch takes base64 in its cells, but no file of it.
        let cell = match encoding {
            CsrEncoding::Base64Der => String::from_utf8_lossy(&bytes).trim_end().to_owned(),
            _ => request.to_string_lossy().into_owned(),
        };
        output.record(&CsrRecord::new(&row.identity, &path));
        list.push((row.identity, cell));
    }
    let list_path = args.out.join("requests.csv");
    write_list(&list_path, &list).map_err(|error| unwritable(&list_path, "a list of requests", error))?;
    Ok(Exit::Done)
}

fn write(path: &Path, text: &[u8]) -> Result<(), Failure> {
    let written = new_file::write(path, text, Existing::ReplacedIf(is_request), Readers::Umask);
    written.map_err(|error| unwritable(path, "a certificate signing request", error))
}

/// The header of a list of requests.
const LIST_HEADER: [&str; 3] = ["device_id", "module_id", "csr"];

fn write_list(path: &Path, list: &[(IdentityId, String)]) -> io::Result<()> {
    let is_list = |content: &[u8]| content.starts_with(LIST_HEADER.join(",").as_bytes());
    let file = NewFile::create(path, Existing::ReplacedIf(is_list), Readers::Umask)?;
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record(LIST_HEADER)?;
    for (identity, request) in list {
        let module = identity.module().map_or("", |module| module.as_str());
        csv.write_record([identity.device().as_str(), module, request])?;
    }
    csv.into_inner().map_err(csv::IntoInnerError::into_error)?.finish()
}

#[derive(Debug, Serialize)]
struct CsrRecord {
    device_id: String,
    module_id: Option<String>,
    csr: String,
}

impl CsrRecord {
    fn new(identity: &IdentityId, path: &Path) -> Self {
        Self {
            device_id: identity.device().as_str().to_owned(),
            module_id: identity.module().map(|module| module.as_str().to_owned()),
            csr: path.to_string_lossy().into_owned(),
        }
    }
}

impl fmt::Display for CsrRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownBare(&self.csr).fmt(f)
    }
}
