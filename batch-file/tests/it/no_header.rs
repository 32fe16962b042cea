//! Files without a header, whose columns are named by the caller.

use std::fs;
use std::path::Path;

use batch_file::{Batch, BatchReader, BatchWriter, OpenError, ReadOptions};
use tempfile::TempDir;

use crate::{refusal, report};

fn options(columns: &[&str]) -> ReadOptions {
    let columns = columns.iter().map(|&name| name.to_owned()).collect();
    ReadOptions { columns, ..ReadOptions::default() }
}

fn open(text: &'static str, options: &ReadOptions) -> Result<BatchReader, OpenError> {
    BatchReader::from_read(text.as_bytes(), "batch.csv", Path::new(""), options)
}

fn read(text: &'static str, columns: &[&str]) -> Batch {
    open(text, &options(columns)).unwrap().read_all()
}

fn refused(text: &'static str, columns: &[&str]) -> String {
    open(text, &options(columns)).err().unwrap().to_string()
}

#[test]
fn a_list_of_ids_is_a_batch_from_its_first_line() {
    for text in ["\u{FEFF}d1\r\n\r\nd2\r\n", "d1\nd2", "sep=;\nd1;\nd2;;\n"] {
        let batch = read(text, &["device_id"]);
        assert_eq!(report(&batch), [""; 0], "{text:?}");
        let ids: Vec<_> = batch.rows.iter().map(|row| row.identity.common_name()).collect();
        assert_eq!(ids, ["d1", "d2"], "{text:?}");
    }
    assert_eq!(read("d1\n\nd2\n", &["device_id"]).rows[1].line, 3);
}

#[test]
fn columns_have_the_names_that_a_header_may_have() {
    let options = ReadOptions {
        map: vec![("Los".to_owned(), "tags.lot:string".to_owned())],
        modules: vec!["tele".parse().unwrap()],
        ignore: vec!["ERP*".parse().unwrap()],
        ..options(&["deviceId", "Los", "modules.tele.desired.interval", "ERP Menge"])
    };
    let batch = open("d1;007;60;1,5\nd2;008;;\"2;5\"\n", &options).unwrap().read_all();
    assert_eq!(report(&batch), [""; 0]);
    let ids: Vec<_> = batch.rows.iter().map(|row| row.identity.common_name()).collect();
    assert_eq!(ids, ["d1", "d1/tele", "d2", "d2/tele"]);
    assert_eq!(batch.rows[0].tags["lot"], "007");
    assert_eq!(batch.rows[1].desired["interval"], 60);
}

#[test]
fn a_row_of_another_length_is_told_with_its_line() {
    let batch = read("d1,a\nd2,b,c\nd3\n", &["device_id", "x_a"]);
    let said = report(&batch);
    assert!(said[0].starts_with("batch.csv:2: the row has 3 cells, `--columns` names 2"), "{said:?}");
    assert!(said[1].starts_with("batch.csv:3: the row has 1 cells, `--columns` names 2"), "{said:?}");
}

#[test]
fn names_and_content_that_do_not_go_together_are_refused() {
    let header = refused("Device_ID,x_a\nd1,b\n", &["device_id", "x_a"]);
    assert!(header.contains("batch.csv:1: the file has a header, which `--columns` says"), "{header}");
    assert!(refused("d1,b\n", &["x_b", "x_a"]).contains("`--columns` has no such column"));
    assert!(refused("d1,b\n", &["device_id", "x_a", "deviceId"]).contains("two columns give its values"));
    assert!(refused("d1,b\n", &["device_id", "statsu"]).contains("`status`"));
    for json in ["{\"device_id\": \"d1\"}\n", "[\n"] {
        assert!(refused(json, &["device_id"]).contains("JSON, which has names of its own"), "{json}");
    }
}

#[test]
fn a_first_line_that_is_no_header_proposes_the_option() {
    assert!(refusal("PMP-0001\nPMP-0002\n").contains("is read with `--columns device_id`"));
    assert!(refusal("PMP-0001,L7\n").contains("is read with `--columns device_id,…`"));
    assert!(!refusal("status,x_a\nenabled,b\n").contains("--columns"));
}

#[test]
fn failed_rows_are_written_as_they_were_and_read_with_the_same_options() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("failed.csv");
    let reader = open("d1;\"a;b\"\r\nd2;c\r\n", &options(&["device_id", "x_a"])).unwrap();
    let mut writer = BatchWriter::create(&path, reader.format()).unwrap();
    for row in &reader.read_all().rows {
        writer.write(&row.cells).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "d1;\"a;b\"\r\nd2;c\r\n");
}
