//! `csr`: keys and requests for them.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use cert_tool::{PrivateKey, create_csr, folder_name};
use hub_types::IdentityId;
use serde::Serialize;

use super::args::CsrArgs;
use super::batch::{self, Rows};
use super::failure::{Done, Failure};
use super::issue::is_wanted;
use super::output::Output;

pub(crate) fn run(args: &CsrArgs, output: &mut Output) -> Result<Done, Failure> {
    match (&args.from, args.identity.identity()?) {
        (Some(batch), _) => many(args, batch, output),
        (None, Some(identity)) => one(args, &identity, output),
        (None, None) => Err(Failure::Usage(anyhow!("neither --device-id nor --from is given"))),
    }
}

fn one(args: &CsrArgs, identity: &IdentityId, output: &mut Output) -> Result<Done, Failure> {
    let key = match (&args.key, &args.key_out) {
        (Some(path), _) => PrivateKey::read(path)?,
        (None, Some(path)) => {
            let key = PrivateKey::generate(args.key_type.into())?;
            key.write_new(path)?;
            key
        }
        (None, None) => return Err(Failure::Usage(anyhow!("neither --key nor --key-out is given"))),
    };
    write(&args.out, &create_csr(identity, &key)?)?;
    output.record(&CsrRecord::new(identity, &args.out));
    Ok(Done::AllWell)
}

/// A folder for each row, and a batch file that names the requests.
fn many(args: &CsrArgs, batch: &Path, output: &mut Output) -> Result<Done, Failure> {
    batch::check(batch, output, |_| {})?;
    let mut list = Vec::new();
    for row in Rows::open(batch)?.filter(is_wanted) {
        let request = Path::new(&folder_name(&row.identity)).join("request.csr");
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
        write(&path, &create_csr(&row.identity, &key)?)?;
        output.record(&CsrRecord::new(&row.identity, &path));
        list.push((row.identity, request));
    }
    write_list(&args.out.join("requests.csv"), &list).map_err(Failure::Usage)?;
    Ok(Done::AllWell)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let written = fs::write(path, text).with_context(|| format!("can't write `{}`", path.display()));
    written.map_err(Failure::Usage)
}

fn write_list(path: &Path, list: &[(IdentityId, PathBuf)]) -> anyhow::Result<()> {
    let mut csv = csv::Writer::from_path(path)?;
    csv.write_record(["device_id", "module_id", "csr"])?;
    for (identity, request) in list {
        let module = identity.module().map_or("", |module| module.as_str());
        csv.write_record([identity.device().as_str(), module, &request.to_string_lossy()])?;
    }
    Ok(csv.flush()?)
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
            csr: path.display().to_string(),
        }
    }
}

impl fmt::Display for CsrRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.csr)
    }
}
