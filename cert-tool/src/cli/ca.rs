//! `ca init` and `ca show`.

use cert_tool::{CaOptions, CertificateAuthority};
use time::OffsetDateTime;

use super::args::{CaArgs, CaVerb};
use super::failure::{Done, Failure};
use super::output::Output;
use super::record::CertificateRecord;

pub(crate) fn run(args: &CaArgs, output: &mut Output) -> Result<Done, Failure> {
    let ca = match &args.verb {
        CaVerb::Init { dir, name, key_type, days } => {
            let options = CaOptions {
                name: name.clone(),
                key_type: (*key_type).into(),
                root_days: *days,
                issuing_days: (days / 2).max(1),
                ..CaOptions::default()
            };
            let ca = CertificateAuthority::init(dir, &options, OffsetDateTime::now_utc())?;
            output.note("keep `root.key` somewhere else: issuing does not need it");
            ca
        }
        CaVerb::Show { dir } => CertificateAuthority::open(dir)?,
    };
    for (file, certificate) in
        [("root.pem", ca.root_certificate()), ("issuing.pem", Some(ca.issuing_certificate()))]
    {
        if let Some(certificate) = certificate {
            let file = ca.folder().join(file).display().to_string();
            output.record(&CertificateRecord::new(&file, certificate));
        }
    }
    Ok(Done::AllWell)
}
