//! The meaning of cells, alone and combined.

use std::path::{Path, PathBuf};

use batch_file::{BatchReader, PemSource, ReadOptions, RowAuth};
use hub_types::identity::Status;
use serde_json::{Value, json};

use crate::{read, report};

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

#[test]
fn every_column_reaches_its_field() {
    let sha256 = "ab:".repeat(31) + "AB";
    let text = format!(
        "device_id,auth,primary_thumbprint,certificate,private_key,status,status_reason,edge,parent,twin,serial,not_before\n\
         d1,x509_thumbprint,{sha256},certs.pem#1024,keys/d1.pem,Disabled,waits,TRUE,gw,twins/a.json,01AF,2026-01-01T00:00:00Z\n"
    );
    let row = read(text).rows.remove(0);
    let thumbprint = "AB".repeat(32).parse().unwrap();
    assert_eq!(row.auth, RowAuth::X509Thumbprint { primary: Some(thumbprint), secondary: None });
    assert_eq!(row.certificate, Some(PathBuf::from("lot/certs.pem#1024")));
    assert_eq!(row.private_key, Some(PathBuf::from("lot/keys/d1.pem")));
    assert_eq!(row.status, Some(Status::Disabled));
    assert_eq!(row.status_reason.unwrap().as_str(), "waits");
    assert_eq!(row.edge, Some(true));
    assert_eq!(row.parent.unwrap().as_str(), "gw");
    assert_eq!(row.twin_template, Some(PathBuf::from("lot/twins/a.json")));
}

#[test]
fn auth_is_x509_by_thumbprint_unless_the_row_says_otherwise() {
    let text = format!(
        "device_id,auth,primary_key,secondary_key\na,,,\nb,sas,,\nc,SAS,{KEY},{KEY}\nd,x509_ca,,\ne,selfSigned,,\n"
    );
    let batch = read(text);
    assert_eq!(report(&batch), [""; 0]);
    let none = RowAuth::X509Thumbprint { primary: None, secondary: None };
    let auth: Vec<_> = batch.rows.iter().map(|row| &row.auth).collect();
    assert_eq!(auth[0], &none);
    assert_eq!(auth[1], &RowAuth::Sas { keys: None });
    assert!(matches!(auth[2], RowAuth::Sas { keys: Some(keys) } if keys.primary.expose_text() == KEY));
    assert_eq!((auth[3], auth[4]), (&RowAuth::X509Ca, &none));
}

#[test]
fn a_csr_is_a_file_or_a_pem() {
    let pem = "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----";
    let batch = read(format!("device_id,csr\na,a.csr\nb,\"{pem}\n\"\n"));
    assert_eq!(batch.rows[0].csr, Some(PemSource::Path("lot/a.csr".into())));
    assert_eq!(batch.rows[1].csr, Some(PemSource::Pem(pem.into())));
}

#[test]
fn a_csr_in_a_cell_may_have_lost_or_changed_its_line_ends() {
    let base64 = format!("MIIBIjAN{}", "A".repeat(164));
    let lines = [&base64[..64], &base64[64..128], &base64[128..]].join("\n");
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{lines}\n-----END CERTIFICATE REQUEST-----");
    let cells = [
        pem.clone(),
        pem.replace('\n', "\\n"),
        pem.replace('\n', "\\r\\n") + "\\r\\n",
        lines.clone(),
        lines.replace('\n', "\r\n") + "\r\n",
        lines.replace('\n', "\\n"),
        base64.clone(),
    ];
    for cell in &cells {
        let batch = read(format!("device_id,csr\na,\"{cell}\"\n"));
        let Some(PemSource::Pem(found)) = batch.rows.first().and_then(|row| row.csr.as_ref()) else {
            panic!("{cell}: {:?}", report(&batch))
        };
        let digits: String = found.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        assert_eq!(digits, base64, "{cell}");
    }
    let batch = read("device_id,csr\na,certs\\new.csr\n");
    assert_eq!(batch.rows[0].csr, Some(PemSource::Path("lot/certs\\new.csr".into())));
}

#[test]
fn a_header_may_end_in_delimiters() {
    for text in ["device_id;tags.a;\nd1;x;\nd2;y\n", "device_id;tags.a; ;\nd1;x;;\nd2;y;\n"] {
        let batch = read(text);
        assert_eq!(report(&batch), [""; 0], "{text}");
        let tags: Vec<_> = batch.rows.iter().map(|row| row.tags["a"].as_str().unwrap()).collect();
        assert_eq!(tags, ["x", "y"]);
    }
    let batch = read("device_id;tags.a;\nd1;x;more\n");
    assert!(report(&batch)[0].contains("the row has 3 cells, the header has 2"), "{:?}", report(&batch));
}

#[test]
fn an_id_that_does_not_match_the_pattern_is_an_error_with_its_line() {
    let options = ReadOptions { id_pattern: Some(r"\d{4}".parse().unwrap()), ..ReadOptions::default() };
    let text = "device_id,module_id\n0071,\n0071,m\n72,\n73,m\n";
    let reader = BatchReader::from_read(text.as_bytes(), "b.csv", Path::new(""), &options).unwrap();
    let batch = reader.read_all();
    let bad: Vec<_> = batch.bad_rows.iter().map(|row| (row.line, row.problems[0].message.as_str())).collect();
    let message = r"the id does not match the pattern `\d{4}`";
    assert_eq!(bad, [(4, message), (5, message)]);
}

#[test]
fn a_status_reason_is_kept_as_it_is_and_blanks_around_ids_are_told_of() {
    let batch = read(
        "device_id,status,status_reason\nb,disabled,\"  in repair \"\nc , disabled ,x\nd,disabled,\"  \"\n",
    );
    assert_eq!(batch.rows[0].status_reason.as_ref().unwrap().as_str(), "  in repair ");
    let said = report(&batch);
    assert!(
        said.iter().any(|text| text
            .starts_with("batch.csv:3: warning: column device_id: \"c \": blanks before or behind")),
        "{said:?}"
    );
    assert!(
        said.iter().any(|text| text.starts_with("batch.csv:4: column status_reason")
            && text.contains("nothing but blanks")),
        "{said:?}"
    );
}

#[test]
fn an_unclosed_quote_is_one_message_however_many_lines_follow() {
    let rest = "x\n".repeat(600_000);
    let batch = read(format!("device_id,tags.a\na,1\nb,\"2\n{rest}"));
    let said = report(&batch);
    assert_eq!((batch.rows.len(), batch.bad_rows.len(), said.len()), (1, 1, 2), "{said:?}");
    assert!(said[0].contains("600000 lines behind it are no rows by themselves"), "{said:?}");
    let batch = read("device_id,tags.a\na,1\nb,\"2\nc,3\n");
    assert_eq!((batch.rows.len(), batch.bad_rows.len(), report(&batch).len()), (2, 1, 1));
}

#[test]
fn a_public_key_is_a_file_a_pem_or_base64_and_stands_alone() {
    let der = format!("MFkw{}", "A".repeat(120));
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----");
    let batch = read(format!(
        "device_id,public_key,csr\na,a.pub,\nb,\"{pem}\n\",\nc,{}B,\nd,d.pub,d.csr\ne,-----BEGIN RSA PUBLIC KEY-----,\n",
        &der[..123]
    ));
    assert_eq!(batch.rows[0].public_key, Some(PemSource::Path("lot/a.pub".into())));
    assert_eq!(batch.rows[1].public_key, Some(PemSource::Pem(pem)));
    assert!(
        matches!(&batch.rows[2].public_key, Some(PemSource::Pem(pem)) if pem.contains("AAB\n-----END PUBLIC"))
    );
    let said = report(&batch);
    assert!(said[0].contains("column public_key: `csr` is given too"), "{said:?}");
    assert!(said[1].contains("this PEM is no whole public key"), "{said:?}");
    // What it decodes to decides, not its length: a compressed point, an RSA key of PKCS #1, DER that was cut off.
    let compressed = format!("MDkw{}", "A".repeat(76));
    let rsa = "-----BEGIN RSA PUBLIC KEY-----\nMAkCAwEAAQICAQE=\n-----END RSA PUBLIC KEY-----";
    let batch = read(format!(
        "device_id,public_key\na,{compressed}\nb,\"{rsa}\"\nc,MIIBCgKC\nd,MDkwEwYH\ne,MACHINE1\n"
    ));
    let pems: Vec<_> = batch.rows[..4]
        .iter()
        .map(|row| match &row.public_key {
            Some(PemSource::Pem(pem)) => pem.split_once("-----\n").unwrap().0,
            other => panic!("{other:?}"),
        })
        .collect();
    let (any, rsa) = ("-----BEGIN PUBLIC KEY", "-----BEGIN RSA PUBLIC KEY");
    assert_eq!(pems, [any, rsa, rsa, any]);
    assert_eq!(batch.rows[4].public_key, Some(PemSource::Path("lot/MACHINE1".into())));
}

#[test]
fn a_certificate_or_csr_belongs_to_one_identity() {
    let thumbprint = "AB".repeat(20);
    let batch = read(format!(
        "device_id,auth,certificate,csr,secondary_thumbprint\n\
         a,x509_ca,a.pem,,\nb,x509_ca,a.pem,,\nc,,,c.csr,\nd,,,c.csr,\n\
         e,,,,{thumbprint}\nf,,,,{}\ng,,certs.pem#0,,\nh,,certs.pem#900,,\n",
        thumbprint.to_lowercase()
    ));
    let bad: Vec<_> = batch.bad_rows.iter().map(|row| row.line).collect();
    assert_eq!(bad, [3, 5, 7], "{:?}", report(&batch));
    assert!(report(&batch)[0].contains("the identity on line 2 has the same one"));
}

#[test]
fn blank_rows_are_passed_over_and_lines_are_counted() {
    let batch = read("sep=;\r\ndevice_id;status\r\n\r\nd1;\r\n;\r\nd2;enabled\r\n");
    let lines: Vec<_> = batch.rows.iter().map(|row| row.line).collect();
    assert_eq!((lines, batch.bad_rows.len()), (vec![4, 6], 0));
}

#[test]
fn json_lines_have_the_same_names_and_types_of_their_own() {
    let batch = read(
        r#"{"deviceId":"d","moduleId":null,"tags.a":"5","tags.b":{"c":[1,true]},"desired.n":1.5,"x_n":7}
{"device_id":"d","module_id":"m","desired.n:string":7,"tags.e":"","tags.f:json":""}

{"device_id":12,"edge":true}
"#,
    );
    assert_eq!(report(&batch), [""; 0]);
    let [device, module, number] = batch.rows.try_into().unwrap();
    assert_eq!(Value::from((*device.tags).clone()), json!({"a": "5", "b": {"c": [1, true]}}));
    assert_eq!(Value::from((*device.desired).clone()), json!({"n": 1.5}));
    assert_eq!(device.cells.get("x_n").unwrap(), "7");
    assert_eq!(Value::from((*module.desired).clone()), json!({"n": "7"}));
    assert_eq!(
        Value::from((*module.tags).clone()),
        json!({"f": ""}),
        "only where JSON is due is an empty string a value"
    );
    assert_eq!((number.identity.common_name().as_str(), number.edge, number.line), ("12", Some(true), 4));
}

#[test]
fn a_number_of_json_lines_keeps_its_digits_where_a_text_is_due() {
    let batch = read(
        r#"{"device_id":89014103211118510720,"x_fw":1.10,"tags.fw:string":1.10,"tags.n":1e5}
{"device_id":1122334455E6,"tags.iccid":89014103211118510720}
{"device_id":"c","tags.a":{"b":[0.1234567890123456789]}}
"#,
    );
    let [row] = batch.rows.as_slice() else { panic!("{:?}", report(&batch)) };
    assert_eq!(row.identity.common_name(), "89014103211118510720");
    assert_eq!(row.cells.get("x_fw").unwrap(), "1.10");
    assert_eq!(Value::from((*row.tags).clone()), json!({"fw": "1.10", "n": 100_000.0}));
    let said = report(&batch);
    assert!(said[0].contains("`1e5` comes back as `100000.0`"), "{said:?}");
    assert!(
        said[1].contains("batch.csv:2: column tags.iccid: \"89014103211118510720\": the integer is outside")
    );
    assert!(
        said[2].contains("batch.csv:3: column tags.a: ") && said[2].contains("(at character 33 of the line)"),
        "{said:?}"
    );
}

#[test]
fn mistakes_in_json_lines_are_reported_like_those_in_csv() {
    let batch = read(
        r#"{"device_id":"a","sttus":"enabled"}
{"device_id":"b","device_id":"c"}
["device_id"]
{"device_id":"d"
{"device_id":"e","status":["enabled"]}
{"device_id":"f","tags.a":1,"tags.a.b":2}
"SharedAccessKey=c2VjcmV0"
{"device_id":"g","tags":{"é":-1e400}}
"#,
    );
    assert!(batch.rows.is_empty());
    insta::assert_snapshot!(report(&batch).join("\n"));
}

#[test]
fn keys_are_in_no_text_but_the_writers() {
    let text = format!("device_id,auth,primary_key,secondary_key,x_note\nd,sas,{KEY},{KEY},hello\n");
    let row = read(text).rows.remove(0);
    assert!(!format!("{row:?}").contains(KEY));
    assert_eq!(row.cells.get("primary_key"), None);
    assert_eq!(row.cells.get("x_note").unwrap(), "hello");
}

#[test]
fn a_cell_too_many_does_not_bring_a_key_under_another_name() {
    let batch = read(format!("device_id,primary_key,x_note\nd,,{KEY},\n"));
    assert!(!format!("{:?}", batch.bad_rows).contains(KEY));
}
