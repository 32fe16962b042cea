//! Rows that stand for a device and its modules.

use std::path::Path;

use batch_file::{Batch, BatchReader, ReadOptions, RowAuth};
use serde_json::{Value, json};

use crate::report;

fn options(modules: &[&str]) -> ReadOptions {
    ReadOptions { modules: modules.iter().map(|id| id.parse().unwrap()).collect(), ..ReadOptions::default() }
}

fn read(text: &str, options: &ReadOptions) -> Batch {
    let input = std::io::Cursor::new(text.as_bytes().to_vec());
    BatchReader::from_read(input, "batch.csv", Path::new("lot"), options).unwrap().read_all()
}

fn expand(text: &str) -> Batch {
    read(text, &options(&["telemetry", "updater"]))
}

/// The lines and identities of the good rows.
fn identities(batch: &Batch) -> Vec<(u64, String)> {
    batch.rows.iter().map(|row| (row.line, row.identity.to_string())).collect()
}

#[test]
fn a_row_is_a_device_and_its_modules_and_all_have_its_line() {
    let csv = "device_id,status,x_lot,tags.a,modules.telemetry.tags.a,modules.updater.desired.rate:number\n\
               d0,disabled,L1,1,north,05\nd1,disabled,L1,1,north,5\n d2 ,,L2,2,,7\n";
    let json = r#"{"device_id":"d1","x_lot":"L1","modules.telemetry.tags.a":"north","modules.updater.desired.rate":5}
{"device_id":"d2","x_lot":"L2","modules.updater.desired.rate":7}
"#;
    for (text, lines, bad) in [(csv, [3, 4], vec![2]), (json, [1, 2], vec![])] {
        let batch = expand(text);
        assert_eq!(
            batch.bad_rows.iter().map(|row| row.line).collect::<Vec<_>>(),
            bad,
            "{:?}",
            report(&batch)
        );
        let good: Vec<_> = batch.rows.iter().filter(|row| row.line >= lines[0]).collect();
        let places: Vec<_> = good.iter().map(|row| (row.line, row.identity.to_string())).collect();
        let [one, two] = lines;
        let expected = [
            (one, "d1"),
            (one, "d1/telemetry"),
            (one, "d1/updater"),
            (two, "d2"),
            (two, "d2/telemetry"),
            (two, "d2/updater"),
        ];
        assert_eq!(places, expected.map(|(line, id)| (line, id.to_owned())));
        let modules: Vec<_> = good.iter().filter(|row| row.identity.module().is_some()).collect();
        assert!(modules.iter().all(|row| row.status.is_none() && !row.tags.contains_key("lot")));
        assert!(modules.iter().all(|row| row.cells.get("x_lot").unwrap().starts_with('L')));
    }
}

#[test]
fn a_module_has_its_own_columns_and_the_method_and_free_columns_of_its_device() {
    let batch = expand(
        "device_id,auth,x_lot,x_own,edge,tags.a,modules.telemetry.auth,modules.telemetry.x_own,modules.updater.twin,\
         modules.telemetry.tags.a,modules.updater.tags.b\nd,x509_ca,L1,dev,true,1,sas,tele,u.json,2,3\n",
    );
    assert_eq!(report(&batch), [""; 0]);
    let [device, telemetry, updater] = batch.rows.try_into().unwrap();
    assert_eq!((device.edge, telemetry.edge), (Some(true), None));
    assert_eq!(telemetry.auth, RowAuth::Sas { keys: None });
    assert_eq!((&device.auth, &updater.auth), (&RowAuth::X509Ca, &RowAuth::X509Ca));
    let own = [&device, &telemetry, &updater].map(|row| row.cells.get("x_own").unwrap().into_owned());
    assert_eq!(own, ["dev", "tele", "dev"]);
    assert_eq!(updater.twin_template, Some("lot/u.json".into()));
    let tags = [&device, &telemetry, &updater].map(|row| Value::from((*row.tags).clone()));
    assert_eq!(tags, [json!({"a": 1}), json!({"a": 2}), json!({"b": 3})]);
}

#[test]
fn each_mistake_is_told_once_with_the_columns_name_in_the_file() {
    let batch = expand(
        "device_id,auth,modules.telemetry.primary_thumbprint,modules.updater.tags.n:number\n\
         good,,,\na b,,,x\nc,nonsense,12,\nd,,34,5\ngood,,,\n",
    );
    let said = report(&batch);
    let of = |line: u64| said.iter().filter(|text| text.starts_with(&format!("batch.csv:{line}:"))).count();
    assert_eq!([of(2), of(3), of(4), of(5), of(6)], [0, 2, 1, 1, 1], "{said:#?}");
    assert!(said.iter().any(|text| text.contains(":3: column modules.updater.tags.n: \"x\"")), "{said:#?}");
    assert!(said.iter().any(|text| text.contains(":5: column modules.telemetry.primary_thumbprint: \"34\"")));
    // A bad device has no modules; the other rows of a bad module are good.
    let good: Vec<_> = identities(&batch).into_iter().filter(|(line, _)| *line > 2).collect();
    assert_eq!(good, [(5, "d".to_owned()), (5, "d/updater".to_owned())]);
}

#[test]
fn rows_of_modules_stay_as_they_are_beside_rows_that_are_expanded() {
    let batch =
        expand("device_id,module_id,modules.updater.tags.a\nd,,1\nd,camera,\nd,updater,\nd,radio,2\n");
    let expected = [(2, "d"), (2, "d/telemetry"), (2, "d/updater"), (3, "d/camera")];
    assert_eq!(identities(&batch), expected.map(|(line, id)| (line, id.to_owned())));
    let said = report(&batch);
    assert!(said[0].contains(":4: column module_id: \"d/updater\""), "{said:#?}");
    let wanted = ":5: column modules.updater.tags.a: the column is for a module of the row's device";
    assert!(said[1].contains(wanted), "{said:#?}");
}

#[test]
fn an_expansion_beyond_fifty_modules_is_one_error_with_its_place() {
    let ids: Vec<_> = (0..51).map(|number| format!("m{number}")).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let batch = read("device_id\nd1\nd2\n", &options(&ids));
    let said = report(&batch);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with("batch.csv:1: column modules: the expansion makes 51 modules of each row"),
        "{said:#?}"
    );
    let batch = read("device_id,module_id\nd1,\nd1,one\n", &options(&ids[..50]));
    assert!(report(&batch)[0].starts_with("batch.csv:3: column module_id: \"one\": a device has at most 50"));
    for (ids, wanted) in [(["a", "a"], "listed twice"), (["$edgeAgent", "a"], "begin with `$`")] {
        let batch = read("{\"device_id\":\"d\"}\n", &options(&ids));
        assert!(batch.file_problems[0].to_string().contains(wanted), "{:?}", report(&batch));
        assert_eq!(batch.file_problems[0].column.as_deref(), Some("modules"));
    }
}

#[test]
fn a_column_of_a_module_that_is_not_listed_is_an_error_of_the_header() {
    let batch = read("device_id,modules.camera.tags.a\nd,1\n", &ReadOptions::default());
    let wanted = "batch.csv:1: column modules.camera.tags.a: the column is for the module `camera`, which is not listed";
    assert!(report(&batch)[0].starts_with(wanted), "{:?}", report(&batch));
    let mut options = options(&["telemetry"]);
    options.map = vec![("Cam".to_owned(), "modules.camera.tags.a".to_owned())];
    let input = std::io::Cursor::new(b"device_id,Cam\n".to_vec());
    let error = BatchReader::from_read(input, "batch.csv", Path::new(""), &options).err().unwrap();
    assert!(error.to_string().contains("`modules.camera.tags.a`, to which `Cam` is mapped"), "{error}");
}

#[test]
fn keys_of_modules_are_shown_nowhere() {
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let batch = expand(&format!(
        "device_id,auth,modules.updater.primary_key,modules.updater.secondary_key\nd,sas,{key},{key}\ne,sas,{key},\n"
    ));
    assert!(!format!("{batch:?}").contains(key));
    assert!(
        matches!(&batch.rows[2].auth, RowAuth::Sas { keys: Some(keys) } if keys.primary.expose_text() == key)
    );
}

#[test]
fn ignored_columns_are_not_read_but_may_hold_no_secret() {
    let options = ReadOptions {
        ignore: vec!["ERP_*".parse().unwrap(), "Menge".parse().unwrap()],
        map: vec![("ERP_Serial".to_owned(), "device_id".to_owned())],
        ..ReadOptions::default()
    };
    let text = "erp_serial,ERP_Lot,menge,ERP_Lot\nd1,#REF!,1,1.2E+11\nd2,SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0,2,\n";
    let batch = read(text, &options);
    assert_eq!(identities(&batch), [(2, "d1".to_owned())]);
    assert_eq!(batch.rows[0].cells.iter().count(), 1);
    let said = report(&batch);
    assert!(
        said.len() == 1 && said[0].contains(":3: column ERP_Lot: the cell holds a shared access key"),
        "{said:?}"
    );
}
