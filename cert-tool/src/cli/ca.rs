//! `ca …`: making CAs, taking them over, what they may issue, and proofs for a hub.

use hub_types::shown::ShownPath;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use cert_tool::{
    CaDescription, CaOptions, CaPurpose, Certificate, CertificateAuthority, Error, ImportedCa, KeyPlace,
    NameConstraints, ParentCa, Policy, PrivateKey, ProfileSummary, Profiles, Publication, RenewedCa, Secret,
    SignedCa, SubordinateOptions, Tier, TokenUri, import_ca, rekey_ca, renew_ca, request_ca, rfc3339,
    shell_word,
};
use cli_support::causes::with_causes;
use cli_support::exit::Exit;
use cli_support::new_file::{self, Existing, Readers};
use hub_types::shown::{ShownBare, ShownText};
use serde::Serialize;
use time::OffsetDateTime;

use super::args::{
    CaArgs, CaCrossSignArgs, CaImportArgs, CaInitArgs, CaPolicyArgs, CaProveArgs, CaRekeyArgs, CaRenewArgs,
    CaSignArgs, CaVerb, NewCaArgs, NewKeyArgs, NewPublicationsArgs, PublicationArgs, PurposeArg,
    SigningCaArgs,
};
use super::failure::{Failure, unread_input};
use super::input;
use super::output::Output;
use super::record::CertificateRecord;
use super::unlock::UnlockArgs;

pub(crate) fn run(args: &CaArgs, output: &mut Output) -> Result<Exit, Failure> {
    let now = OffsetDateTime::now_utc();
    match &args.verb {
        CaVerb::Csr { new } => {
            request_ca(&new.dir, &options(new, 0)?, &mut |asked_for| new.keys.unlock.ask(asked_for))?;
            let request = new.dir.join("issuing.csr");
            output.note(&next_steps(&request, "", &new.dir));
            output.record(&FileRecord::new(&request));
            Ok(Exit::Done)
        }
        CaVerb::Crl(args) => super::index::crl(args, output),
        CaVerb::CrossSign(args) => cross_sign(args, now, output),
        CaVerb::Import(args) => import(args, now, output),
        CaVerb::Init(args) => init(args, now, output),
        CaVerb::Policy(args) => set_policy(args, output),
        CaVerb::Prove(args) => prove(args, now, output),
        CaVerb::Rekey(args) => rekey(args, now, output),
        CaVerb::Renew(args) => renew(args, now, output),
        CaVerb::Revoke(args) => super::index::revoke(args, output),
        CaVerb::Show { dir } => show(dir, output),
        CaVerb::Sign(args) => sign(args, now, output),
    }
}

fn init(args: &CaInitArgs, now: OffsetDateTime, output: &mut Output) -> Result<Exit, Failure> {
    let new = &args.new;
    let purpose = purpose(args.purpose);
    let mut ask = |asked_for: cert_tool::SecretFor<'_>| new.keys.unlock.ask(asked_for);
    if args.root_only {
        let options = CaOptions {
            root_path_length: args.path_length,
            purpose,
            ..with_publications(options(new, args.days)?, &args.publications, Tier::Root)?
        };
        ParentCa::init_root(&new.dir, &options, now, &mut ask)?;
    } else {
        let options = CaOptions {
            issuing_path_length: args.path_length.unwrap_or_default(),
            ..with_publications(options(new, args.days)?, &args.publications, Tier::Issuing)?
        };
        CertificateAuthority::init_with(&new.dir, &options, now, &mut ask)?;
        output.note("keep `root.key` somewhere else: issuing does not need it");
    }
    show(&new.dir, output)
}

fn purpose(purpose: Option<PurposeArg>) -> CaPurpose {
    match purpose {
        None => CaPurpose::General,
        Some(PurposeArg::AzureDeviceRegistry) => CaPurpose::AzureDeviceRegistry,
    }
}

fn publication(args: &PublicationArgs) -> Result<Publication, Failure> {
    Publication::new(args.crl_url.clone(), args.issuer_url.clone()).map_err(Failure::Typed)
}

/// The options of new CAs with the addresses of both; `own` is the CA whose addresses are given without `--root`.
fn with_publications(
    options: CaOptions,
    args: &NewPublicationsArgs,
    own: Tier,
) -> Result<CaOptions, Failure> {
    let of_root = Publication::new(args.root_crl_url.clone(), args.root_issuer_url.clone());
    let (given, of_root) = (publication(&args.own)?, of_root.map_err(Failure::Typed)?);
    match own {
        Tier::Issuing => Ok(CaOptions { root_publication: of_root, issuing_publication: given, ..options }),
        Tier::Root if of_root.is_empty() => Ok(CaOptions { root_publication: given, ..options }),
        Tier::Root => Err(Failure::Usage(anyhow!(
            "there is no issuing CA, so the root's own addresses are given as --crl-url and --issuer-url"
        ))),
    }
}

fn options(new: &NewCaArgs, days: u32) -> Result<CaOptions, Failure> {
    let (name, subject) = (new.name.clone(), new.subject.clone());
    Ok(CaOptions { name, subject, ..options_of_keys(&new.keys, days)? })
}

/// The options of CAs with new keys, whose root has a lifetime of so many days.
fn options_of_keys(keys: &NewKeyArgs, days: u32) -> Result<CaOptions, Failure> {
    let options = CaOptions {
        key_type: keys.key_type.into(),
        passphrase: keys.unlock.for_new_key(keys.encrypt)?,
        token: token(keys.pkcs11.as_deref())?,
        ..CaOptions::default()
    };
    Ok(options.with_root_days(days))
}

fn token(uri: Option<&str>) -> Result<Option<TokenUri>, Failure> {
    let Some(uri) = uri else { return Ok(None) };
    uri.parse().map(Some).map_err(Failure::Typed)
}

fn import(args: &CaImportArgs, now: OffsetDateTime, output: &mut Output) -> Result<Exit, Failure> {
    let mut certificates = Vec::new();
    for file in std::iter::once(&args.certificate).chain(&args.chain) {
        certificates.extend(input::certificates(file).map_err(unread_input)?);
    }
    let (key, passphrase) = match &args.key {
        Some(file) => {
            let new = args.unlock.for_new_key(args.encrypt)?;
            let (key, own) = key_with_passphrase(file, &args.unlock)?;
            // An encrypted key stays encrypted.
            (Some(key), new.or(own))
        }
        None => (None, None),
    };
    let ca = ImportedCa { certificates, key, token: token(args.pkcs11.as_deref())?, passphrase };
    let (_, warnings) = import_ca(&args.dir, ca, now, &mut |asked_for| args.unlock.ask(asked_for))?;
    for warning in warnings {
        output.note(&format!("warning: {warning}"));
    }
    show(&args.dir, output)
}

/// The commands that have a request signed, and import the certificate. `ROOT` and `NEW.pem` are for the reader to name.
fn next_steps(request: &Path, options: &str, folder: &Path) -> String {
    let word = |path: &Path| shell_word(&ShownPath(path).to_string());
    format!(
        "sign the request where the root is, `cert-tool ca sign {}{options} --ca ROOT --out NEW.pem`, and import the \
         certificate here, `cert-tool ca import {} --certificate NEW.pem`",
        word(request),
        word(folder)
    )
}

/// A private key, and the passphrase that it is encrypted with.
fn key_with_passphrase(file: &Path, unlock: &UnlockArgs) -> Result<(PrivateKey, Option<Secret>), Failure> {
    let mut used = None;
    let mut ask = |asked_for: cert_tool::SecretFor<'_>| {
        used = unlock.ask(asked_for)?;
        Ok(used.clone())
    };
    let key = input::private_key(file, &mut ask).map_err(unread_input)?;
    Ok((key, used))
}

/// Opens the CA that signs a different one.
fn parent(args: &SigningCaArgs) -> Result<ParentCa, Error> {
    let mut ask = |asked_for: cert_tool::SecretFor<'_>| args.unlock.ask(asked_for);
    ParentCa::open_with(&args.ca, Tier::that_signs_cas(&args.ca), &mut ask)
}

fn sign(args: &CaSignArgs, now: OffsetDateTime, output: &mut Output) -> Result<Exit, Failure> {
    let parent = parent(&args.signer)?;
    let request = input::request_bytes(&args.request).map_err(Failure::Typed)?;
    check_is_new(&args.out)?;
    let options = SubordinateOptions {
        days: args.signer.days,
        path_length: args.path_length,
        keep_subject: args.keep_subject,
        constraints: NameConstraints::new(args.permit.clone(), args.exclude.clone()),
        purpose: purpose(args.purpose),
    };
    let SignedCa { certificate, kept, .. } = parent.sign_request(request, &options, now)?;
    if !kept.is_empty() {
        let kept = kept.join("; ");
        output.note(&format!("note: the limits of its earlier certificate stay ({})", ShownBare(&kept)));
    }
    if let Some(end) = parent.earlier_end(args.signer.days, now) {
        output.note(&format!("note: {end}"));
    }
    // With those above it, so that `ca import` has the whole chain in one file.
    let chain: Vec<_> = std::iter::once(&certificate).chain(parent.chain()).collect();
    write_new(&args.out, &chain)?;
    output.record(&CertificateRecord::new(&args.out.to_string_lossy(), &certificate));
    Ok(Exit::Done)
}

fn cross_sign(args: &CaCrossSignArgs, now: OffsetDateTime, output: &mut Output) -> Result<Exit, Failure> {
    let parent = parent(&args.signer)?;
    let other = input::certificate(&args.certificate).map_err(unread_input)?;
    check_is_new(&args.out)?;
    let certificate = parent.cross_sign(&other, args.signer.days, now)?;
    write_new(&args.out, &[&certificate])?;
    output.record(&CertificateRecord::new(&args.out.to_string_lossy(), &certificate));
    Ok(Exit::Done)
}

fn renew(args: &CaRenewArgs, now: OffsetDateTime, output: &mut Output) -> Result<Exit, Failure> {
    let tier = if args.root { Tier::Root } else { Tier::of(&args.dir) };
    match renew_ca(&args.dir, tier, args.days, now, &mut |asked_for| args.unlock.ask(asked_for))? {
        RenewedCa::Signed { earlier, .. } => {
            output.note(&format!("the earlier certificate is in `{}`", ShownPath(&earlier)));
            if tier == Tier::Root {
                output.note("a hub must trust the new certificate before the earlier one ends");
            }
            show(&args.dir, output)
        }
        RenewedCa::Requested { request } => {
            output.note(&next_steps(&request, " --keep-subject", &args.dir));
            output.record(&FileRecord::new(&request));
            Ok(Exit::Done)
        }
    }
}

fn rekey(args: &CaRekeyArgs, now: OffsetDateTime, output: &mut Output) -> Result<Exit, Failure> {
    let options = CaOptions { subject: args.subject.clone(), ..options_of_keys(&args.keys, args.days)? };
    let options = with_publications(options, &args.publications, Tier::of(&args.old))?;
    let mut ask = |asked_for: cert_tool::SecretFor<'_>| args.keys.unlock.ask(asked_for);
    rekey_ca(&args.old, &args.new, args.name.as_deref(), &options, now, &mut ask)?;
    output.note(&format!(
        "next: have hubs trust `{}` beside the old root, and issue to the devices with `{}`; what they present \
         is also good for those who trust the old root only",
        ShownPath(&args.new.join("root.pem")),
        ShownPath(&args.new)
    ));
    let told = addresses_not_taken_over(args)?.into_iter().chain(addresses_in_profiles(&args.new));
    told.for_each(|told| output.note(&told));
    show(&args.new, output)
}

/// The profiles that were copied with addresses of their own, which are those of the old CA. Profiles that can't be
/// read issue nothing.
fn addresses_in_profiles(new: &Path) -> Vec<String> {
    let profiles = Policy::read(new).and_then(|policy| Profiles::read(new, &policy)).unwrap_or_default();
    let told = profiles.iter().filter(|profile| profile.has_addresses()).map(|profile| {
        format!(
            "profile `{}` ({}) has addresses of the old CA's lists, certificates or responders; change them \
             before anything is issued by it",
            profile.name(),
            profile.place()
        )
    });
    told.collect()
}

/// The addresses of the old CA for which the new one has none: lists and certificates of the old CA are there, and
/// stay there.
fn addresses_not_taken_over(args: &CaRekeyArgs) -> Result<Vec<String>, Failure> {
    let (old, new) = (Policy::read(&args.old)?, Policy::read(&args.new)?);
    let mut told = Vec::new();
    for (tier, of, option) in [(Tier::Root, "root", " --root"), (Tier::Issuing, "issuing CA", "")] {
        let (before, now) = (old.publication(tier), new.publication(tier));
        for (urls, is_missing, what, name) in [
            (before.crl_urls(), now.crl_urls().is_empty(), "revocation list", "--crl-url"),
            (before.issuer_urls(), now.issuer_urls().is_empty(), "certificate", "--issuer-url"),
        ] {
            if let Some(url) = urls.first().filter(|_| is_missing) {
                told.push(format!(
                    "`{}` has the {what} of the old {of}, so the new {of} does not name it; publish the new one at a \
                     different address, and name it before anything is issued: `cert-tool ca policy {}{option} \
                     {name} URL`",
                    ShownText(url),
                    shell_word(&ShownPath(&args.new).to_string())
                ));
            }
        }
    }
    Ok(told)
}

/// Refuses to overwrite a file before anything is signed for it.
fn check_is_new(path: &Path) -> Result<(), Failure> {
    match new_file::is_taken(path) {
        true => Err(Failure::Refused(Error::AlreadyExists { path: path.to_owned() })),
        false => Ok(()),
    }
}

fn prove(args: &CaProveArgs, now: OffsetDateTime, output: &mut Output) -> Result<Exit, Failure> {
    let mut ask = |asked_for: cert_tool::SecretFor<'_>| args.unlock.ask(asked_for);
    let tier = if args.root { Tier::Root } else { Tier::Issuing };
    if tier == Tier::Issuing {
        CertificateAuthority::certificates(&args.dir)?;
    }
    let proof = ParentCa::open_with(&args.dir, tier, &mut ask)?.prove(&args.code, now);
    let proof = proof.map_err(|error| match error {
        Error::BadCode => Failure::Typed(error),
        other => other.into(),
    })?;
    write_new(&args.out, &[&proof])?;
    output.record(&CertificateRecord::new(&args.out.to_string_lossy(), &proof));
    Ok(Exit::Done)
}

fn set_policy(args: &CaPolicyArgs, output: &mut Output) -> Result<Exit, Failure> {
    // What is no CA gets no policy.
    let ca = CaDescription::read(&args.dir)?;
    let mut policy = if args.clear { Policy::new() } else { Policy::read(&args.dir)? };
    if let Some(pattern) = &args.identities {
        policy = policy.with_identities(pattern).map_err(|error| Failure::Usage(error.into()))?;
    }
    if let Some(days) = args.max_days {
        policy = policy.with_max_days(days);
    }
    if let Some(count) = args.max_certificates {
        policy = policy.with_max_certificates(count);
    }
    if !args.key_types.is_empty() {
        policy = policy.with_key_types(args.key_types.iter().map(|key_type| (*key_type).into()));
    }
    let published = publication(&args.publication)?;
    if !published.is_empty() {
        let tier = if args.root { Tier::Root } else { Tier::of(&args.dir) };
        policy = policy.with_publication(tier, published);
    }
    policy = with_profile_rules(policy, args).map_err(|error| Failure::Usage(error.into()))?;
    // What good profiles say must agree with it from now on.
    if ca.profile_fault.is_none() {
        Profiles::read(&args.dir, &policy)?;
    }
    policy.write(&args.dir)?;
    show(&args.dir, output)
}

/// The rules that bind profiles.
fn with_profile_rules(mut policy: Policy, args: &CaPolicyArgs) -> Result<Policy, Error> {
    if let Some(pattern) = &args.subjects {
        policy = policy.with_subjects(pattern)?;
    }
    if !args.extended_key_usages.is_empty() {
        policy = policy.with_extended_key_usages(args.extended_key_usages.iter().cloned());
    }
    if let Some(pattern) = &args.dns_names {
        policy = policy.with_dns_names(pattern)?;
    }
    if let Some(pattern) = &args.uris {
        policy = policy.with_uris(pattern)?;
    }
    if !args.ip_addresses.is_empty() {
        policy = policy.with_ip_addresses(args.ip_addresses.iter().copied());
    }
    if !args.extensions.is_empty() {
        policy = policy.with_extensions(args.extensions.iter().cloned());
    }
    Ok(policy)
}

fn show(dir: &Path, output: &mut Output) -> Result<Exit, Failure> {
    let ca = CaDescription::read(dir)?;
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    if let Some(root) = &ca.root {
        let record = CaRecord::new("root", file("root.pem"), root, &ca.root_key);
        output.record(&record.with_publication(ca.policy.publication(Tier::Root)));
    }
    for between in ca.between.iter().rev() {
        let role = if ca.is_of_root(between) { "cross-certificate" } else { "between" };
        output.record(&CaRecord::new(role, file("chain.pem"), between, &KeyPlace::Elsewhere));
    }
    match &ca.issuing {
        Some(it) => {
            let record = CaRecord::new("issuing", file("issuing.pem"), it, &ca.issuing_key);
            let record = record.with_publication(ca.policy.publication(Tier::Issuing));
            output.record(&record.with_policy(&ca.policy).with_profiles(&ca));
        }
        None if ca.issuing_key != KeyPlace::Elsewhere => {
            let request = dir.join("issuing.csr");
            output.note(&format!("`issuing.csr` waits: {}", next_steps(&request, "", dir)));
        }
        None => {}
    }
    Ok(Exit::Done)
}

fn write_new(path: &Path, certificates: &[&Certificate]) -> Result<(), Failure> {
    let text: String = certificates.iter().map(|certificate| certificate.to_pem()).collect();
    let written = new_file::write(path, text.as_bytes(), Existing::Kept, Readers::Umask);
    written.with_context(|| format!("can't write `{}`", ShownPath(path))).map_err(Failure::Usage)
}

/// One CA of a folder, with what its policy says.
#[derive(Debug, Serialize)]
struct CaRecord {
    role: &'static str,
    file: String,
    subject: String,
    issuer: String,
    serial: String,
    not_before: String,
    not_after: String,
    sha1: String,
    sha256: String,
    key: String,
    identities: Option<String>,
    max_days: Option<u32>,
    max_certificates: Option<u64>,
    key_types: Option<String>,
    /// The rules that bind profiles.
    profile_rules: Option<String>,
    /// The profiles, one a line.
    profiles: Option<String>,
    /// The reason why nothing is issued, if the profiles can't be used.
    profile_fault: Option<String>,
    path_length: Option<u32>,
    crl_urls: Option<String>,
    issuer_urls: Option<String>,
}

impl CaRecord {
    fn new(role: &'static str, file: String, certificate: &Certificate, key: &KeyPlace) -> Self {
        Self {
            role,
            file,
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            serial: certificate.serial(),
            not_before: rfc3339(certificate.not_before()),
            not_after: rfc3339(certificate.not_after()),
            sha1: certificate.sha1().to_string(),
            sha256: certificate.sha256().to_string(),
            key: match key {
                KeyPlace::EncryptedFile => "in a file, encrypted".to_owned(),
                KeyPlace::PlainFile => "in a file, not encrypted".to_owned(),
                KeyPlace::Token(uri) => uri.to_string(),
                _ => "elsewhere".to_owned(),
            },
            identities: None,
            max_days: None,
            max_certificates: None,
            key_types: None,
            profile_rules: None,
            profiles: None,
            profile_fault: None,
            path_length: certificate.path_length(),
            crl_urls: None,
            issuer_urls: None,
        }
    }

    fn with_policy(self, policy: &Policy) -> Self {
        let key_types = policy.key_types();
        Self {
            identities: policy.identities().map(str::to_owned),
            max_days: policy.max_days(),
            max_certificates: policy.max_certificates(),
            key_types: key_types.map(|it| it.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
            profile_rules: profile_rules(policy),
            ..self
        }
    }

    fn with_publication(self, publication: &Publication) -> Self {
        let joined = |urls: &[String]| (!urls.is_empty()).then(|| urls.join(" "));
        Self {
            crl_urls: joined(publication.crl_urls()),
            issuer_urls: joined(publication.issuer_urls()),
            ..self
        }
    }

    fn with_profiles(self, ca: &CaDescription) -> Self {
        let line = |it: &ProfileSummary| format!("{} ({}): {}", it.name, it.place, it.summary);
        let lines: Vec<_> = ca.profiles.iter().map(line).collect();
        Self {
            profiles: (!lines.is_empty()).then(|| lines.join("\n")),
            profile_fault: ca.profile_fault.as_ref().map(|error| with_causes(error)),
            ..self
        }
    }
}

impl fmt::Display for CaRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names come from outside: what could steer a terminal is shown escaped.
        writeln!(f, "{} ({})", ShownBare(&self.file), self.role)?;
        writeln!(f, "  subject:    {}", ShownBare(&self.subject))?;
        writeln!(f, "  issuer:     {}", ShownBare(&self.issuer))?;
        writeln!(f, "  serial:     {}", self.serial)?;
        writeln!(f, "  not before: {}", self.not_before)?;
        writeln!(f, "  not after:  {}", self.not_after)?;
        writeln!(f, "  SHA-1:      {}", self.sha1)?;
        writeln!(f, "  SHA-256:    {}", self.sha256)?;
        write!(f, "  key:        {}", ShownBare(&self.key))?;
        self.path_length.iter().try_for_each(|length| write!(f, "\n  CAs below:  {length} at most"))?;
        self.crl_urls.iter().try_for_each(|urls| write!(f, "\n  lists at:   {}", ShownBare(urls)))?;
        self.issuer_urls.iter().try_for_each(|urls| write!(f, "\n  itself at:  {}", ShownBare(urls)))?;
        if self.role != "issuing" {
            return Ok(());
        }
        let rules = [
            ("identities", self.identities.clone()),
            ("max_days", self.max_days.map(|days| days.to_string())),
            ("max_certificates", self.max_certificates.map(|count| count.to_string())),
            ("key_types", self.key_types.clone()),
        ];
        write!(f, "\n  policy:     ")?;
        let said: Vec<_> =
            rules.iter().filter_map(|(rule, value)| Some(format!("{rule} {}", value.as_ref()?))).collect();
        let said: Vec<_> = said.into_iter().chain(self.profile_rules.clone()).collect();
        f.write_str(&if said.is_empty() { "no limits".to_owned() } else { said.join(", ") })?;
        let profiles = self.profiles.iter().flat_map(|profiles| profiles.lines());
        profiles.into_iter().try_for_each(|profile| write!(f, "\n  profile:    {}", ShownBare(profile)))?;
        let fault = self.profile_fault.iter();
        fault.into_iter().try_for_each(|fault| {
            write!(f, "\n  profiles:   none can be used, so nothing is issued: {}", ShownBare(fault))
        })
    }
}

fn profile_rules(policy: &Policy) -> Option<String> {
    let rules: Vec<_> =
        policy.profile_rules().into_iter().map(|(rule, value)| format!("{rule} {value}")).collect();
    (!rules.is_empty()).then(|| rules.join(", "))
}

/// A file that was written.
#[derive(Debug, Serialize)]
struct FileRecord {
    file: String,
}

impl FileRecord {
    fn new(path: &Path) -> Self {
        Self { file: path.to_string_lossy().into_owned() }
    }
}

impl fmt::Display for FileRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownBare(&self.file).fmt(f)
    }
}
