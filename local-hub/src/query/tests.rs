use hub_types::bulk::BulkItem;
use proptest::prelude::*;
use serde_json::{Value, from_value, json};

use super::{PageRequest, Query, run};
use crate::api_error::ApiError;
use crate::registry::{BulkEntry, Journal, Registry};
use crate::storage::hub_tables::Stored;

fn hub_with(items: Value) -> Stored {
    let items: Vec<BulkItem> = from_value(items).unwrap();
    let entries = items.into_iter().map(|item| BulkEntry {
        device: item.id.to_string(),
        module: item.module_id.as_ref().map(ToString::to_string),
        item: Ok(item),
    });
    let mut registry = Registry::default();
    let now = "2026-11-22T10:00:00Z".parse().unwrap();
    let result = registry.bulk(entries.collect(), now, &mut Journal::default());
    assert!(result.is_successful, "{result:?}");
    Stored { registry, ..Stored::default() }
}

fn fleet() -> Stored {
    hub_with(json!([
        {"id": "a", "tags": {"site": "munich", "floor": 1}, "properties": {"desired": {"on": true, "deep": {"n": 5}}}},
        {"id": "b", "tags": {"site": "berlin", "floor": 2}, "status": "disabled", "properties": {"desired": {"on": false}}},
        {"id": "c", "tags": {"site": "munich", "floor": 2.5, "odd name": 1, "list": [1]}},
        {"id": "d", "capabilities": {"iotEdge": true}},
        {"id": "a", "moduleId": "m1", "properties": {"desired": {"k": "v"}}},
        {"id": "a", "moduleId": "m2"},
        {"id": "c", "moduleId": "m1"},
    ]).as_array().unwrap().iter().cloned().map(|mut item| {
        if let Some(tags) = item.get_mut("tags").and_then(Value::as_object_mut) {
            // A space is not legal in a name; a dash is, and no identifier of the language has one.
            if let Some(odd) = tags.remove("odd name") {
                tags.insert("odd-name".to_owned(), odd);
            }
        }
        item
    }).collect())
}

fn page(
    hub: &Stored,
    text: &str,
    size: usize,
    continuation: Option<&str>,
) -> Result<(Value, Option<String>), ApiError> {
    let query = Query::parse(text).map_err(|error| ApiError::argument(error.to_string()))?;
    let request = PageRequest { query: &query, text, size, continuation, model_id: true };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let page = runtime.block_on(run(hub, request))?;
    Ok((serde_json::from_slice(&page.body).unwrap(), page.continuation))
}

/// The ids that a condition selects.
fn found(hub: &Stored, condition: &str) -> Vec<String> {
    let (rows, _) = page(hub, &format!("SELECT * FROM devices WHERE {condition}"), 100, None).unwrap();
    rows.as_array().unwrap().iter().map(|row| row["deviceId"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn conditions_find_what_they_say() {
    let hub = fleet();
    for (condition, ids) in [
        ("deviceId = 'b'", "b"),
        ("'b' = DeviceId", "b"),
        ("deviceId IN ['c', 'a', 'nobody']", "a c"),
        ("deviceId NIN ['c', 'a']", "b d"),
        ("deviceId = 'b' AND tags.floor > 5", ""),
        ("status = 'disabled'", "b"),
        ("capabilities.iotEdge = true", "d"),
        ("tags.site = 'munich' and tags.floor >= 2", "c"),
        ("tags.site = \"munich\" or tags.site = 'berlin'", "a b c"),
        ("NOT tags.site = 'munich'", "b"),
        ("tags.site != 'munich'", "b"),
        ("tags.site <> 'munich'", "b"),
        ("tags.floor < 2", "a"),
        ("tags.floor <= 2", "a b"),
        ("tags.floor = '2'", ""),
        ("tags.[[odd-name]] = 1", "c"),
        ("tags['odd-name'] = 1", "c"),
        ("properties['desired']['deep'].n = 5", "a"),
        ("properties.desired.on", "a"),
        ("properties.desired.deep.n = 5", "a"),
        ("properties.desired.$version = 1 AND is_defined(properties.desired.on)", "a b"),
        ("properties.desired.$metadata.on.$lastUpdatedVersion = 1", "a b"),
        ("properties.reported.$metadata.$lastUpdated > '2026-01-01'", "a b c d"),
        ("is_defined(tags.site)", "a b c"),
        ("NOT is_defined(tags.site)", "d"),
        ("is_object(properties.desired.deep)", "a"),
        ("is_array(tags.list)", "c"),
        ("is_bool(properties.desired.on)", "a b"),
        ("is_number(tags.floor)", "a b c"),
        ("is_string(tags.site)", "a b c"),
        ("is_primitive(tags.site) AND NOT is_null(tags.site)", "a b c"),
        ("is_not_null(tags.list)", "c"),
        ("startswith(tags.site, 'mun')", "a c"),
        ("endswith(tags.site, 'in')", "b"),
        ("contains(tags.site, 'nic')", "a c"),
        ("contains(tags.floor, '2')", ""),
        ("deviceId = 'a' OR deviceId IN ['c', 'a']", "a c"),
        ("deviceId IN ['a', 'b'] AND deviceId IN ['b', 'c']", "b"),
        ("deviceId = 1", ""),
        ("(tags.floor = 1 OR tags.floor = 2) AND status = 'enabled'", "a"),
        ("tags.floor IN [1, 2.5]", "a c"),
        ("tags.nothing = null", ""),
        ("devices.deviceId = 'b'", "b"),
        ("devices.tags.site = 'berlin' AND is_defined(Devices.properties.desired.on)", "b"),
        ("array_contains(tags.list, 1)", "c"),
        ("array_contains(tags.list, 2)", ""),
        ("ARRAY_CONTAINS(tags.site, 'munich')", ""),
        ("array_contains(parentScopes, 'x')", ""),
        ("tags.[[group]] = 1", ""),
    ] {
        assert_eq!(found(&hub, condition).join(" "), ids, "{condition}");
    }
}

/// The row of a module has the ids of both, each with or without the collection's name before it.
#[test]
fn the_name_of_the_collection_may_stand_before_a_path() {
    let hub = fleet();
    let rows = |text: &str| page(&hub, text, 100, None).unwrap().0;
    let m1 = json!([{"deviceId": "a", "moduleId": "m1"}]);
    for condition in [
        "devices.deviceId = 'a' AND devices.modules.moduleId = 'm1'",
        "modules.deviceId = 'a' AND moduleId = 'm1'",
        "deviceId IN ['a'] AND devices.modules.properties.desired.k = 'v'",
    ] {
        let text = format!(
            "SELECT devices.deviceId, devices.modules.moduleId FROM devices.modules WHERE {condition}"
        );
        assert_eq!(rows(&text), m1, "{condition}");
    }
    assert_eq!(
        rows("SELECT devices.status, COUNT() AS n FROM devices GROUP BY devices.status"),
        json!([{"status": "disabled", "n": 1}, {"status": "enabled", "n": 3}])
    );
}

/// A typing error is an error, never an empty result; a member that twins may have is valid, even
/// if no twin has it.
#[test]
fn a_path_that_leads_nowhere_is_named_with_its_place() {
    for (text, message) in [
        ("SELECT * FROM devices WHERE status = enabled", "column 38: `enabled`: twins have no such member"),
        ("SELECT * FROM devices WHERE devices.tag.x = 1", "column 29: `devices.tag.x`: twins have no such"),
        ("SELECT devcieId FROM devices", "column 8: `devcieId`: twins have no such member"),
        ("SELECT * FROM devices WHERE moduleId = 'm'", "column 29: `moduleId`: only devices.modules has it"),
        (
            "SELECT * FROM devices WHERE properties.Desired.a = 1",
            "`properties` has only the members desired, reported",
        ),
        (
            "SELECT * FROM devices WHERE capabilities.edge = true",
            "`capabilities` has only the members iotEdge",
        ),
        ("SELECT * FROM devices WHERE deviceId.x = 1", "`deviceId` has no members"),
        ("SELECT COUNT() AS n FROM devices GROUP BY site", "column 43: `site`: twins have no such member"),
        ("SELECT MAX(floor) FROM devices", "column 12: `floor`: twins have no such member"),
        (
            "SELECT * FROM devices.jobs WHERE devices.jobs.site = 1",
            "rows of devices.jobs have no such member",
        ),
        (
            "SELECT * FROM devices WHERE array_contains(scopes, 'x')",
            "column 44: `scopes`: twins have no such",
        ),
        (
            "SELECT * FROM devices WHERE tags.group = 'a'",
            "column 34: `group` is a word of the query language",
        ),
        ("SELECT tags.select FROM devices", "as a name it is [[select]]"),
    ] {
        let error = Query::parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    for text in [
        "SELECT * FROM devices WHERE tags.anything.at.all = 1 AND configurations.[[c-1]].status = 'Applied'",
        "SELECT tags, properties.reported.a.$lastUpdated, x509Thumbprint.primaryThumbprint FROM devices",
        "SELECT * FROM devices.jobs WHERE devices.jobs.createdTimeUtc > '2016-09-01' AND error.code = '1'",
    ] {
        assert!(Query::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn what_is_missing_is_neither_equal_nor_unequal() {
    let hub = fleet();
    assert!(found(&hub, "tags.nothing != 1").is_empty());
    assert!(found(&hub, "NOT tags.nothing = 1").is_empty());
    assert_eq!(found(&hub, "tags.nothing = 1 OR deviceId != 'x'").len(), 4);
    assert_eq!(found(&hub, "NOT (tags.nothing = 1 AND deviceId = 'x')").len(), 4);
}

#[test]
fn columns_have_the_names_they_are_given() {
    let hub = fleet();
    let (rows, _) = page(
        &hub,
        "SELECT deviceId AS id, tags.site, properties.desired.deep FROM devices WHERE tags.floor=1",
        9,
        None,
    )
    .unwrap();
    assert_eq!(rows, json!([{"id": "a", "site": "munich", "deep": {"n": 5}}]));
}

#[test]
fn aggregates_are_counted_per_group() {
    let hub = fleet();
    let one = |text: &str| page(&hub, text, 100, None).unwrap().0;
    assert_eq!(
        one("SELECT COUNT() AS totalNumberOfDevices FROM devices"),
        json!([{"totalNumberOfDevices": 4}])
    );
    assert_eq!(one("select count() from devices where deviceId='nobody'"), json!([{"$1": 0}]));
    assert_eq!(
        one("SELECT tags.site AS site, COUNT() AS n, MAX(tags.floor) AS top FROM devices GROUP BY tags.site"),
        json!([{"n": 1}, {"site": "berlin", "n": 1, "top": 2}, {"site": "munich", "n": 2, "top": 2.5}])
    );
    assert_eq!(
        one(
            "SELECT SUM(tags.floor) AS s, AVG(tags.floor) AS a, MIN(tags.floor) AS m FROM devices WHERE tags.site='munich'"
        ),
        json!([{"s": 3.5, "a": 1.75, "m": 1}])
    );
}

#[test]
fn pages_give_everything_once_even_while_devices_come_and_go() {
    let hub = fleet();
    let text = "SELECT * FROM devices.modules";
    let (mut names, mut token) = (Vec::new(), None::<String>);
    loop {
        let (rows, next) = page(&hub, text, 2, token.as_deref()).unwrap();
        assert!(rows.as_array().unwrap().len() <= 2);
        for row in rows.as_array().unwrap() {
            names.push(format!(
                "{}/{}",
                row["deviceId"].as_str().unwrap(),
                row["moduleId"].as_str().unwrap()
            ));
        }
        token = next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["a/m1", "a/m2", "c/m1", "d/$edgeAgent", "d/$edgeHub"]);
}

#[test]
fn the_last_page_says_that_it_is() {
    let hub = fleet();
    let (rows, token) = page(&hub, "SELECT * FROM devices", 4, None).unwrap();
    assert_eq!((rows.as_array().unwrap().len(), token), (4, None));
    let (rows, token) = page(&hub, "SELECT TOP 3 * FROM devices", 2, None).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    let (rows, token) = page(&hub, "SELECT TOP 3 * FROM devices", 2, token.as_deref()).unwrap();
    assert_eq!((rows.as_array().unwrap().len(), token), (1, None));
    assert_eq!(page(&hub, "SELECT TOP 0 * FROM devices", 2, None).unwrap(), (json!([]), None));
}

#[test]
fn a_token_of_another_query_is_refused() {
    let hub = fleet();
    let (_, token) = page(&hub, "SELECT * FROM devices", 1, None).unwrap();
    assert_eq!(page(&hub, "SELECT * FROM devices.modules", 1, token.as_deref()).unwrap_err().status, 400);
    assert_eq!(page(&hub, "SELECT * FROM devices", 1, Some("rubbish")).unwrap_err().status, 400);
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (text, message) in [
        ("", "column 1: expected SELECT, found the end"),
        ("SELECT * FROM device", "column 15: `device` is no collection"),
        ("SELECT * FROM devices WHERE", "column 28: expected a name, found the end"),
        ("SELECT * FROM devices WHERE a = ", "expected a name, found the end"),
        ("SELECT * FROM devices WHERE a = 'x", "column 33: the string that begins with ' is never closed"),
        ("SELECT * FROM devices WHERE frobnicate(a)", "column 29: there is no function `frobnicate`"),
        ("SELECT a, COUNT() FROM devices", "column 8: `a` is not grouped by"),
        ("SELECT * FROM devices WHERE a[1] = 1", "column 31: expected a name in quotes, found `1`"),
        ("SELECT * FROM devices WHERE a['b' = 1", "column 35: expected ], found `=`"),
        ("SELECT * FROM devices HAVING x", "column 23: expected the end of the query, found `HAVING`"),
        ("SELECT MEDIAN(a) FROM devices", "column 8: `MEDIAN` is no aggregate"),
        ("SELECT TOP x * FROM devices", "column 12: expected a whole number, found `x`"),
        ("SELECT * FROM devices WHERE a = 1e999", "`1e999` is no number"),
        ("SELECT * FROM devices WHERE a ~ 1", "'~' is not part of any query"),
    ] {
        let error = Query::parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn no_nesting_exhausts_the_stack() {
    for open in ["(", "NOT (", "NOT "] {
        let text = format!("SELECT * FROM devices WHERE {} a = 1", open.repeat(200_000));
        let _ = Query::parse(&text);
    }
}

#[test]
fn text_has_the_escapes_of_json_and_doubled_quotes() {
    let hub = hub_with(json!([{"id": "d", "tags": {"t": "it's \"ü\"\n"}}]));
    assert_eq!(found(&hub, r#"tags.t = 'it''s "\u00fc"\n'"#), ["d"]);
    assert_eq!(found(&hub, r#"tags.t = "it's \"ü\"\n""#), ["d"]);
}

#[test]
fn a_condition_on_the_id_spares_the_scan() {
    let ids = |condition: &str| {
        let query = Query::parse(&format!("SELECT * FROM devices WHERE {condition}")).unwrap();
        query.device_ids().map(|ids| ids.into_iter().collect::<Vec<_>>().join(" "))
    };
    for (condition, expected) in [
        ("deviceId = 'x'", Some("x")),
        ("'x' = deviceId", Some("x")),
        ("tags.a = 1 AND deviceId IN ['y', 'x']", Some("x y")),
        ("deviceId = 'x' AND deviceId = 'y'", Some("")),
        ("deviceId = 'x' OR deviceId = 'y' AND tags.a = 1", Some("x y")),
        ("deviceId = 1", Some("")),
        ("tags.a = 1 OR deviceId = 'x'", None),
        ("NOT deviceId = 'x'", None),
        ("deviceId != 'x'", None),
        ("deviceId NIN ['x']", None),
    ] {
        assert_eq!(ids(condition).as_deref(), expected, "{condition}");
    }
}

#[test]
fn a_condition_on_the_module_id_spares_the_scan() {
    let ids = |condition: &str| {
        let query = Query::parse(&format!("SELECT * FROM devices.modules WHERE {condition}")).unwrap();
        query.module_ids().map(|ids| ids.into_iter().collect::<Vec<_>>().join(" "))
    };
    for (condition, expected) in [
        ("moduleId = 'x'", Some("x")),
        ("ModuleId IN ['y', 'x'] AND tags.a = 1", Some("x y")),
        ("moduleId = 'x' OR moduleId = 'y'", Some("x y")),
        ("moduleId = 'x' OR deviceId = 'y'", None),
        ("moduleId != 'x'", None),
    ] {
        assert_eq!(ids(condition).as_deref(), expected, "{condition}");
    }
}

/// Many more modules than one step scans, in pages of any size.
#[test]
fn what_the_index_of_modules_finds_is_what_a_scan_finds() {
    let devices = (0..5000).map(|n| json!({"id": format!("d{n:04}")}));
    let modules = (0..5000).flat_map(|n| {
        let of = move |name: &str| json!({"id": format!("d{n:04}"), "moduleId": name});
        let wanted = [("all", 1), ("half", 2), ("few", 999)].into_iter().filter(move |(_, of)| n % of == 0);
        wanted.map(move |(name, _)| of(name))
    });
    let hub = hub_with(devices.chain(modules).collect());
    let all_of = |condition: &str, size| {
        let text = format!("SELECT deviceId, moduleId FROM devices.modules WHERE {condition}");
        let (mut all, mut token) = (Vec::new(), None::<String>);
        loop {
            let (rows, next) = page(&hub, &text, size, token.as_deref()).unwrap();
            all.extend(rows.as_array().unwrap().iter().map(ToString::to_string));
            token = next;
            if token.is_none() {
                return all;
            }
        }
    };
    for (indexed, scanned, count) in [
        ("moduleId = 'few'", "NOT moduleId != 'few'", 6),
        ("moduleId = 'half'", "NOT moduleId != 'half'", 2500),
        ("moduleId IN ['few', 'all']", "NOT moduleId NIN ['few', 'all']", 5006),
        ("moduleId = 'none'", "NOT moduleId != 'none'", 0),
        ("moduleId = 'no module id'", "NOT moduleId != 'no module id'", 0),
    ] {
        let wanted = all_of(scanned, 10_000);
        assert_eq!(wanted.len(), count, "{scanned}");
        for size in [10_000, 777] {
            assert_eq!(all_of(indexed, size), wanted, "{indexed}");
        }
    }
}

/// One condition without AND, OR and NOT around it.
fn any_test() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("deviceId"),
        Just("tags.site"),
        Just("tags.floor"),
        Just("tags['odd-name']"),
        Just("properties.desired.on"),
        Just("properties.desired.deep.n"),
        Just("status"),
    ];
    let literal = prop_oneof![
        Just("'a'"),
        Just("'munich'"),
        Just("'disabled'"),
        Just("1"),
        Just("2.5"),
        Just("true"),
        Just("null"),
    ];
    let operator = prop_oneof![Just("="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let function = prop_oneof![Just("is_defined"), Just("is_null"), Just("is_string"), Just("is_number")];
    prop_oneof![
        (path.clone(), operator, literal.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (path.clone(), literal.clone(), literal).prop_map(|(a, b, c)| format!("{a} IN [{b}, {c}]")),
        (function, path.clone()).prop_map(|(name, a)| format!("{name}({a})")),
        (prop_oneof![Just("contains"), Just("startswith")], path)
            .prop_map(|(name, a)| format!("{name}({a}, 'm')")),
    ]
}

fn any_condition() -> impl Strategy<Value = String> {
    any_test().prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("(NOT {a})")),
        ]
    })
}

proptest! {
    #[test]
    fn conditions_obey_the_laws_of_logic(a in any_condition(), b in any_condition()) {
        let hub = fleet();
        let same = |left: String, right: String| {
            prop_assert_eq!(found(&hub, &left), found(&hub, &right), "{} and {}", left, right);
            Ok(())
        };
        // A negation hides ids from the plan, so this holds the plan against a scan.
        same(a.clone(), format!("NOT (NOT ({a}))"))?;
        same(format!("{a} AND {b}"), format!("{b} AND {a}"))?;
        same(format!("NOT ({a} AND {b})"), format!("NOT {a} OR NOT {b}"))?;
        same(format!("NOT ({a} OR {b})"), format!("NOT {a} AND NOT {b}"))?;
        let both: Vec<_> = found(&hub, &a).into_iter().filter(|id| found(&hub, &b).contains(id)).collect();
        prop_assert_eq!(found(&hub, &format!("{a} AND {b}")), both);
    }

    #[test]
    fn a_list_is_an_alternative_of_its_members(members in proptest::collection::vec(
        prop_oneof![Just("1"), Just("2"), Just("2.5"), Just("'munich'"), Just("true"), Just("null")], 1..4)) {
        let hub = fleet();
        let list = members.join(", ");
        let equals: Vec<_> = members.iter().map(|member| format!("tags.floor = {member}")).collect();
        let equals = equals.join(" OR ");
        prop_assert_eq!(found(&hub, &format!("tags.floor IN [{list}]")), found(&hub, &equals));
        prop_assert_eq!(found(&hub, &format!("tags.floor NIN [{list}]")), found(&hub, &format!("NOT ({equals})")));
        prop_assert_eq!(found(&hub, &format!("tags.floor NOT IN ({list})")), found(&hub, &format!("NOT ({equals})")));
    }

    #[test]
    fn no_text_is_a_panic(text in ".*") {
        let _ = Query::parse(&text);
    }

    #[test]
    fn no_query_like_text_is_a_panic(words in proptest::collection::vec(
        prop_oneof![
            Just("SELECT"), Just("*"), Just("FROM"), Just("devices"), Just("."), Just("modules"), Just("WHERE"),
            Just("a"), Just("="), Just("'x'"), Just("1"), Just("("), Just(")"), Just("NOT"), Just("AND"), Just("OR"),
            Just("IN"), Just("["), Just("]"), Just(","), Just("is_defined"), Just("COUNT"), Just("GROUP"), Just("BY"),
            Just("[["), Just("]]"), Just("'"), Just("\\"), Just("TOP"), Just("-1"), Just("0x"), Just("1e"),
        ], 0..30)) {
        let _ = Query::parse(&words.join(" "));
        let _ = Query::parse(&words.concat());
    }
}
