//! [`Description`]: what a document says, as named facts for people and for scripts.

use serde::ser::{Serialize, SerializeMap, Serializer};
use time::OffsetDateTime;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension, X509Extension};
use x509_parser::prelude::{CertificateRevocationList, FromDer};
use x509_parser::x509::X509Name;

use crate::encoding::time::rfc3339;
use crate::inspect::document::{Content, Document};
use crate::keys::public::PublicKey;
use crate::x509::algorithm::algorithm_text;
use crate::x509::certificate::{Certificate, only_common_name, serial_text};
use crate::x509::csr::CsrParts;
use crate::x509::name::name_text;
use hub_types::thumbprint::upper_hex;
use hub_types::{Sha1Thumbprint, Sha256Thumbprint};

/// The facts in a document. As JSON it is one object, with a member for each fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    facts: Vec<(&'static str, Fact)>,
}

/// The value of a fact.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Fact {
    /// That there is none.
    Absent,
    /// Several, in their order.
    List(Vec<String>),
    /// A number.
    Number(u64),
    /// Text. It may come from outside: escape it before a terminal sees it.
    Text(String),
    /// Yes or no.
    YesNo(bool),
}

impl Description {
    /// Describes a document. `file` is its place; `kind` is `certificate`, `request`,
    /// `revocation list`, `private key`, `encrypted private key` or `public key`.
    pub fn of(document: &Document) -> Self {
        let mut facts = Facts::default();
        facts.text("file", document.place.to_string_lossy().into_owned());
        match &document.content {
            Content::Certificate(certificate) => facts.certificate(certificate),
            Content::Crl(der) => facts.crl(der),
            Content::EncryptedKey(_) => facts.text("kind", "encrypted private key"),
            Content::PrivateKey(key) => facts.bare_key("private key", key),
            Content::PublicKey(key) => facts.bare_key("public key", key),
            Content::Request(der) => facts.request(der),
        }
        if let Some(name) = &document.friendly_name {
            facts.text("friendly_name", name);
        }
        Self { facts: facts.0 }
    }

    /// The facts in their order.
    pub fn facts(&self) -> impl Iterator<Item = (&'static str, &Fact)> {
        self.facts.iter().map(|(name, fact)| (*name, fact))
    }

    /// The fact with a name.
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.facts().find_map(|(candidate, fact)| (candidate == name).then_some(fact))
    }
}

impl Serialize for Description {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.facts.len()))?;
        for (name, fact) in &self.facts {
            map.serialize_entry(name, fact)?;
        }
        map.end()
    }
}

/// The SHA-1 and SHA-256 of a document: of certificates, requests and lists those of their DER, of
/// keys those of the public key's `SubjectPublicKeyInfo`. `None` for keys that can't be read.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
/// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
/// use cert_tool::{read_documents, thumbprints};
///
/// let documents = read_documents(&ca.folder().join("root.pem"), &mut |_| Ok(None))?;
/// for document in documents {
///     let (sha1, sha256) = thumbprints(&document?).ok_or("a locked key")?;
///     println!("{sha1} {sha256}");
/// }
/// # Ok(())
/// # }
/// ```
pub fn thumbprints(document: &Document) -> Option<(Sha1Thumbprint, Sha256Thumbprint)> {
    let of_der = |der: &[u8]| (Sha1Thumbprint::of_der(der), Sha256Thumbprint::of_der(der));
    match &document.content {
        Content::Certificate(certificate) => Some(of_der(certificate.der())),
        Content::Crl(der) | Content::Request(der) => Some(of_der(der)),
        Content::PrivateKey(key) | Content::PublicKey(key) => Some((key.sha1(), key.sha256())),
        Content::EncryptedKey(_) => None,
    }
}

#[derive(Default)]
struct Facts(Vec<(&'static str, Fact)>);

impl Facts {
    fn push(&mut self, name: &'static str, fact: Fact) {
        self.0.push((name, fact));
    }

    fn text(&mut self, name: &'static str, text: impl Into<String>) {
        self.push(name, Fact::Text(text.into()));
    }

    fn certificate(&mut self, certificate: &Certificate) {
        let parsed = certificate.parsed();
        self.text("kind", "certificate");
        self.subject(parsed.subject());
        self.text("issuer", name_text(parsed.issuer()));
        self.text("serial", serial_text(parsed.raw_serial()));
        self.text("not_before", rfc3339(parsed.validity().not_before.to_datetime()));
        self.text("not_after", rfc3339(parsed.validity().not_after.to_datetime()));
        self.push("version", Fact::Number(u64::from(parsed.version().0) + 1));
        self.text("signature", algorithm_text(&parsed.signature_algorithm));
        self.key(parsed.public_key().raw);
        self.extensions(parsed.extensions().iter());
        self.thumbprints(certificate.der());
    }

    fn request(&mut self, der: &[u8]) {
        let Ok(parsed) = CsrParts::parse(der) else {
            return;
        };
        self.text("kind", "request");
        self.subject(&parsed.subject);
        self.text("signature", algorithm_text(&parsed.algorithm));
        self.push("signature_is_good", Fact::YesNo(parsed.is_signed_by_its_key()));
        self.key(parsed.key.raw);
        self.extensions(parsed.extensions.iter());
        self.thumbprints(der);
    }

    fn crl(&mut self, der: &[u8]) {
        let Ok((_, parsed)) = CertificateRevocationList::from_der(der) else {
            return;
        };
        self.text("kind", "revocation list");
        self.text("issuer", name_text(parsed.issuer()));
        self.text("this_update", rfc3339(parsed.last_update().to_datetime()));
        let next = parsed.next_update().map(|time| Fact::Text(rfc3339(time.to_datetime())));
        self.push("next_update", next.unwrap_or(Fact::Absent));
        let number = parsed.crl_number().map(|number| Fact::Text(number.to_string()));
        self.push("number", number.unwrap_or(Fact::Absent));
        self.text("signature", algorithm_text(&parsed.signature_algorithm));
        self.extensions(parsed.extensions().iter());
        let revoked = parsed.iter_revoked_certificates().map(|one| {
            let since: OffsetDateTime = one.revocation_date.to_datetime();
            let reason = one.reason_code().map(|(_, reason)| format!(" {reason}")).unwrap_or_default();
            format!("{} since {}{reason}", serial_text(one.raw_serial()), rfc3339(since))
        });
        self.push("revoked", Fact::List(revoked.collect()));
        self.thumbprints(der);
    }

    fn bare_key(&mut self, kind: &str, key: &PublicKey) {
        self.text("kind", kind);
        self.key(key.info());
    }

    fn subject(&mut self, subject: &X509Name<'_>) {
        self.text("subject", name_text(subject));
        let common_name = only_common_name(subject).map(Fact::Text);
        self.push("common_name", common_name.unwrap_or(Fact::Absent));
    }

    fn key(&mut self, info: &[u8]) {
        let Some(key) = PublicKey::from_der(info) else {
            return;
        };
        self.text("key", key.to_string());
        if let Some(weakness) = key.weakness() {
            self.text("key_weakness", weakness);
        }
        self.text("public_key_sha256", key.sha256().to_string());
    }

    fn thumbprints(&mut self, der: &[u8]) {
        self.text("sha1", Sha1Thumbprint::of_der(der).to_string());
        self.text("sha256", Sha256Thumbprint::of_der(der).to_string());
    }

    fn extensions<'a>(&mut self, extensions: impl Iterator<Item = &'a X509Extension<'a>>) {
        let mut others = Vec::new();
        for extension in extensions {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    self.push("ca", Fact::YesNo(constraints.ca));
                    if let Some(length) = constraints.path_len_constraint {
                        self.push("path_length", Fact::Number(length.into()));
                    }
                }
                ParsedExtension::KeyUsage(usage) => self.push("key_usage", Fact::List(usages(usage))),
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    self.push("extended_key_usage", Fact::List(extended_usages(usage)));
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    self.push("alternative_names", Fact::List(names_text(names.general_names.iter())));
                }
                ParsedExtension::NameConstraints(constraints) => {
                    let subtrees = [
                        ("permitted_names", &constraints.permitted_subtrees),
                        ("excluded_names", &constraints.excluded_subtrees),
                    ];
                    for (name, subtrees) in subtrees {
                        if let Some(subtrees) = subtrees {
                            self.push(name, Fact::List(names_text(subtrees.iter().map(|tree| &tree.base))));
                        }
                    }
                }
                ParsedExtension::SubjectKeyIdentifier(id) => self.text("subject_key_id", upper_hex(id.0)),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    if let Some(id) = &id.key_identifier {
                        self.text("authority_key_id", upper_hex(id.0));
                    }
                }
                ParsedExtension::CRLNumber(_) => {}
                _ => others.push(format!(
                    "{}{}",
                    extension.oid.to_id_string(),
                    if extension.critical { " (critical)" } else { "" }
                )),
            }
        }
        if !others.is_empty() {
            self.push("other_extensions", Fact::List(others));
        }
    }
}

fn usages(usage: &KeyUsage) -> Vec<String> {
    let named = KEY_USAGES.iter().enumerate().filter(|(bit, _)| (usage.flags >> bit) & 1 == 1);
    named.map(|(_, name)| (*name).to_owned()).collect()
}

fn extended_usages(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    let known = known.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name.to_owned());
    known.chain(usage.other.iter().map(|oid| oid.to_id_string())).collect()
}

fn names_text<'a>(names: impl Iterator<Item = &'a GeneralName<'a>>) -> Vec<String> {
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => format!("DNS:{name}"),
        GeneralName::DirectoryName(name) => format!("directory:{}", name_text(name)),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(bytes) => format!("IP:{}", std::net::Ipv4Addr::from(bytes)),
            Err(_) => format!("IP:{}", upper_hex(bytes)),
        },
        GeneralName::RFC822Name(name) => format!("email:{name}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        other => other.to_string(),
    };
    names.map(text).collect()
}

const KEY_USAGES: [&str; 9] = [
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
];
