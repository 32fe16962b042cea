//! The text form of faults: TOML in a file, JSON at the management port.

use std::time::Duration;

use cli_support::wrong_form::{JsonMistake, TomlMistake};
use hub_types::ErrorCode;
use serde::{Deserialize, Serialize};

use super::{Effect, Fault, Faults};

/// The reason why a text is not a list of faults.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// The structure of the text is wrong.
    #[error("{0}")]
    Form(String),
    /// One of the faults is not valid.
    #[error("fault {number}: {problem}")]
    Fault {
        /// Its place in the list, from 1.
        number: usize,
        /// The error, and the correct form.
        problem: String,
    },
}

/// The whole file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsDocument {
    #[serde(default)]
    seed: u64,
    #[serde(default, rename = "fault")]
    faults: Vec<FaultDocument>,
}

/// One `[[fault]]`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FaultDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    effect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<f64>,
}

impl Faults {
    /// Reads faults from TOML:
    ///
    /// ```
    /// let faults = local_hub::Faults::parse(r#"
    ///     seed = 7
    ///
    ///     [[fault]]                 # every operation takes 50 ms
    ///     effect = "delay"
    ///     seconds = 0.05
    ///
    ///     [[fault]]                 # every tenth creation or so, 20 times, from second 5 to second 60
    ///     operation = "BulkRegistry"
    ///     effect = "status"
    ///     status = 503
    ///     retry_after = 2
    ///     probability = 0.1
    ///     count = 20
    ///     from = 5
    ///     until = 60
    /// "#)?;
    /// assert_eq!(faults.faults.len(), 2);
    /// # Ok::<(), local_hub::FaultsError>(())
    /// ```
    ///
    /// | key | means | if it is left out |
    /// |---|---|---|
    /// | `operation` | the name in the request log | every operation |
    /// | `effect` | `status`, `reset`, `hang`, `delay`, `drip`, `lose-answer`, `half-answer` or `stale-page`, see [`Effect`] | an error |
    /// | `status` | of `status`: 400 to 599 | an error |
    /// | `code` | of `status`: IoT Hub's name of the error | the usual one of 429, 500 and 503; an error for others, but 502 and 504 have none |
    /// | `retry_after` | of `status`: seconds | no `Retry-After` header |
    /// | `seconds` | of `delay` and `hang` | an error for `delay`; a `hang` lasts |
    /// | `bytes_per_second` | of `drip` | an error |
    /// | `probability` | 0 to 1 | 1 |
    /// | `skip` | requests of each operation that are left alone first | 0 |
    /// | `count` | requests of each operation that are hit at most | no bound |
    /// | `from`, `until` | seconds since the faults were set, on the hub's clock | always |
    pub fn parse(text: &str) -> Result<Self, FaultsError> {
        let document = toml::from_str(text)
            .map_err(|error| FaultsError::Form(TomlMistake::new(text, &error).to_string()))?;
        Self::from_document(document)
    }

    /// Reads the same from JSON: `{"seed": 7, "fault": [{"effect": "reset"}]}`.
    pub(crate) fn parse_json(text: &[u8]) -> Result<Self, FaultsError> {
        let document = serde_json::from_slice(text)
            .map_err(|error| FaultsError::Form(JsonMistake::new(&error).to_string()))?;
        Self::from_document(document)
    }

    /// Writes the faults in the form that [`Faults::parse_json`] reads.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let document = FaultsDocument { seed: self.seed, faults: self.faults.iter().map(document).collect() };
        // Names and numbers always have a JSON form.
        serde_json::to_value(document).unwrap_or_default()
    }

    /// Refuses operations that the hub does not know.
    pub(crate) fn check_operations(&self, known: &[&str]) -> Result<(), FaultsError> {
        for (place, fault) in self.faults.iter().enumerate() {
            if let Some(operation) = fault.operation.as_deref().filter(|name| !known.contains(name)) {
                let problem =
                    format!("`{operation}` is not an operation; the operations are {}", known.join(", "));
                return Err(FaultsError::Fault { number: place + 1, problem });
            }
        }
        Ok(())
    }

    fn from_document(document: FaultsDocument) -> Result<Self, FaultsError> {
        let faults = document.faults.into_iter().enumerate().map(|(place, document)| {
            fault(document).map_err(|problem| FaultsError::Fault { number: place + 1, problem })
        });
        Ok(Self { seed: document.seed, faults: faults.collect::<Result<_, _>>()? })
    }
}

fn fault(document: FaultDocument) -> Result<Fault, String> {
    let effect = effect(&document)?;
    let probability = document.probability.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&probability) {
        return Err(format!("`probability` is {probability}, but must be from 0 to 1"));
    }
    let (from, until) = (seconds("from", document.from)?, seconds("until", document.until)?);
    if until.is_some_and(|until| until <= from.unwrap_or_default()) {
        return Err("`until` is not after `from`".to_owned());
    }
    Ok(Fault {
        // A star is how other tools write it.
        operation: document.operation.filter(|operation| operation != "*"),
        effect,
        probability,
        skip: document.skip.unwrap_or(0),
        count: document.count,
        from: from.unwrap_or_default(),
        until,
    })
}

fn effect(document: &FaultDocument) -> Result<Effect, String> {
    let needed = |key: &str| format!("the effect `{}` needs `{key}`", document.effect);
    let duration = || seconds("seconds", document.seconds);
    let effect = match document.effect.as_str() {
        "" => return Err(format!("`effect` is missing; {EFFECTS}")),
        "status" => status(document)?,
        "reset" => Effect::Reset,
        "hang" => Effect::Hang(duration()?),
        "delay" => Effect::Delay(duration()?.ok_or_else(|| needed("seconds"))?),
        "drip" => match document.bytes_per_second {
            Some(rate) if rate > 0 => Effect::Drip(rate),
            _ => return Err(format!("{}, at least 1", needed("bytes_per_second"))),
        },
        "lose-answer" => Effect::LoseAnswer,
        "half-answer" => Effect::HalfAnswer,
        "stale-page" => Effect::StalePage,
        other => return Err(format!("`{other}` is not an effect; {EFFECTS}")),
    };
    check_foreign_keys(document)?;
    Ok(effect)
}

fn status(document: &FaultDocument) -> Result<Effect, String> {
    let status = document.status.ok_or("the effect `status` needs `status`, for example 503")?;
    if !(400..600).contains(&status) {
        return Err(format!("`status` is {status}, but must be from 400 to 599"));
    }
    let code = match (document.code.as_deref(), status) {
        (Some(name), _) => {
            let code = ErrorCode::from_name(name).ok_or_else(|| format!("`{name}` is not an error code"))?;
            if code.http_status() != status {
                return Err(format!("the code {name} goes with status {}, not {status}", code.http_status()));
            }
            Some(code)
        }
        (None, 429) => Some(ErrorCode::ThrottlingException),
        (None, 500) => Some(ErrorCode::ServerError),
        (None, 502 | 504) => None,
        (None, 503) => Some(ErrorCode::ServiceUnavailable),
        (None, _) => return Err(format!("a `status` of {status} needs `code`")),
    };
    Ok(Effect::Status { status, code, retry_after: document.retry_after })
}

/// Refuses keys that the effect does not use, because they most likely show a mistake in the
/// effect.
fn check_foreign_keys(document: &FaultDocument) -> Result<(), String> {
    let given = [
        ("status", document.status.is_some(), &["status"][..]),
        ("code", document.code.is_some(), &["status"]),
        ("retry_after", document.retry_after.is_some(), &["status"]),
        ("seconds", document.seconds.is_some(), &["delay", "hang"]),
        ("bytes_per_second", document.bytes_per_second.is_some(), &["drip"]),
    ];
    let effect = document.effect.as_str();
    match given.iter().find(|(_, given, effects)| *given && !effects.contains(&effect)) {
        Some((key, _, _)) => Err(format!("the effect `{effect}` has no `{key}`")),
        None => Ok(()),
    }
}

fn seconds(key: &str, value: Option<f64>) -> Result<Option<Duration>, String> {
    let duration = value.map(Duration::try_from_secs_f64).transpose();
    duration.map_err(|_| format!("`{key}` must be a number of seconds from 0 on"))
}

fn document(fault: &Fault) -> FaultDocument {
    let mut document = FaultDocument {
        operation: fault.operation.clone(),
        effect: fault.effect.name().to_owned(),
        probability: Some(fault.probability),
        skip: Some(fault.skip),
        count: fault.count,
        from: Some(fault.from.as_secs_f64()),
        until: fault.until.map(|until| until.as_secs_f64()),
        ..FaultDocument::default()
    };
    document.set_parameters(&fault.effect);
    document
}

impl FaultDocument {
    /// Writes what an effect has beside its name.
    fn set_parameters(&mut self, effect: &Effect) {
        match effect {
            Effect::Status { status, code, retry_after } => {
                self.status = Some(*status);
                self.code = code.map(|code| code.name().to_owned());
                self.retry_after = *retry_after;
            }
            Effect::Hang(duration) => self.seconds = duration.map(|duration| duration.as_secs_f64()),
            Effect::Delay(duration) => self.seconds = Some(duration.as_secs_f64()),
            Effect::Drip(rate) => self.bytes_per_second = Some(*rate),
            Effect::Reset | Effect::LoseAnswer | Effect::HalfAnswer | Effect::StalePage => {}
        }
    }
}

const EFFECTS: &str = "there are status, reset, hang, delay, drip, lose-answer, half-answer and stale-page";
