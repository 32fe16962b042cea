//! The identities and twins of a hub, or the enrolments of a DPS, as a batch.
//!
//! The export reads twins, page by page, by query: they show all values of a batch except symmetric
//! keys, which are not exported. A hub's query index lags a second or more behind its registry. Enrolments
//! show the thumbprints of certificates in place of the certificates.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use batch_file::untyped_value;
use cli_support::wrong_form::JsonMistake;
use hub_types::IdentityId;
use hub_types::dps::certificate::EnrollmentCertificate;
use hub_types::dps::enrollment::InitialTwin;
use hub_types::dps::{Attestation, IndividualEnrollment, X509Attestation};
use hub_types::identity::Status;
use hub_types::twin::{JsonObject, Twin, TwinRuleError};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::dps::DpsClient;
use crate::hub::{HubClient, HubError};
use crate::model::creator_tag;
use crate::model::scopes::{parent_in, scope_of_parent};
use crate::model::spec::IdentitySpec;

/// The totals of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Exported {
    /// Rows of devices.
    pub(crate) devices: u64,
    /// Rows of modules.
    pub(crate) modules: u64,
    /// Identities with symmetric keys, which are not exported.
    pub(crate) without_keys: u64,
    /// Modules of the IoT Edge runtime, which every edge device has automatically.
    pub(crate) system_modules: u64,
    /// Identities with an authentication or a parent that no batch can hold; `check` refuses their rows.
    pub(crate) not_understood: u64,
    /// Enrolments whose device has a different id than the one that it registers by; a batch has one id.
    pub(crate) other_ids: u64,
    /// Enrolments with certificates, of which only the thumbprints are exported.
    pub(crate) with_certificates: u64,
    /// Enrolment groups, which are not exported.
    pub(crate) groups: u64,
    /// The first number that the batch can't hold unchanged, because it has too many digits.
    pub(crate) changed_number: Option<TwinRuleError>,
}

/// The reason why an export failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ExportError {
    /// The hub did not answer.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A row of the hub's answer is no twin.
    #[error("the hub's answer to a query has a row that is not a twin")]
    NoTwin(#[source] JsonMistake),
    /// The batch can't be written.
    #[error("the batch can't be written")]
    Write(#[from] io::Error),
}

/// The form of an exported batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    /// CSV with a column for each tag and desired property of any identity.
    Csv,
    /// JSON Lines with one object per line.
    JsonLines,
}

impl ExportFormat {
    /// The form that the ending of a file's name stands for, if it stands for one.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// The objects to export.
#[derive(Clone, Copy)]
pub(crate) enum ExportSource<'s> {
    /// The enrolments of a DPS.
    Dps(&'s DpsClient),
    /// The identities of a hub, or those of the devices and modules whose twins meet a condition of the
    /// query language. Devices come first.
    Hub(&'s HubClient, Option<&'s str>),
}

/// Exports all objects of a source.
pub(crate) async fn export(
    source: ExportSource<'_>,
    format: ExportFormat,
    out: &mut (impl Write + Send),
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    match format {
        ExportFormat::JsonLines => {
            source.each_row(&mut exported, &mut |row| write_line(out, &JsonLine(row))).await?;
        }
        ExportFormat::Csv => {
            // The header is known only when all has been seen.
            let mut spool = BufWriter::new(tempfile::tempfile()?);
            let mut columns = Columns::default();
            let mut spool_row = |row: &ExportRow| {
                columns.see(row);
                write_line(&mut spool, row)
            };
            source.each_row(&mut exported, &mut spool_row).await?;
            let mut spool = spool.into_inner().map_err(io::IntoInnerError::into_error)?;
            spool.seek(SeekFrom::Start(0))?;
            columns.write_csv(BufReader::new(spool), out)?;
        }
    }
    out.flush()?;
    Ok(exported)
}

/// Takes a row of an export.
type WriteRow<'w> = dyn FnMut(&ExportRow) -> io::Result<()> + Send + 'w;

impl ExportSource<'_> {
    async fn each_row(self, exported: &mut Exported, write: &mut WriteRow<'_>) -> Result<(), ExportError> {
        match self {
            Self::Dps(dps) => each_enrollment(dps, exported, write).await,
            Self::Hub(hub, condition) => each_identity(hub, condition, exported, write).await,
        }
    }
}

async fn each_enrollment(
    dps: &DpsClient,
    exported: &mut Exported,
    write: &mut WriteRow<'_>,
) -> Result<(), ExportError> {
    let mut continuation = None;
    loop {
        let page = dps.enrollments(continuation.as_ref()).await?;
        exported.changed_number = exported.changed_number.take().or(page.changed_number);
        for enrollment in &page.entries {
            exported.devices += 1;
            exported.other_ids +=
                u64::from(enrollment.device_id().as_str() != enrollment.registration_id.as_str());
            match &enrollment.attestation {
                Attestation::SymmetricKey(_) => exported.without_keys += 1,
                Attestation::X509(X509Attestation::ClientCertificates(_)) => exported.with_certificates += 1,
                Attestation::X509(_) | Attestation::Tpm(_) => exported.not_understood += 1,
            }
            write(&ExportRow::of_enrollment(enrollment))?;
        }
        match page.continuation {
            Some(token) => continuation = Some(token),
            None => break,
        }
    }
    exported.groups = dps.count_groups().await?;
    Ok(())
}

async fn each_identity(
    hub: &HubClient,
    condition: Option<&str>,
    exported: &mut Exported,
    write: &mut WriteRow<'_>,
) -> Result<(), ExportError> {
    let condition = condition.map(|text| format!(" WHERE {text}")).unwrap_or_default();
    for collection in ["devices", "devices.modules"] {
        let query = format!("SELECT * FROM {collection}{condition}");
        let mut continuation = None;
        loop {
            let page = hub.query(&query, continuation.as_ref(), PAGE).await?;
            exported.changed_number = exported.changed_number.take().or(page.changed_number);
            for twin in page.rows {
                let twin: Twin = serde_json::from_value(twin)
                    .map_err(|error| ExportError::NoTwin(JsonMistake::new(&error)))?;
                let identity = twin.identity();
                match identity.module() {
                    Some(module) if module.is_system() => {
                        exported.system_modules += 1;
                        continue;
                    }
                    Some(_) => exported.modules += 1,
                    None => exported.devices += 1,
                }
                exported.without_keys += u64::from(twin.authentication_type == "sas");
                exported.not_understood += u64::from(IdentitySpec::of_twin(&twin).is_err());
                write(&ExportRow::of(&identity, &twin))?;
            }
            match page.continuation {
                Some(token) => continuation = Some(token),
                None => break,
            }
        }
    }
    Ok(())
}

fn write_line(out: &mut impl Write, row: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, row)?;
    out.write_all(b"\n")
}

/// A row of the batch: the columns of [`FIXED`] that have a value, and the values of the twin.
#[derive(Serialize, Deserialize)]
struct ExportRow {
    fixed: Vec<(Cow<'static, str>, String)>,
    settings: Vec<(String, Value)>,
}

/// A row as it stands in JSON Lines.
struct JsonLine<'r>(&'r ExportRow);

impl ExportRow {
    fn of(identity: &IdentityId, twin: &Twin) -> Self {
        let mut fixed = Vec::new();
        let mut add = |column: &'static str, value: Option<String>| {
            fixed.extend(value.map(|value| (Cow::Borrowed(column), value)));
        };
        add("device_id", Some(identity.device().to_string()));
        add("module_id", identity.module().map(ToString::to_string));
        let auth = match twin.authentication_type.as_str() {
            "certificateAuthority" => "x509_ca",
            "selfSigned" => "x509_thumbprint",
            // What no batch can hold stands there as the hub says it, for `check` to refuse.
            other => other,
        };
        add("auth", Some(auth.to_owned()));
        if auth == "x509_thumbprint" {
            let slots = twin.x509_thumbprint;
            add("primary_thumbprint", slots.primary_thumbprint.map(|thumbprint| thumbprint.to_string()));
            add("secondary_thumbprint", slots.secondary_thumbprint.map(|thumbprint| thumbprint.to_string()));
        }
        if identity.module().is_none() {
            add("status", (twin.status == Status::Disabled).then(|| twin.status.to_string()));
            add("status_reason", twin.status_reason.as_ref().map(|reason| reason.as_str().to_owned()));
            add("edge", twin.capabilities.is_some_and(|can| can.iot_edge).then(|| "true".to_owned()));
            let parent = scope_of_parent(twin).map(|scope| parent_in(scope).unwrap_or(scope));
            add("parent", parent.map(str::to_owned));
        }
        let settings = values_of_twin(twin.tags.as_ref(), Some(&twin.properties.desired.values));
        Self { fixed, settings }
    }
}

impl ExportRow {
    fn of_enrollment(enrollment: &IndividualEnrollment) -> Self {
        let mut fixed = Vec::new();
        let mut add = |column: &'static str, value: Option<String>| {
            fixed.extend(value.map(|value| (Cow::Borrowed(column), value)));
        };
        add("device_id", Some(enrollment.registration_id.to_string()));
        let shown = |certificate: &EnrollmentCertificate| {
            Some(certificate.info.as_ref()?.sha256_thumbprint.to_string())
        };
        match &enrollment.attestation {
            Attestation::SymmetricKey(_) => add("auth", Some("sas".to_owned())),
            Attestation::X509(X509Attestation::ClientCertificates(pair)) => {
                let primary = shown(&pair.primary);
                // The only certificate is shown in both places.
                let secondary =
                    pair.secondary.as_ref().and_then(shown).filter(|one| Some(one) != primary.as_ref());
                add("auth", Some("x509_thumbprint".to_owned()));
                add("primary_thumbprint", primary);
                add("secondary_thumbprint", secondary);
            }
            // What no batch can hold stands there as the DPS says it, for `check` to refuse.
            other => add("auth", Some(other.type_name().to_owned())),
        }
        let settings = &enrollment.settings;
        add("status", (!settings.is_enabled()).then(|| Status::Disabled.to_string()));
        add("edge", settings.capabilities.is_some_and(|can| can.iot_edge).then(|| "true".to_owned()));
        let twin = settings.initial_twin.as_deref();
        let tags = twin.and_then(|twin| twin.tags.as_ref());
        let settings = values_of_twin(tags, twin.and_then(InitialTwin::desired));
        Self { fixed, settings }
    }
}

/// The columns of the values of a twin.
fn values_of_twin(tags: Option<&JsonObject>, desired: Option<&JsonObject>) -> Vec<(String, Value)> {
    let mut settings = Vec::new();
    for (section, values) in [("tags", tags), ("desired", desired)] {
        // Which run created it is no part of what a batch wants.
        let is_creators = |value: &Value| section == "tags" && creator_tag::is_creators(value);
        for (name, value) in values.into_iter().flatten().filter(|(_, value)| !is_creators(value)) {
            settings.push((format!("{section}.{name}"), value.clone()));
        }
    }
    settings
}

impl Serialize for JsonLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ExportRow { fixed, settings } = self.0;
        let mut row = serializer.serialize_map(Some(fixed.len() + settings.len()))?;
        for (column, value) in fixed {
            row.serialize_entry(column, value)?;
        }
        for (column, value) in settings {
            // A colon in a name would be read as the beginning of a type, an empty string as nothing.
            match column.contains(':') || value.as_str() == Some("") {
                true => row.serialize_entry(&format!("{column}:json"), value)?,
                false => row.serialize_entry(column, value)?,
            }
        }
        row.end()
    }
}

/// The columns of a CSV: those with a value in any row.
#[derive(Default)]
struct Columns {
    fixed: BTreeMap<usize, &'static str>,
    settings: BTreeMap<String, ValueForms>,
}

/// The form in which a column's values are written, so that they are read back as the same values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As JSON, for all values.
    Json,
    /// As texts that are all read as strings.
    String,
    /// As texts that are each read as their own type.
    Untyped,
}

/// The possible forms of a column's values, as far as they are known.
#[derive(Clone, Copy)]
struct ValueForms {
    /// True if every value is a non-empty string; an empty cell would be read as no value.
    are_strings: bool,
    /// True if no value is an array or an object, and each is read back unchanged.
    are_untyped: bool,
}

impl Default for ValueForms {
    fn default() -> Self {
        Self { are_strings: true, are_untyped: true }
    }
}

impl ValueForms {
    fn see(&mut self, value: &Value) {
        self.are_strings &= value.as_str().is_some_and(|text| !text.is_empty());
        if self.are_untyped {
            let is_scalar = !value.is_array() && !value.is_object();
            self.are_untyped = is_scalar && untyped_value(&plain_text(value)).as_ref() == Some(value);
        }
    }
}

impl Form {
    fn of(column: &str, values: ValueForms) -> Self {
        match values {
            ValueForms { are_strings: true, .. } => Self::String,
            // A colon in a name would be read as the beginning of a type.
            ValueForms { are_untyped: true, .. } if !column.contains(':') => Self::Untyped,
            _ => Self::Json,
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Json => ":json",
            Self::String => ":string",
            Self::Untyped => "",
        }
    }
}

impl Columns {
    fn see(&mut self, row: &ExportRow) {
        for (column, _) in &row.fixed {
            let place = FIXED.into_iter().enumerate().find(|(_, name)| name == column);
            self.fixed.extend(place);
        }
        for (column, value) in &row.settings {
            match self.settings.get_mut(column) {
                Some(known) => known.see(value),
                None => {
                    let mut forms = ValueForms::default();
                    forms.see(value);
                    self.settings.insert(column.clone(), forms);
                }
            }
        }
    }

    fn write_csv(&self, rows: impl BufRead, out: &mut impl Write) -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(out);
        let forms: Vec<_> =
            self.settings.iter().map(|(column, values)| (column, Form::of(column, *values))).collect();
        let typed = forms.iter().map(|(column, form)| format!("{column}{}", form.suffix()));
        csv.write_record(self.fixed.values().map(|name| (*name).to_owned()).chain(typed))?;
        for line in rows.lines() {
            let row: ExportRow = serde_json::from_str(&line?)?;
            let fixed: HashMap<_, _> = row.fixed.into_iter().collect();
            let settings: HashMap<_, _> = row.settings.into_iter().collect();
            let fixed = self.fixed.values().map(|column| fixed.get(*column).cloned().unwrap_or_default());
            let settings = forms.iter().map(|(column, form)| match (settings.get(*column), form) {
                (None, _) => String::new(),
                (Some(value), Form::Json) => value.to_string(),
                (Some(value), Form::String | Form::Untyped) => plain_text(value),
            });
            csv.write_record(fixed.chain(settings))?;
        }
        csv.flush()
    }
}

/// A value as a cell without quotes.
fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The columns that are not values of the twin, in the order of a CSV.
const FIXED: [&str; 9] = [
    "device_id",
    "module_id",
    "auth",
    "primary_thumbprint",
    "secondary_thumbprint",
    "status",
    "status_reason",
    "edge",
    "parent",
];

/// The most rows that a hub gives in a page.
const PAGE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn row(identity: &str, twin: Value) -> ExportRow {
        let identity = IdentityId::from_common_name(identity).unwrap();
        let mut document = json!({"deviceId": identity.device(), "etag": "AA==",
            "properties": {"desired": {}, "reported": {}}});
        document.as_object_mut().unwrap().extend(twin.as_object().unwrap().clone());
        ExportRow::of(&identity, &serde_json::from_value(document).unwrap())
    }

    #[test]
    fn a_csv_has_the_columns_that_any_row_has_and_types_them() {
        let rows = [
            row("a", json!({"authenticationType": "sas", "tags": {"site": "Ulm", "n": "007", "e": ""}})),
            row(
                "b",
                json!({"authenticationType": "certificateAuthority", "status": "disabled",
                "tags": {"n": 7, "a:b": "x"}, "properties": {"desired": {"c": {"d": 1}}, "reported": {}}}),
            ),
        ];
        let mut columns = Columns::default();
        let mut spool = Vec::new();
        for row in &rows {
            columns.see(row);
            write_line(&mut spool, row).unwrap();
        }
        let mut out = Vec::new();
        columns.write_csv(&spool[..], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "device_id,auth,status,desired.c:json,tags.a:b:string,tags.e:json,tags.n,tags.site:string\n\
             a,sas,,,,\"\"\"\"\"\",007,Ulm\n\
             b,x509_ca,disabled,\"{\"\"d\"\":1}\",x,,7,\n"
        );
    }

    /// A cell after reading an exported CSV, or the problem that was reported.
    fn round_trip(suffix: &str, cells: &[String]) -> Result<Vec<String>, String> {
        let mut batch = csv::Writer::from_writer(Vec::new());
        batch.write_record(["device_id", &format!("tags.v{suffix}")]).unwrap();
        for (n, cell) in cells.iter().enumerate() {
            batch.write_record([&format!("d{n}"), cell]).unwrap();
        }
        let text = io::Cursor::new(batch.into_inner().unwrap());
        let options = batch_file::ReadOptions::default();
        let read =
            batch_file::BatchReader::from_read(text, "b.csv", "".as_ref(), &options).unwrap().read_all();
        let bad = read.bad_rows.iter().flat_map(|row| &row.problems);
        let said = read.file_problems.iter().chain(bad).chain(read.rows.iter().flat_map(|row| &row.warnings));
        let said: Vec<_> = said.map(ToString::to_string).collect();
        if !said.is_empty() {
            return Err(said.join("\n"));
        }
        // Through the text of a hub's answer, and through its reader.
        let mut columns = Columns::default();
        let mut spool = Vec::new();
        for spec in &read.rows {
            let answer = json!({"tags": &*spec.tags}).to_string();
            let exported = row(&spec.identity.common_name(), serde_json::from_str(&answer).unwrap());
            columns.see(&exported);
            write_line(&mut spool, &exported).unwrap();
        }
        let mut out = Vec::new();
        columns.write_csv(&spool[..], &mut out).unwrap();
        let mut csv = csv::Reader::from_reader(&out[..]);
        let place = csv.headers().unwrap().iter().position(|name| name.starts_with("tags.v")).unwrap();
        Ok(csv.records().map(|record| record.unwrap()[place].to_owned()).collect())
    }

    /// Numbers, and texts that look like numbers.
    fn cell() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9A-F]{8}",
            "[0-9]{4}E[0-9]{3}",
            "[0-9A-F]{12}",
            "8949[0-9]{15,16}",
            "(0[0-9]|[1-9][0-9]){6}",
            "[0-9]{1,2}\\.[0-9]{1,2}(\\.[0-9]{1,2})?",
            "20[0-9]{2}-(0[1-9]|1[0-2])-[0-3][0-9]",
            "[+]?49[0-9]{6,12}",
            "-?[0-9]{1,3},[0-9]{1,2}",
            "-?[0-9]{1,40}",
            "-?[0-9]{1,20}\\.[0-9]{1,20}",
            "-?[0-9](\\.[0-9]{1,3})?[eE][+-]?[0-9]{1,3}",
            "0{1,4}[0-9]{0,6}",
            "[+-][0-9]{1,9}",
            "-0|1\\.0|NaN|true|TRUE|null|Infinity|0x1F| 1|1 |1_000|1e5|1\\.10|12345E6|1122334455E6",
        ]
    }

    #[test]
    fn cells_that_look_like_numbers_come_back_as_they_were() {
        for text in ["1.10", "1e5", "12345E6", "1122334455E6", "007", "+49891234", "-0", "1.0", "NaN", "true"]
        {
            assert_eq!(round_trip("", &[text.to_owned()]), Ok(vec![text.to_owned()]));
        }
        for text in ["89014103211118510720", "TRUE", "2,02"] {
            assert!(round_trip("", &[text.to_owned()]).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_cell_comes_back_as_it_was_or_something_was_said(
            cells in proptest::collection::vec(cell(), 1..4),
            suffix in proptest::sample::select(vec!["", ":string", ":number"]),
        ) {
            if let Ok(back) = round_trip(suffix, &cells) {
                prop_assert_eq!(back, cells);
            }
        }
    }

    #[test]
    fn the_parent_is_read_from_the_scope() {
        let leaf =
            row("a", json!({"authenticationType": "sas", "parentScopes": ["ms-azure-iot-edge://g-63713"]}));
        assert_eq!(
            serde_json::to_string(&JsonLine(&leaf)).unwrap(),
            r#"{"device_id":"a","auth":"sas","parent":"g"}"#
        );
    }

    #[test]
    fn what_no_batch_can_hold_is_exported_as_the_hub_has_it() {
        let odd = row("a", json!({"authenticationType": "none", "parentScopes": ["x-ms-other://g"]}));
        assert_eq!(
            serde_json::to_string(&JsonLine(&odd)).unwrap(),
            r#"{"device_id":"a","auth":"none","parent":"x-ms-other://g"}"#
        );
    }
}
