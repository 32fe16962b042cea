//! `expiring`: the certificates that expire soon, as a batch for `renew`.

use hub_types::shown::ShownPath;
use std::path::Path;

use cert_tool::{IndexEntry, IssuanceIndex, IssuedAuth, Lookup, rfc3339};
use cli_support::counted::counted;
use cli_support::exit::Exit;
use cli_support::new_file::{Existing, NewFile, Readers};
use time::OffsetDateTime;

use super::args::ExpiringArgs;
use super::failure::{Failure, unwritable};
use super::index::EntryRecord;
use super::output::Output;
use super::within;

pub(crate) fn run(args: &ExpiringArgs, output: &mut Output) -> Result<Exit, Failure> {
    let until = within::end(OffsetDateTime::now_utc().truncate_to_second(), args.within)?;
    let index = IssuanceIndex::open_beside(&args.ca)?;
    within::note_held(&index, until, output)?;
    let lookup = Lookup::EndingBefore(until);
    let Some(out) = &args.out else {
        let mut count = 0;
        index.visit(&lookup, |entry| {
            count += 1;
            output.record(&EntryRecord::new(&entry));
            Ok(())
        })?;
        output.note(&format!("{} before {}", ending(count), rfc3339(until)));
        return Ok(Exit::Done);
    };
    let count = write(&index, &lookup, out)?;
    output.note(&format!("{} before {}: {}", ending(count), rfc3339(until), ShownPath(out)));
    Ok(Exit::Done)
}

/// Writes the batch; it is there as a whole or not at all.
fn write(index: &IssuanceIndex, lookup: &Lookup, out: &Path) -> Result<u64, Failure> {
    let broken = |error| unwritable(out, "a list of expiring certificates", error);
    let is_list = |content: &[u8]| content.starts_with(COLUMNS.join(",").as_bytes());
    let file = NewFile::create(out, Existing::ReplacedIf(is_list), Readers::Owner).map_err(broken)?;
    let mut csv = csv::Writer::from_writer(file);
    let mut count = 0;
    let mut failed = csv.write_record(COLUMNS).err();
    index.visit(lookup, |entry| {
        if failed.is_none() {
            failed = csv.write_record(row(&entry)).err();
            count += 1;
        }
        Ok(())
    })?;
    if let Some(error) = failed {
        return Err(broken(error.into()));
    }
    csv.into_inner().map_err(|error| broken(error.into_error()))?.finish().map_err(broken)?;
    Ok(count)
}

fn row(entry: &IndexEntry) -> [String; 6] {
    let auth = match entry.record.auth {
        IssuedAuth::X509Ca => "x509_ca",
        _ => "x509_thumbprint",
    };
    [
        entry.identity.device().as_str().to_owned(),
        entry.identity.module().map(|module| module.as_str().to_owned()).unwrap_or_default(),
        auth.to_owned(),
        entry.record.sha256.to_string(),
        entry.record.serial.clone(),
        rfc3339(entry.record.not_after),
    ]
}

const COLUMNS: [&str; 6] = ["device_id", "module_id", "auth", "x_thumbprint", "x_serial", "x_not_after"];

/// The words for certificates that end.
fn ending(count: u64) -> String {
    match count {
        1 => "1 certificate ends".to_owned(),
        count => format!("{} end", counted(count, "certificate")),
    }
}
