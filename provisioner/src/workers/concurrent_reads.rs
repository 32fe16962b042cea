//! Asking the hub about many rows at once.

use hub_types::IdentityId;
use tokio::task::JoinSet;

use crate::ledger::{LedgerError, LedgerRow, RowFilter, SharedLedger, VerifiedRow};
use crate::model::run_id::RunId;
use crate::workers::RunError;

/// The number of twins that are read at once: enough to keep two cores busy, few enough for any hub.
pub(crate) const READERS: usize = 8;

/// The rows of a run whose identities are read back.
pub(crate) struct ReadBack<'a> {
    pub(crate) ledger: &'a SharedLedger,
    pub(crate) run: RunId,
    /// The rows that are included.
    pub(crate) filter: RowFilter,
    /// The number of identities that are read at once.
    pub(crate) concurrency: usize,
}

impl ReadBack<'_> {
    /// Reads each row's identity with `look`, in the order of the ids, and stores the result that `judge` returns.
    ///
    /// While the hub is asked about one page of rows, the ledger stores the results of the page before and reads
    /// the next.
    pub(crate) async fn each<T, F>(
        &self,
        look: impl Fn(LedgerRow) -> F + Clone + Send + 'static,
        mut judge: impl FnMut(T) -> VerifiedRow,
    ) -> Result<(), RunError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RunError>> + Send,
    {
        let (mut page, mut known) = (self.page(None).await?, Vec::new());
        while let Some(last) = page.last() {
            let last = last.spec.identity.clone();
            let bookkeeping = async {
                self.store(known).await?;
                self.page(Some(last)).await
            };
            // Both come to their end: an error of the hub does not undo what the page before has shown.
            let (found, next) =
                tokio::join!(read_concurrently(page, self.concurrency, look.clone()), bookkeeping);
            known = found?.into_iter().map(&mut judge).collect();
            page = next?;
        }
        Ok(self.store(known).await?)
    }

    async fn page(&self, after: Option<IdentityId>) -> Result<Vec<LedgerRow>, LedgerError> {
        let (run, filter) = (self.run, self.filter);
        self.ledger.call(move |ledger| ledger.page(run, filter, after.as_ref(), PAGE)).await
    }

    async fn store(&self, seen: Vec<VerifiedRow>) -> Result<(), LedgerError> {
        let run = self.run;
        self.ledger.call(move |ledger| ledger.set_seen(run, &seen)).await
    }
}

/// Reads rows in `concurrency` tasks at once, and returns the results in the order of the rows.
pub(crate) async fn read_concurrently<T, F>(
    rows: Vec<LedgerRow>,
    concurrency: usize,
    look: impl Fn(LedgerRow) -> F + Clone + Send + 'static,
) -> Result<Vec<T>, RunError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, RunError>> + Send,
{
    let share = rows.len().div_ceil(concurrency.max(1)).max(1);
    let mut rows = rows.into_iter().peekable();
    let mut running = JoinSet::new();
    for number in 0.. {
        if rows.peek().is_none() {
            break;
        }
        let (part, look): (Vec<_>, _) = (rows.by_ref().take(share).collect(), look.clone());
        running.spawn(async move {
            let mut seen = Vec::with_capacity(part.len());
            for row in part {
                seen.push(look(row).await?);
            }
            Ok::<_, RunError>((number, seen))
        });
    }
    let mut parts = Vec::new();
    while let Some(part) = running.join_next().await {
        parts.push(part??);
    }
    parts.sort_unstable_by_key(|(number, _)| *number);
    Ok(parts.into_iter().flat_map(|(_, seen): (usize, _)| seen).collect())
}

const PAGE: usize = 1_000;
