//! `retire`: take units out of service.

use cli_support::exit::Exit;

use super::args::RetireArgs;
use super::failure::Failure;
use super::maintain;
use super::printer::Printer;
use crate::batch::CertificateSource;
use crate::ledger::LedgerLocation;
use crate::run::{BatchChangeRequest, MaintainRequest};

pub(super) async fn run(
    args: &RetireArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = MaintainRequest::Batch(BatchChangeRequest {
        maintenance: args.maintenance(),
        batch: args.batch.choice(),
        issue: None,
        // Whoever retires a unit need not know its certificate.
        certificates: CertificateSource::Ignored,
        skip_bad_rows: args.skip_bad_rows,
        address: None,
    });
    maintain::run(request, &args.how, args.dps.choice(&args.target), ledger, printer).await
}
