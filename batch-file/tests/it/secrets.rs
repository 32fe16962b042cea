//! Secrets in any column of a batch: no message repeats them.

use serde_json::json;

use crate::{open, read, report};

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const LONG_KEY: &str =
    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
/// A part of each secret that stands in no harmless text.
const MARKS: [&str; 2] = ["MDEyMzQ1", "OWFiY2Rl"];

const COLUMNS: [&str; 25] = [
    "device_id",
    "module_id",
    "auth",
    "primary_thumbprint",
    "secondary_thumbprint",
    "primary_key",
    "secondary_key",
    "certificate",
    "private_key",
    "csr",
    "public_key",
    "status",
    "status_reason",
    "edge",
    "parent",
    "twin",
    "profile",
    "not_before",
    "serial",
    "tags.site",
    "tags.count:number",
    "desired.list:json",
    "desired.on:boolean",
    "x_note",
    "no_such_column",
];

/// Keys as they are, damaged, within lists and objects, and in connection strings.
fn secrets() -> Vec<String> {
    let keys = [KEY, LONG_KEY];
    let mut secrets: Vec<String> = keys.iter().map(ToString::to_string).collect();
    for key in keys {
        let digits = key.trim_end_matches('=');
        secrets.extend([
            digits.to_owned(),
            key[1..].to_owned(),
            format!("{digits}!"),
            format!("{key} {key}"),
        ]);
        secrets.push(format!("HostName=h.azure-devices.net;DeviceId=d;SharedAccessKey={key}"));
        secrets.push(format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----"));
    }
    let nested: Vec<String> = secrets
        .iter()
        .flat_map(|one| [json!([one]).to_string(), json!({"a": {"b": one}}).to_string()])
        .collect();
    secrets.extend(nested);
    secrets
}

fn check(batch: String, what: &str) {
    let told = match open(batch.clone()) {
        Ok(_) => {
            let batch = read(batch);
            let rows = batch.bad_rows.iter().flat_map(|row| &row.problems);
            let warnings = batch.rows.iter().flat_map(|row| &row.warnings);
            let json: Vec<String> =
                rows.chain(warnings).map(|problem| serde_json::to_string(problem).unwrap()).collect();
            format!("{}{}", report(&batch).concat(), json.concat())
        }
        Err(error) => format!("{error} {error:?}"),
    };
    for mark in MARKS {
        assert!(!told.contains(mark), "{what}: {told}");
    }
}

#[test]
fn no_message_repeats_a_key_in_whatever_column_it_stands() {
    for secret in secrets() {
        let cell = format!("\"{}\"", secret.replace('"', "\"\""));
        for column in COLUMNS {
            let what = format!("{column}: {secret}");
            match column {
                "device_id" => check(format!("device_id\n{cell}\n{cell}\n"), &what),
                _ => check(format!("device_id,{column}\nd1,{cell}\nd1,{cell}\n"), &what),
            }
            let value = serde_json::from_str(&secret).unwrap_or_else(|_| json!(secret));
            for value in [json!(secret), value, json!([secret]), json!({"a": secret})] {
                let row = json!({"device_id": "d1", column: value});
                check(format!("{row}\n{row}\n"), &what);
            }
        }
        // Too many cells, no header, a header that is a key, and lines that are no objects.
        check(format!("device_id,tags.site\nd1,a,{cell}\n"), &secret);
        check(format!("{cell},d1\n{cell},d2\n"), &secret);
        check(format!("device_id,{cell}\nd1,x\n"), &secret);
        check(format!("{{\"device_id\": \"d1\"}}\n{}\n", json!(secret)), &secret);
        check(format!("{}\n", json!({"device_id": "d1", &secret: 1})), &secret);
    }
}
