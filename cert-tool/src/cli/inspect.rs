//! `show` and `thumbprint`: both read certificates and print something of each.

use std::io;
use std::path::Path;

use cert_tool::{Certificate, Error, read_certificate, read_certificate_from};

use super::args::FilesArgs;
use super::failure::{Done, Failure};
use super::output::{Output, Record};
use super::record::{CertificateRecord, ThumbprintRecord};

pub(crate) fn show(args: &FilesArgs, output: &mut Output) -> Result<Done, Failure> {
    for_each(args, output, CertificateRecord::new)
}

pub(crate) fn thumbprint(args: &FilesArgs, output: &mut Output) -> Result<Done, Failure> {
    for_each(args, output, ThumbprintRecord::new)
}

fn for_each<R: Record>(
    args: &FilesArgs,
    output: &mut Output,
    record: fn(&str, &Certificate) -> R,
) -> Result<Done, Failure> {
    let mut failures = 0;
    for file in &args.files {
        match read(file) {
            Ok(certificate) => output.record(&record(&file.display().to_string(), &certificate)),
            Err(error) => {
                output.error(&error);
                failures += 1;
            }
        }
    }
    Ok(Done::from_failures(failures))
}

fn read(file: &Path) -> Result<Certificate, Error> {
    if file == Path::new("-") {
        read_certificate_from(io::stdin(), Path::new("stdin"))
    } else {
        read_certificate(file)
    }
}
