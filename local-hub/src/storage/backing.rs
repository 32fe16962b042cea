//! The storage of acknowledged writes: a database, or memory alone.

use hub_types::ErrorCode;

use super::store::{Committed, Store, Tables};
use crate::api_error::{ApiError, ApiResult};

/// The storage of acknowledged writes.
#[derive(Debug)]
pub(crate) enum Backing<T: Tables> {
    Memory,
    Disk(Store<T>),
    /// The service has shut down: no write can be acknowledged any more.
    Closed,
}

impl<T: Tables> Backing<T> {
    pub(crate) fn new(store: Option<Store<T>>) -> Self {
        store.map_or(Self::Memory, Self::Disk)
    }

    /// Refuses all operations once the store can't be written: data in memory may not be durable.
    pub(crate) fn check_durable(&self) -> ApiResult<()> {
        match self {
            Self::Disk(store) if !store.is_alive() => Err(not_durable()),
            _ => Ok(()),
        }
    }

    /// Refuses a write if it can't become durable any more.
    pub(crate) fn check_writable(&self) -> ApiResult<()> {
        match self {
            Self::Closed => Err(ApiError::new(ErrorCode::ServiceUnavailable, "the service is shutting down")),
            backing => backing.check_durable(),
        }
    }

    /// Passes rows to the store, if there is one, as one transaction. The caller still holds the
    /// lock of the content, so that rows are in the order of the writes.
    pub(crate) fn store_rows(
        &self,
        rows: impl FnOnce() -> ApiResult<Vec<T::Row>>,
    ) -> ApiResult<Option<Committed>> {
        let Self::Disk(store) = self else {
            return Ok(None);
        };
        let rows = rows()?;
        Ok(if rows.is_empty() { None } else { Some(store.write(rows)) })
    }

    /// Ends the store's writer after everything passed to it is durable.
    pub(crate) fn close(self) {
        if let Self::Disk(store) = self {
            store.close();
        }
    }
}

/// Returns the result of a write as soon as it is durable.
pub(crate) async fn durable<T>((written, committed): (T, Option<Committed>)) -> ApiResult<T> {
    if let Some(committed) = committed {
        committed.await.map_err(|_| not_durable())?;
    }
    Ok(written)
}

pub(crate) fn not_durable() -> ApiError {
    ApiError::new(ErrorCode::ServerError, "the data folder can't be written; the log says why")
}
