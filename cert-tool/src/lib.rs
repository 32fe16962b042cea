//! Keys, requests, certificates and thumbprints for the devices and modules of an IoT hub.
//!
//! | noun | item |
//! |---|---|
//! | who signs: a root CA and the issuing CA below it, in a folder | [`CertificateAuthority`] |
//! | who signs CAs, and a CA's life: more tiers, renewal, new keys | [`ParentCa`], [`SubordinateCa`], [`renew_ca`], [`rekey_ca`] |
//! | many at once: requests in, outcomes in the same order out | [`issue_batch`], [`IssueRequest`], [`Issued`] |
//! | what a CA has issued, what was revoked | [`IssuanceIndex`], [`IndexEntry`], [`Lookup`], [`Revocation`], [`Crl`] |
//! | where certificates go, and what is in such a folder | [`IssuedStore`], [`Sink`], [`IssuedList`], [`IssuedFacts`], [`extract`], [`write_pfx`], [`write_pfx_files`] |
//! | devices that keep their key | [`Csr`], [`CsrInput`], [`UnverifiedCsr`], [`create_csr`] |
//! | certificates of any origin: thumbprints, dates, would a hub take them | [`Certificate`], [`read_certificate`], [`verify_certificate`] |
//! | what a device shows when it connects: its chain and its key | [`read_chain`], [`read_private_key`] |
//! | files of any kind: what is in them, what each says | [`read_documents`], [`Document`], [`Description`], [`thumbprints`] |
//! | certificates to test others with, good and wrong | [`write_test_pki`], [`TestCase`] |
//! | what goes wrong: with everything, with one identity | [`Error`], [`Refusal`] |
//!
//! Nothing here prints or looks at the clock, and only [`SecretSource`] reads the environment. Private keys are wiped from
//! memory, never shown, and written to files with mode 0600 only.
//!
//! A batch goes through `issue` (order and threads), `issuing` (one certificate), `leaf` and `x509`
//! (what it says), then `store`, which enters it into the `index`, writes it to its `sink` and adds it to the
//! `list` (`issued.csv`).

mod bundle;
mod ca;
mod certificate;
mod crl;
mod csr;
mod describe;
mod document;
mod encoding;
mod encrypted_key;
mod error;
mod extract;
mod facts;
mod file_name;
mod fingerprint;
mod fs;
mod index;
mod issue;
mod issuing;
mod key;
mod key_rules;
mod leaf;
mod list;
mod name;
mod name_constraints;
mod p7b;
mod parallel;
mod parts;
mod pem;
mod pem_stream;
mod pfx;
mod pkcs7;
mod policy;
mod presented;
mod process;
mod profile;
mod public_key;
mod publication;
mod reference;
mod refusal;
mod revocation;
mod secret;
mod secret_source;
mod signed_by;
mod signer;
mod sink;
mod store;
mod test_pki;
mod token;
mod verify;
mod x509;

pub use bundle::{
    BundleForm, BundleOptions, BundleOutcome, BundleService, BundleTarget, Bundler, WrittenBundle,
};
pub use ca::{
    CaDescription, CaOptions, CaPurpose, CertificateAuthority, EarlierEnd, ImportedCa, KeyPlace, ParentCa,
    ProfileSummary, RenewedCa, SubordinateOptions, Tier, import_ca, rekey_ca, renew_ca, request_ca,
};
pub use certificate::{Certificate, read_certificate, read_certificate_from, read_certificates};
pub use crl::{RevocationList, RevocationReason, Revoked};
pub use csr::{Csr, CsrEncoding, CsrInput, UnverifiedCsr, create_csr, create_csr_as};
pub use describe::{Description, Fact, thumbprints};
pub use document::{Content, Document, Documents, read_documents, read_documents_from};
pub use encoding::{CertificateEncoding, write_certificates};
pub use error::Error;
pub use extract::{extract, extract_der};
pub use facts::{IssuedAuth, IssuedFacts};
pub use fingerprint::Fingerprint;
pub use index::{IndexEntry, IssuanceIndex, Lookup, SubordinateCa};
pub use issue::{
    Existing, IssueOptions, IssueRequest, IssueSummary, Issued, KeySource, LongNames, Outcome, check_options,
    issue_batch,
};
pub use key::{KeyType, PrivateKey};
pub use list::IssuedList;
pub use name_constraints::{NameConstraints, NameSubtree};
pub use p7b::p7b;
pub use pfx::{PfxFile, PfxOptions, PfxOutcome, PfxStyle, write_pfx, write_pfx_files};
pub use policy::Policy;
pub use presented::{read_chain, read_private_key};
pub use process::keep_memory_private;
pub use profile::{Columns, Profile, ProfileRow, Profiles};
pub use public_key::{PublicKey, PublicKeyInput};
pub use publication::Publication;
pub use refusal::Refusal;
pub use revocation::{Crl, Revocation};
pub use secret::{AskSecret, Secret, SecretFor};
pub use secret_source::{SecretSource, prompt};
pub use sink::{Sink, folder_name};
pub use store::IssuedStore;
pub use test_pki::{TestCase, write_test_pki};
pub use token::TokenUri;
pub use verify::{Check, CheckName, Purpose, Verification, Verifier, verify_certificate};
