//! The service behind the protocols, as far as it does not depend on the service's operations.

use hub_types::Timestamp;

use crate::api_error::ApiResult;
use crate::faults::Injector;

/// A service that clients reach over a protocol.
pub(crate) trait Backend: Send + Sync {
    /// The faults to inject.
    fn faults(&self) -> &Injector;

    /// The present time on the service's clock.
    fn timestamp(&self) -> Timestamp;

    /// Refuses all operations once the store can't be written: data in memory may not be durable.
    fn check_durable(&self) -> ApiResult<()>;
}
