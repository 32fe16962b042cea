//! Keys, requests, certificates and thumbprints for the devices and modules of an IoT hub.
//!
//! | noun | item |
//! |---|---|
//! | who signs: a root CA and the issuing CA below it, in a folder | [`CertificateAuthority`] |
//! | many at once: requests in, outcomes in the same order out | [`issue_batch`], [`IssueRequest`], [`Issued`] |
//! | where they go, and what is there already | [`IssuedStore`], [`Sink`], [`IssuedFacts`], [`extract`] |
//! | devices that keep their key | [`Csr`], [`CsrInput`], [`create_csr`] |
//! | certificates of any origin: thumbprints, dates, would a hub take them | [`Certificate`], [`read_certificate`], [`verify_certificate`] |
//! | files of any kind: what is in them, what each says | [`read_documents`], [`Document`], [`Description`], [`thumbprints`] |
//! | certificates to test others with, good and wrong | [`write_test_pki`], [`TestCase`] |
//! | what goes wrong: with everything, with one identity | [`Error`], [`Refusal`] |
//!
//! Nothing here prints, reads the environment or looks at the clock. Private keys are wiped from
//! memory, never shown, and written to files with mode 0600 only.
//!
//! A batch goes through `issue` (order and threads), `issuing` (one certificate), `x509` (what it
//! says), then `store` with `bundle` or `folders` (the files) and `journal` (`issued.csv`).

mod bundle;
mod ca;
mod certificate;
mod crl;
mod csr;
mod describe;
mod document;
mod encrypted_key;
mod error;
mod extract;
mod facts;
mod file_name;
mod folders;
mod fs;
mod issue;
mod issuing;
mod journal;
mod key;
mod pem;
mod pem_stream;
mod policy;
mod public_key;
mod reference;
mod refusal;
mod secret;
mod signer;
mod store;
mod test_pki;
mod token;
mod verify;
mod x509;

pub use ca::{
    CaDescription, CaOptions, CertificateAuthority, ImportedCa, KeyPlace, RootCa, import_ca, request_ca,
};
pub use certificate::{Certificate, read_certificate, read_certificate_from, read_certificates};
pub use crl::{RevocationList, RevocationReason, Revoked};
pub use csr::{Csr, CsrInput, create_csr};
pub use describe::{Description, Fact, thumbprints};
pub use document::{AskPassword, Content, Document, Documents, read_documents, read_documents_from};
pub use error::Error;
pub use extract::extract;
pub use facts::{IssuedAuth, IssuedFacts};
pub use folders::folder_name;
pub use issue::{
    IssueOptions, IssueRequest, IssueSummary, Issued, KeySource, LongNames, Outcome, issue_batch,
};
pub use key::{KeyType, PrivateKey};
pub use policy::Policy;
pub use public_key::PublicKey;
pub use refusal::Refusal;
pub use secret::{AskSecret, Secret, SecretFor};
pub use store::{IssuedStore, Sink};
pub use test_pki::{TestCase, write_test_pki};
pub use token::TokenUri;
pub use verify::{Check, CheckName, Verification, verify_certificate};
