//! Keys, requests, certificates and thumbprints for the devices and modules of an IoT hub.
//!
//! | noun | item |
//! |---|---|
//! | who signs: a root CA and the issuing CA below it, in a folder | [`CertificateAuthority`] |
//! | who signs CAs, and a CA's life: more tiers, renewal, new keys | [`ParentCa`], [`SubordinateCa`], [`renew_ca`], [`rekey_ca`] |
//! | many at once: requests in, outcomes in the same order out | [`issue_batch`], [`IssueRequest`], [`Issued`] |
//! | what a CA has issued, what was revoked | [`IssuanceIndex`], [`IndexEntry`], [`Lookup`], [`Revocation`], [`Crl`] |
//! | where certificates go, and what is in such a folder | [`IssuedStore`], [`IssuedLookup`], [`Sink`], [`IssuedList`], [`IssuedCertificate`], [`extract`], [`write_pfx`], [`write_pfx_files`] |
//! | devices that keep their key | [`Csr`], [`CsrInput`], [`UnverifiedCsr`], [`create_csr`] |
//! | certificates of any origin: thumbprints, dates, would a hub take them | [`Certificate`], [`read_certificate`], [`verify_certificate`] |
//! | what a Device Provisioning Service sees of a chain | [`presented_chain`], [`certificate_info`] |
//! | what a device shows when it connects: its chain and its key | [`read_chain`], [`read_private_key`] |
//! | files of any kind: what is in them, what each says | [`read_documents`], [`Document`], [`Description`], [`thumbprints`] |
//! | certificates to test others with, good and wrong | [`write_test_pki`], [`TestCase`] |
//! | what goes wrong: with everything, with one identity | [`Error`], [`Refusal`] |
//!
//! Nothing here prints or looks at the clock, and only [`SecretSource`] reads the environment. Private keys are wiped from
//! memory, never shown, and written to files with mode 0600 only.
//!
//! | room | contents |
//! |---|---|
//! | `encoding`, `weak_keys` | PEM and DER; the rules that public keys must meet |
//! | `error`, `platform`, `secrets`, `input` | errors; files and threads; passwords; locations in files |
//! | `keys`, `x509` | keys in files and tokens; certificates, requests and revocation lists |
//! | `inspect`, `verify`, `test_pki` | descriptions of files; checks of certificates; certificates for tests |
//! | `policy`, `profile` | the limits of a CA, and the contents of its certificates beside identity and key |
//! | `issued` | the index of issued certificates, the outputs and their records |
//! | `ca` | the life of a CA, and revocation |
//! | `issue`, `pfx`, `bundle` | issuing in bulk; PFX files and folders for devices |
//!
//! Each room uses only rooms above it in this table. A batch goes through `issue::pipeline` (order
//! and threads), `issue::worker` (one certificate) and `x509` (content). Then `issue::store` enters the
//! certificate into the index, writes it to its sink and adds it to the list (`issued.csv`).

mod bundle;
mod ca;
mod encoding;
mod error;
mod input;
mod inspect;
mod issue;
mod issued;
mod keys;
mod pfx;
mod platform;
mod policy;
mod profile;
mod secrets;
mod test_pki;
mod verify;
mod weak_keys;
mod x509;

pub use bundle::{
    BundleForm, BundleOptions, BundleOutcome, BundleService, BundleTarget, Bundler, WrittenBundle,
};
pub use ca::revocation::Crl;
pub use ca::{
    CaCertificates, CaDescription, CaOptions, CaPurpose, CertificateAuthority, EarlierEnd, ImportedCa,
    KeyPlace, ParentCa, ProfileSummary, RenewedCa, RevokedCertificates, SignedCa, SubordinateOptions,
    import_ca, rekey_ca, renew_ca, request_ca,
};
pub use encoding::time::rfc3339;
pub use error::refusal::Refusal;
pub use error::secret_for::SecretFor;
pub use error::{Error, shell_word};
pub use input::location::STDIN;
pub use inspect::description::{Description, Fact, thumbprints};
pub use inspect::document::{Content, Document, Documents, read_documents, read_documents_from};
pub use issue::key_source::KeySource;
pub use issue::pipeline::{check_options, issue_batch};
pub use issue::request::{Existing, IssueOptions, IssueRequest, IssueSummary, Issued, LongNames, Outcome};
pub use issue::store::{IssuedLookup, IssuedStore};
pub use issued::extract::{extract, extract_der};
pub use issued::index::revocation::Revocation;
pub use issued::index::{IndexEntry, IssuanceIndex, Lookup, SubordinateCa};
pub use issued::list::IssuedList;
pub use issued::record::{IssuedAuth, IssuedCertificate};
pub use issued::sink::{Sink, folder_name};
pub use issued::tls_identity::{read_chain, read_private_key};
pub use keys::fingerprint::Fingerprint;
pub use keys::pkcs11::TokenUri;
pub use keys::private::{KeyType, PrivateKey};
pub use keys::public::{PublicKey, PublicKeyInput};
pub use pfx::{PfxFile, PfxOptions, PfxOutcome, PfxStyle, write_pfx, write_pfx_files};
pub use platform::parallel::MAX_THREADS;
pub use policy::{Policy, Tier};
pub use profile::{Columns, Profile, ProfileRow, Profiles, RowCheck};
pub use secrets::secret::{AskSecret, Secret};
pub use secrets::source::{SecretSource, prompt};
pub use test_pki::{TestCase, write_test_pki};
pub use verify::{
    CertificateOfFile, Check, CheckName, Purpose, TrustedCertificates, Verification, Verifier,
    verify_certificate,
};
pub use x509::certificate::{
    Certificate, read_certificate, read_certificate_from, read_certificates, read_certificates_from,
};
pub use x509::certificate_file::{CertificateEncoding, write_certificates};
pub use x509::crl::{RevocationList, RevocationReason, Revoked};
pub use x509::csr::{
    Csr, CsrEncoding, CsrInput, UnverifiedCsr, create_csr, create_csr_as, is_request, read_request_file,
};
pub use x509::name_constraints::{NameConstraints, NameSubtree};
pub use x509::p7b::p7b;
pub use x509::presented::{certificate_info, presented_chain};
pub use x509::publication::Publication;
