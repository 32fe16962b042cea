//! Asking the hub about many rows at once.

use tokio::task::JoinSet;

use crate::ledger::LedgerRow;
use crate::workers::RunError;

/// The number of twins that are read at once: enough to keep two cores busy, few enough for any hub.
pub(crate) const READERS: usize = 8;

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
