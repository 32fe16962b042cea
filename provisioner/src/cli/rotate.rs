//! `rotate`: give devices and modules new certificates.

use cli_support::exit::Exit;

use super::args::RotateArgs;
use super::failure::Failure;
use super::maintain;
use super::printer::Printer;
use crate::batch::CertificateSource;
use crate::ledger::LedgerLocation;
use crate::run::{BatchChangeRequest, MaintainRequest};
use crate::target::ServiceChoice;

pub(super) async fn run(
    args: &RotateArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let issue = args.job.issued.folders();
    let request = MaintainRequest::Batch(BatchChangeRequest {
        maintenance: args.maintenance(),
        batch: args.job.batch.choice(),
        certificates: CertificateSource::of(issue.is_some()),
        issue,
        skip_bad_rows: args.skip_bad_rows,
        address: args.mqtt.clone(),
    });
    let service = ServiceChoice::Hub(args.job.target.choice());
    maintain::run(request, &args.how, service, ledger, printer).await
}
