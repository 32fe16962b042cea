//! The iteration over the rows of a run, in pages.

use std::vec;

use hub_types::IdentityId;

use super::{Ledger, LedgerError, LedgerRow, RowFilter};
use crate::model::run_id::RunId;

impl Ledger {
    /// The rows of a run that pass a filter, in the order of their ids. Only one page is in memory.
    pub(crate) fn rows(&mut self, run: RunId, filter: RowFilter) -> Rows<'_> {
        Rows { ledger: self, run, filter, page: Vec::new().into_iter(), after: None, is_over: false }
    }
}

/// The rows of a run; it ends after the first error.
pub(crate) struct Rows<'l> {
    ledger: &'l mut Ledger,
    run: RunId,
    filter: RowFilter,
    page: vec::IntoIter<LedgerRow>,
    after: Option<IdentityId>,
    is_over: bool,
}

impl Iterator for Rows<'_> {
    type Item = Result<LedgerRow, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.page.next() {
            return Some(Ok(row));
        }
        if self.is_over {
            return None;
        }
        match self.ledger.page(self.run, self.filter, self.after.as_ref(), PAGE) {
            Ok(page) => {
                self.is_over = page.len() < PAGE;
                self.after = page.last().map(|row| row.spec.identity.clone());
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.is_over = true;
                Some(Err(error))
            }
        }
    }
}

const PAGE: usize = 2_000;
