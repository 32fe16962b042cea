//! Input that nobody means well with, or that something went wrong with.

use std::io::{self, Cursor, Read};
use std::path::Path;

use batch_file::{BatchReader, Problem, ReadOptions};
use proptest::prelude::*;

use crate::{open, read, refusal, report};

#[test]
fn ten_megabytes_of_zeros_are_refused_at_their_first() {
    assert!(refusal(vec![0; 10_000_000]).contains("byte 1 of the file is NUL"));
}

#[test]
fn utf16_without_its_mark_is_refused() {
    let utf16: Vec<u8> = "device_id,status\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refusal(utf16).contains("UTF-16 without a byte order mark"));
}

/// A text as UTF-16 with a mark, by the order of its bytes.
fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

#[test]
fn damaged_utf16_costs_its_row_only_and_is_told_with_its_place() {
    let mut bytes = utf16("device_id,tags.site\r\nd1,K\u{F6}ln\r\nd2,Gr", u16::to_be_bytes);
    bytes.extend_from_slice(&[0xD8, 0x00]);
    bytes.extend("z\r\nd3,Graz\r\nd4,\0\r\nd5".encode_utf16().flat_map(u16::to_be_bytes));
    bytes.push(0);
    let batch = read(bytes);
    assert_eq!(batch.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4]);
    let report = report(&batch);
    let expected = [
        "batch.csv:3: half a character of UTF-16 stands at line 3, character 6",
        "batch.csv:5: there is a NUL byte at line 5, character 4",
        "batch.csv:6: half a character of UTF-16 stands at line 6, character 3",
    ];
    assert_eq!(report.len(), expected.len(), "{report:?}");
    for (found, expected) in report.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

proptest! {
    #[test]
    fn a_batch_is_the_same_in_every_encoding(
        rows in proptest::collection::vec(("[a-zA-Z0-9-]{0,5}", "[a-zäß€🔑\",;\r\n #]{0,9}"), 0..12),
        json in any::<bool>(),
    ) {
        let mut text = if json { String::new() } else { "device_id,x_note\n".to_owned() };
        for (id, note) in &rows {
            match json {
                true => text.push_str(&format!("{{\"device_id\": {id:?}, \"x_note\": {note:?}}}\n")),
                false => text.push_str(&format!("{id},{note}\n")),
            }
        }
        let all = |bytes: Vec<u8>| match open(bytes) {
            Ok(reader) => {
                let batch = reader.read_all();
                let rows: Vec<_> = batch.rows.iter().map(|row| format!("{row:?}")).collect();
                (rows, report(&batch))
            }
            Err(error) => (Vec::new(), vec![error.to_string()]),
        };
        let plain = all(text.clone().into_bytes());
        prop_assert_eq!(&all(utf16(&text, u16::to_le_bytes)), &plain);
        prop_assert_eq!(&all(utf16(&text, u16::to_be_bytes)), &plain);
    }
}

#[test]
fn a_hundred_thousand_columns_are_refused() {
    let header: String = (0..100_000).map(|n| format!("x_{n},")).collect();
    assert!(refusal(header + "device_id\n").contains("100001 columns, more than 1000"));
}

#[test]
fn a_huge_line_costs_its_row_only() {
    let batch = read(format!("device_id,x_a\nd1,{}\nd2,\n", "y".repeat(5_000_000)));
    assert_eq!(batch.rows.len(), 1);
    assert_eq!(batch.rows[0].line, 3);
    assert!(report(&batch)[0].starts_with("batch.csv:2: the line is longer than 1024 KiB"));
}

#[test]
fn a_huge_header_is_refused() {
    assert!(refusal("x".repeat(3_000_000)).contains("longer than 1024 KiB"));
}

#[test]
fn an_empty_file_is_refused_and_a_header_alone_is_a_warning() {
    for nothing in ["", "\u{FEFF}", "\r\n\n", "sep=;\n"] {
        assert!(refusal(nothing).contains("the file is empty"), "{nothing:?}");
    }
    let batch = read("device_id\n");
    assert_eq!(batch.file_problems.len(), 1);
    assert!(!batch.file_problems[0].is_error());
}

#[test]
fn reading_that_fails_midway_is_a_problem_of_the_file() {
    struct Gone;
    impl Read for Gone {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the share is gone"))
        }
    }
    let text = [b"device_id\n".to_vec(), b"d\n".repeat(2500)].concat();
    let options = ReadOptions::default();
    let reader =
        BatchReader::from_read(Cursor::new(text).chain(Gone), "b.csv", Path::new(""), &options).unwrap();
    let batch = reader.read_all();
    let last = batch.file_problems.last().unwrap();
    assert!(last.is_error() && last.message.contains("the share is gone"), "{last}");
}

#[test]
fn terminal_codes_in_values_are_not_passed_on() {
    let batch = read("device_id\n\u{1b}[31mred\u{202e}\n");
    let text = report(&batch).join("");
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
}

#[test]
fn a_deeply_nested_object_is_an_error_and_no_overflow() {
    let batch = read(format!("{{\"device_id\":\"d\",\"tags.a\":{}}}\n", "[".repeat(200_000)));
    assert!(report(&batch)[0].contains("nested too deep"), "{:?}", report(&batch));
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        if let Ok(reader) = open(bytes) {
            reader.read_all();
        }
    }

    #[test]
    fn no_rows_are_a_panic_and_every_bad_row_says_why(text in "([a-z0-9.$#\\-=+/{}\\[\\]:\", é]{0,9}[,\n]){0,60}") {
        let header = "device_id,module_id,auth,primary_thumbprint,csr,status,parent,tags.a,tags.a.b,desired.c:json\n";
        let batch = open(format!("{header}{text}")).unwrap().read_all();
        for row in &batch.bad_rows {
            prop_assert!(row.problems.iter().any(Problem::is_error));
        }
        for row in &batch.rows {
            prop_assert!(!row.warnings.iter().any(Problem::is_error));
        }
    }

    #[test]
    fn no_object_is_a_panic(text in "\\{(\"(device_id|tags\\.a|status|x_a)\":([0-9]{1,4}|\"[a-z]{0,4}\"|null|\\[1\\]),?){0,5}\\}?") {
        if let Ok(reader) = open(text) {
            reader.read_all();
        }
    }
}
