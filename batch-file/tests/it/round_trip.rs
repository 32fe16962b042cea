//! Rows written back as they were.

use std::fs;
use std::path::Path;

use batch_file::{Batch, BatchReader, BatchWriter, Cells, Format, ReadOptions};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::{fixture, open, report};

/// Writes the cells and returns the file's bytes.
fn written<'a>(format: &Format, cells: impl Iterator<Item = &'a Cells>) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("failed.csv");
    let mut writer = BatchWriter::create(&path, format).unwrap();
    for cells in cells {
        writer.write(cells).unwrap();
    }
    writer.finish().unwrap();
    fs::read(path).unwrap()
}

/// Every row of a batch that can be split into cells, in the file's order.
fn all_cells(batch: &Batch) -> Vec<&Cells> {
    let good = batch.rows.iter().map(|row| (row.line, &row.cells));
    let bad = batch.bad_rows.iter().filter_map(|row| Some((row.line, row.cells.as_ref()?)));
    let mut all: Vec<_> = good.chain(bad).collect();
    all.sort_by_key(|(line, _)| *line);
    all.into_iter().map(|(_, cells)| cells).collect()
}

fn rewritten(text: Vec<u8>) -> Vec<u8> {
    let reader = open(text).unwrap();
    let format = reader.format().clone();
    written(&format, all_cells(&reader.read_all()).into_iter())
}

#[test]
fn fixtures_come_back_byte_for_byte() {
    for name in ["tutorial.csv", "pump-line.csv", "pump-line-excel.csv"] {
        let text = fs::read(fixture(name)).unwrap();
        assert!(rewritten(text.clone()) == text, "{name} has changed");
    }
    let json = b"{\"x_b\":1.50,\"device_id\":89014103211118510720,\"tags.a\":{\"b\":1e2},\"tags.n\":1.50}\n";
    assert_eq!(
        String::from_utf8(rewritten(json.to_vec())).unwrap(),
        "{\"x_b\":\"1.50\",\"device_id\":\"89014103211118510720\",\"tags.a\":{\"b\":100.0},\"tags.n\":1.5}\n",
        "numbers whose digits count are texts, others have the same value"
    );
}

#[test]
fn bad_rows_come_back_with_their_mistakes() {
    let text = fs::read(fixture("mistakes/mistakes.csv")).unwrap();
    let before = open(text.clone()).unwrap().read_all();
    let after = open(rewritten(text)).unwrap().read_all();
    let split = |batch: &Batch| batch.bad_rows.iter().filter(|row| row.cells.is_some()).count();
    assert_eq!(split(&before), split(&after));
    assert_eq!(before.rows.len(), after.rows.len());
}

#[test]
fn a_mapped_name_is_written_as_it_was() {
    let map = vec![("Seriennummer".into(), "device_id".into())];
    let options = ReadOptions { map, ..ReadOptions::default() };
    let text = "Seriennummer;x_a\r\nd1;1\r\n";
    let reader = BatchReader::from_read(text.as_bytes(), "b", Path::new(""), &options).unwrap();
    let format = reader.format().clone();
    assert_eq!(written(&format, all_cells(&reader.read_all()).into_iter()), text.as_bytes());
}

#[test]
fn nothing_is_there_until_the_file_is_whole() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("issued.csv");
    let mut writer = BatchWriter::create(&path, &Format::csv(["device_id", "x_a"])).unwrap();
    writer.write_texts(["d1", "a,b"]).unwrap();
    assert!(!path.exists());
    writer.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "device_id,x_a\nd1,\"a,b\"\n");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("failed.csv");
    BatchWriter::create(&path, &Format::csv(["device_id"])).unwrap().finish().unwrap();
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = BatchWriter::create("/nowhere/at/all/failed.csv", &Format::csv(["device_id"])).err().unwrap();
    assert_eq!(error.to_string(), "can't write `/nowhere/at/all/failed.csv`");
}

proptest! {
    #[test]
    fn every_text_comes_back(
        rows in proptest::collection::vec(("[a-z]{1,9}", "[ab\",;\t\r\n üx#']{0,9}", "\\PC{0,9}"), 1..9),
        delimiter in proptest::sample::select(vec![",", ";", "\t", "|"]),
        line_end in proptest::sample::select(vec!["\n", "\r\n"]),
    ) {
        let header = ["device_id", "x_a", "x_b"].join(delimiter);
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let lines: String = rows
            .iter()
            .map(|(id, a, b)| [id.clone(), quoted(a), quoted(b)].join(delimiter) + line_end)
            .collect();
        let first = open(format!("{header}{line_end}{lines}")).unwrap();
        let format = first.format().clone();
        let first = first.read_all();
        let again = open(written(&format, all_cells(&first).into_iter())).unwrap();
        prop_assert_eq!(again.format(), &format);
        let again = again.read_all();
        prop_assert_eq!(report(&again).len(), report(&first).len());
        for (cells, (id, a, b)) in all_cells(&again).into_iter().zip(&rows) {
            let texts: Vec<_> = cells.iter().map(|(_, text)| text.into_owned()).collect();
            prop_assert_eq!(texts, [id.as_str(), a.as_str(), b.as_str()]);
        }
    }
}
