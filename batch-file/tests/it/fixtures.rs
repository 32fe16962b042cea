//! The batches under `fixtures/`.

use std::fs;

use batch_file::{Batch, BatchReader, ReadOptions, Row};

use crate::{fixture, read, refusal, report};

fn read_fixture(name: &str) -> Batch {
    read(fs::read(fixture(name)).unwrap())
}

#[test]
fn the_tutorial_is_a_device_and_its_module() {
    let batch = read_fixture("tutorial.csv");
    assert_eq!(report(&batch), [""; 0]);
    let names: Vec<_> = batch.rows.iter().map(|row| row.identity.common_name()).collect();
    assert_eq!(names, ["device01", "device01/module01"]);
    assert_eq!(
        serde_json::Value::from((*batch.rows[1].desired).clone()),
        serde_json::json!({"conditions": {"temperature": {"warning": 75, "critical": 100}}})
    );
}

#[test]
fn the_work_order_is_clean_and_the_same_as_excel_saves_it() {
    let plain = read_fixture("pump-line.csv");
    let excel = read_fixture("pump-line-excel.csv");
    assert_eq!(report(&plain), [""; 0]);
    assert_eq!(report(&excel), [""; 0]);
    assert_eq!(plain.rows.len(), 1920);
    let meaning = |row: &Row| {
        let row = Row { cells: plain.rows[0].cells.clone(), ..row.clone() };
        format!("{row:?}")
    };
    for (plain, excel) in plain.rows.iter().zip(&excel.rows) {
        assert_eq!(meaning(plain), meaning(excel));
    }
    assert_eq!(plain.rows.len(), excel.rows.len());
    assert_eq!(plain.rows[0].tags["serial"], "0000001");
    assert_eq!(plain.rows[0].cells.get("x_line").unwrap(), "L2");
}

#[test]
fn every_mistake_has_its_own_message() {
    let batch = read_fixture("mistakes/mistakes.csv");
    insta::assert_snapshot!(report(&batch).join("\n"));
}

/// Rows whose mistake can be seen in the row are bad, those that say `none`, `warning` or `files` are not.
#[test]
fn each_mistake_is_found_in_the_row_that_has_it() {
    let batch = read_fixture("mistakes/mistakes.csv");
    for row in &batch.rows {
        let mistake = row.cells.get("x_mistake").unwrap().into_owned();
        let (kind, _) = mistake.split_once(": ").unwrap_or_else(|| panic!("not found: {mistake}"));
        assert!(matches!(kind, "none" | "warning" | "files"), "not found: {mistake}");
        assert_eq!(row.warnings.len(), usize::from(kind == "warning"), "{mistake}");
    }
    for row in &batch.bad_rows {
        let mistake = row.cells.as_ref().and_then(|cells| cells.get("x_mistake"));
        if let Some(mistake) = mistake {
            assert!(!mistake.contains(": "), "found without need: {mistake}: {:?}", row.problems);
        }
    }
    assert!(batch.bad_rows.len() >= 50);
}

#[test]
fn no_secret_of_the_mistakes_is_repeated() {
    let batch = read_fixture("mistakes/mistakes.csv");
    let text = report(&batch).join("\n") + &format!("{:?}", batch.bad_rows);
    for secret in ["MDEyMzQ1Njc4", "not*base64", "c2hvcnQ"] {
        assert!(!report(&batch).join("\n").contains(secret), "{secret}");
    }
    assert!(!text.contains("not*base64"), "a key is in Debug");
}

#[test]
fn files_that_are_wrong_as_a_whole_say_why() {
    let refusals = [
        "no-device-id.csv",
        "empty.csv",
        "utf-16-without-mark.csv",
        "nul.csv",
        "array.json",
        "mac-line-ends.csv",
    ]
    .map(|name| refusal(fs::read(fixture("broken").join(name)).unwrap()));
    let reports = ["header.csv", "header-only.csv", "windows-1252.csv"]
        .map(|name| report(&read_fixture(&format!("broken/{name}"))).join("\n"));
    // A test beside the table of columns compares the list with the table.
    let filters = vec![(r"legal are device_id, .*, tags\.…", "legal are device_id, [other columns], tags.…")];
    insta::with_settings!({ filters => filters }, {
        insta::assert_snapshot!([refusals.join("\n"), reports.join("\n")].join("\n"));
    });
}

#[test]
fn paths_are_relative_to_the_batch() {
    let path = fixture("pump-line.csv");
    let reader = BatchReader::open(&path, &ReadOptions::default()).unwrap();
    let row = reader.read_all().rows.remove(0);
    assert_eq!(row.twin_template.unwrap(), path.parent().unwrap().join("twins/pump.json"));
}
