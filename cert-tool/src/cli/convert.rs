//! `convert`: certificates in another form.

use anyhow::anyhow;
use cert_tool::{CertificateEncoding, write_certificates};
use cli_support::exit::Exit;

use super::args::{ConvertArgs, ConvertTo};
use super::failure::{Failure, unread_input};
use super::input;
use super::output::Output;
use super::record::CertificateRecord;

pub(crate) fn run(args: &ConvertArgs, output: &mut Output) -> Result<Exit, Failure> {
    let encoding = encoding(args.to)?;
    let mut certificates = Vec::new();
    for file in &args.files {
        certificates.extend(input::certificates(file).map_err(unread_input)?);
    }
    write_certificates(&args.out, &certificates, encoding)?;
    let path = args.out.to_string_lossy().into_owned();
    for certificate in &certificates {
        output.record(&CertificateRecord::new(&path, certificate));
    }
    Ok(Exit::Done)
}

fn encoding(to: ConvertTo) -> Result<CertificateEncoding, Failure> {
    match to {
        ConvertTo::Pem => Ok(CertificateEncoding::Pem),
        ConvertTo::Der => Ok(CertificateEncoding::Der),
        ConvertTo::P7b => Ok(CertificateEncoding::P7b),
        ConvertTo::Jks => Err(Failure::Usage(anyhow!(
            "JKS is not written; Java takes PFX files as keystores: make one with `cert-tool pfx DIR --device-id ID --out device.pfx`, and look into it \
             with `keytool -list -keystore device.pfx`"
        ))),
    }
}
