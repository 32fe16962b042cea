//! The common parts of the verbs for one object: the hub, the authentication, and the output of an
//! identity or a list.

use std::path::Path;
use std::time::Duration;

use hub_types::symmetric_key::{SymmetricKey, SymmetricKeys};
use hub_types::{Authentication, IdentityId, Thumbprint};
use serde::Serialize;
use serde_json::Value;

use super::args::{AuthArgs, AuthMethod, EtagArgs, Format, ListArgs, TargetArgs};
use super::failure::{Exit, Failure};
use super::printer::{Printer, json_line};
use crate::hub::{Condition, HubClient, HubError, is_missing};
use crate::model::observer::RunObserver;
use crate::target::{OpenHub, Target};

/// Opens the hub, and says which it is.
pub(super) async fn open(target: &TargetArgs, printer: &Printer) -> Result<OpenHub, Failure> {
    let target = Target::resolve(target.choice(), ".".as_ref())?;
    printer.hub(&target, target.is_test_hub());
    let hub = target.open().await?;
    hub.client.rate_limiter().be_brief(PATIENCE);
    Ok(hub)
}

/// For how long the hub is tried: whoever waits for one answer has no run that could be resumed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends a command whose object does not exist.
pub(super) fn missing(identity: &IdentityId) -> Failure {
    Failure::new(Exit::Refused, format!("there is no `{identity}` on the hub"))
}

/// An error of a call that is about one object.
pub(super) fn refused(error: HubError, identity: &IdentityId) -> Failure {
    match error.status() {
        None => error.into(),
        Some(_) if is_missing(&error) => missing(identity),
        Some(409) => Failure::new(Exit::Refused, format!("`{identity}` exists already"))
            .hint("`update` changes what is there; `show` prints it"),
        Some(412) => Failure::new(Exit::Refused, format!("`{identity}` has been changed by somebody else"))
            .hint("nothing was written; look at it with `show` and run the command again"),
        _ => error.into(),
    }
}

/// The condition of a write: the given etag, or only that the object exists.
pub(super) fn condition(etag: &EtagArgs) -> Condition {
    etag.etag.clone().map_or(Condition::Exists, Condition::Etag)
}

impl AuthArgs {
    /// The authentication that was asked for, if any was. `current` is what an existing identity has.
    pub(super) fn authentication(
        &self,
        identity: &IdentityId,
        current: Option<&Authentication>,
    ) -> Result<Option<Authentication>, Failure> {
        let certificate =
            self.certificate.as_deref().map(|path| thumbprint_of(path, identity)).transpose()?;
        let (primary, secondary) = (certificate.or(self.primary_thumbprint), self.secondary_thumbprint);
        let has_thumbprint = primary.is_some() || secondary.is_some();
        let keys = self.keys()?;
        let method = match self.auth_method {
            Some(method) => method,
            None if has_thumbprint => AuthMethod::X509Thumbprint,
            None if keys.is_some() => AuthMethod::Sas,
            None => return Ok(None),
        };
        match method {
            AuthMethod::X509Thumbprint if keys.is_none() => {
                let current = current.map(Authentication::thumbprints).unwrap_or_default();
                let primary = primary.or(current.primary_thumbprint);
                let secondary = secondary.or(current.secondary_thumbprint);
                if primary.is_none() && secondary.is_none() {
                    return Err(usage(
                        "x509_thumbprint needs --primary-thumbprint, --secondary-thumbprint or --certificate",
                    ));
                }
                Ok(Some(Authentication::SelfSigned { primary, secondary }))
            }
            AuthMethod::Sas if !has_thumbprint => Ok(Some(Authentication::Sas(keys))),
            AuthMethod::X509Ca if !has_thumbprint && keys.is_none() => {
                Ok(Some(Authentication::CertificateAuthority))
            }
            _ => Err(usage("thumbprints go with x509_thumbprint only, keys with sas only")),
        }
    }

    fn keys(&self) -> Result<Option<SymmetricKeys>, Failure> {
        match (&self.primary_key_file, &self.secondary_key_file) {
            (Some(primary), Some(secondary)) => {
                Ok(Some(SymmetricKeys { primary: read_key(primary)?, secondary: read_key(secondary)? }))
            }
            _ => Ok(None),
        }
    }
}

fn thumbprint_of(path: &Path, identity: &IdentityId) -> Result<Thumbprint, Failure> {
    let certificate =
        cert_tool::read_certificate(path).map_err(|error| Failure::new(Exit::BadInput, error))?;
    match certificate.common_name() {
        Some(name) if name == identity.common_name() => Ok(certificate.sha256().into()),
        name => Err(usage(format!(
            "the certificate in `{}` is for `{}`, not for `{identity}`",
            path.display(),
            name.unwrap_or("nobody")
        ))),
    }
}

fn read_key(path: &Path) -> Result<SymmetricKey, Failure> {
    let text = cli_support::text::read(path)
        .map_err(|error| usage(format!("can't read `{}`: {error}", path.display())))?;
    SymmetricKey::try_from(text.trim().to_owned())
        .map_err(|error| usage(format!("the key in `{}` can't be used: {error}", path.display())))
}

pub(super) fn usage(text: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(Exit::BadInput, text)
}

/// Takes the symmetric keys out of what is to be printed, unless they are asked for.
pub(super) fn without_keys(authentication: &mut Authentication, show_keys: bool, printer: &Printer) {
    if let Authentication::Sas(keys @ Some(_)) = authentication
        && !show_keys
    {
        *keys = None;
        printer.note("its symmetric keys are not shown; --show-keys prints them");
    }
}

/// Prints the twins that a query finds, page by page: as JSON an array, otherwise a line for each.
pub(super) async fn print_twins(
    hub: &HubClient,
    collection: &str,
    args: &ListArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let condition = args.condition.as_ref().map(|text| format!(" WHERE {text}")).unwrap_or_default();
    let query = format!("SELECT * FROM {collection}{condition}");
    let mut left = args.top.map_or(usize::MAX, usize::from);
    let mut continuation = None;
    let mut list = printer.list(TWIN_COLUMNS);
    while left > 0 {
        let page = hub.query(&query, continuation.as_ref(), left.min(PAGE)).await?;
        for twin in page.rows.iter().take(left) {
            list.push(twin, twin_line)?;
        }
        left = left.saturating_sub(page.rows.len());
        match page.continuation {
            Some(token) => continuation = Some(token),
            None => break,
        }
    }
    list.end();
    Ok(())
}

/// The output columns of a twin or an identity: both documents have these members.
pub(super) fn twin_line(document: &Value) -> [String; TWIN_COLUMNS.len()] {
    let text = |name: &str| match document.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let auth = document.pointer("/authentication/type").and_then(Value::as_str).map(str::to_owned);
    [
        text("deviceId"),
        text("moduleId"),
        auth.unwrap_or_else(|| text("authenticationType")),
        text("status"),
        text("connectionState"),
        text("lastActivityTime"),
    ]
}

/// The columns of [`twin_line`].
pub(super) const TWIN_COLUMNS: [&str; 6] =
    ["device_id", "module_id", "auth", "status", "connection_state", "last_activity"];

/// The most rows that a hub gives in a page.
const PAGE: usize = 1000;

/// Prints a list of documents in the format asked for.
pub(super) struct List<'p, const N: usize> {
    pub(super) printer: &'p Printer,
    pub(super) first: bool,
}

impl<const N: usize> List<'_, N> {
    /// Prints one document: whole as JSON, `line` of it otherwise.
    pub(super) fn push<T: Serialize>(
        &mut self,
        document: &T,
        line: impl Fn(&T) -> [String; N],
    ) -> Result<(), Failure> {
        match self.printer.format {
            Format::Json => {
                let separator = if self.first { "[" } else { "," };
                let text = json_line(document)?;
                self.printer.data(format_args!("{separator}\n  {text}"));
            }
            Format::Csv => self.printer.csv_row(line(document)),
            Format::Text => self.printer.data(line(document).join("  ").trim_end()),
        }
        self.first = false;
        Ok(())
    }

    /// Ends the list.
    pub(super) fn end(self) {
        if self.printer.format == Format::Json {
            self.printer.data(if self.first { "[]" } else { "]" });
        }
    }
}
