//! `apply`: make the hub hold what the batch says.

use std::sync::Arc;

use super::args::ApplyArgs;
use super::failure::{Exit, Failure};
use super::order::Order;
use super::printer::Printer;
use super::work::{Certificates, Job};
use crate::ledger::{Ledger, LedgerLocation};
use crate::model::observer::RunObserver;
use crate::target::Target;

pub(super) async fn run(
    args: &ApplyArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let target = Target::resolve(args.job.target.choice(), ".".as_ref())?;
    printer.hub(&target, target.is_test_hub());
    let order = Order::to_apply(args, &target)?;
    let certificates =
        Certificates::open(order.options.issue.clone(), &args.unlock.secrets(), &target, printer)?;
    let mut ledger = Ledger::open(location)?;
    let order = order.issuing_to(certificates.as_ref().map(Certificates::store));
    let (hub, run, loaded) = order.begin(target, &args.work, &mut ledger, printer).await?;
    let job = Job {
        hub,
        keys: Arc::new(loaded.keys),
        batch: Some(order.batch.path),
        certificates,
        certificate_check: None,
        args: &args.work,
        verify: !args.no_verify,
        printer,
    };
    job.carry_out(ledger, location, run).await
}
