//! The shared parts of the end-to-end tests: a working folder, the built binaries, and a served
//! hub.
//!
//! The binaries are those of the whole-workspace build that `scripts/test` makes first.

mod browser;
mod database;
mod factory;
mod hostile_hub;
mod local_dps;
mod registrant;
mod served_hub;
mod station;
mod terminal;
mod token_service;

pub use browser::Browser;
pub use database::{DATABASE_PASSWORD, Database, HeldTransaction};
pub use factory::{Factory, signal, wait_until};
pub use hostile_hub::{Call, HostileHub, JSON, Reply, Shown};
pub use registrant::Registrant;
pub use served_hub::{LoggedRequest, ServedHub};
pub use station::{Ended, Station, TEST_HUB, devices_with_modules, from_env, repository};
pub use terminal::Terminal;
#[cfg(unix)]
pub use token_service::az;
pub use token_service::{Manner, SIGN_IN_SECRET, TokenService};
