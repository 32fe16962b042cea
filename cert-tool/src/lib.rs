//! Keys, requests, certificates and thumbprints for devices and modules of an IoT hub.
mod bundle;
mod ca;
mod certificate;
mod csr;
mod error;
mod facts;
mod file_name;
mod folders;
mod fs;
mod issue;
mod issuing;
mod journal;
mod key;
mod pem;
mod reference;
mod refusal;
mod store;
mod x509;

pub use ca::{CaOptions, CertificateAuthority};
pub use certificate::{Certificate, read_certificate, read_certificate_from};
pub use csr::{Csr, CsrInput, create_csr};
pub use error::Error;
pub use facts::IssuedFacts;
pub use issue::{
    IssueOptions, IssueRequest, IssueSummary, Issued, KeySource, LongNames, Outcome, issue_batch,
};
pub use key::{KeyType, PrivateKey};
pub use refusal::Refusal;
pub use store::{IssuedStore, Sink};
