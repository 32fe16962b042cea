//! From a batch of devices and modules to identities and twins on an IoT Hub.
//!
//! Data flows one way: a batch file is read row by row ([`batch`]), each row becomes what is wanted
//! of an identity ([`desired`]), a run of them lies in the [`ledger`], certificates are issued for
//! those that need one ([`mod@issue`]), the run is applied to the [`hub`] ([`apply`]), and read back
//! ([`mod@verify`]).
//!
//! | question | module |
//! |---|---|
//! | what does the batch want? | [`batch`], [`desired`] |
//! | how does the hub stand against it? | [`standing`] |
//! | what is to be done next with an identity? | [`lifecycle`], a pure state machine |
//! | who does it, in which order? | [`apply`] |
//! | what may become of identities after their batch? | [`alteration`], as pure; [`alter`] does it |
//! | who works on a run, and in which order? | [`crew`] |
//! | what became of it? | [`ledger`] |
//! | which hub, and how is it called? | [`target`], [`hub`] |
//! | is this station ready? | [`doctor`] |
//! | what is on the hub? | [`mod@export`] |
//! | how fast is the hub called, and what while it is down? | [`pace`] |
//! | what would happen, and how long would it take? | [`plan`] |
//! | do they let the devices in? | [`connect`] |
//! | what is told of a run, to people and to auditors? | [`report`], [`audit`] |
//! | the command line | [`cli`] |

pub mod alter;
pub mod alteration;
pub mod apply;
pub mod audit;
pub mod batch;
mod causes;
pub mod cli;
pub mod clock;
pub mod connect;
mod creator_tag;
pub mod crew;
pub mod desired;
pub mod doctor;
pub mod export;
pub mod holds;
pub mod hub;
pub mod issue;
pub mod ledger;
pub mod lifecycle;
pub mod logbook;
#[cfg(test)]
mod model_hub;
#[cfg(test)]
mod model_tests;
pub mod pace;
pub mod plan;
pub mod reason;
pub mod report;
pub mod sign;
pub mod standing;
mod sweep;
pub mod target;
pub mod verify;
