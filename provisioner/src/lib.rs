//! From a batch of devices and modules to identities and twins on an IoT Hub.
//!
//! Data flows one way: a batch file is read row by row (`batch`), each row becomes the
//! specification of an identity (`model::spec`), a run of them is stored in the `ledger`,
//! certificates are issued for the rows that need one (`run`), the run is applied to
//! the `hub` (`apply`), and read back (`verify`).
//!
//! | room | content |
//! |---|---|
//! | `cli` | the command line |
//! | `run` | the life of a run |
//! | `model` | specification, comparison, operations, reason codes: pure, without I/O |
//! | `batch` | reading a batch file |
//! | `plan` | the actions of an apply and their duration, without writing |
//! | `apply` | creation and update of identities; their lifecycle as a state machine |
//! | `maintain` | `release`, `rotate`, `retire`, `undo` |
//! | `driver` | the loop of a run: read, decide, mark as sent, send |
//! | `workers` | the workers of a run, which take chunks from the ledger |
//! | `ledger` | the stored state of runs and rows |
//! | `target`, `hub`, `dps` | choosing a hub or a DPS, and the calls to it, with rate limiter and circuit breaker |
//! | `device` | connecting as a device |
//! | `verify` | reading back and comparing |
//! | `report`, `audit` | the reports of a run for people and auditors |
//! | `doctor` | the check of a station |
//! | `objects` | single identities and twins, for scripts |
//! | `export` | the identities of a hub as a batch |

mod allocation;
mod apply;
mod audit;
mod batch;
pub mod cli;
mod clock;
mod device;
mod doctor;
mod dps;
mod driver;
mod explain;
mod export;
mod hub;
mod ledger;
mod maintain;
mod model;
mod objects;
mod plan;
mod report;
mod run;
mod target;
#[cfg(test)]
mod testing;
mod verify;
mod workers;
