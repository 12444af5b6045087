//! An older schema is brought up to date: copied first, all or nothing, and what comes out is what a new ledger is.

use std::{fs, path::Path};

use rusqlite::Connection;

use super::{open, *};

fn tenants(file: &Path) -> Vec<String> {
    let connection = open::reader(file).unwrap();
    let mut statement = connection.prepare("SELECT guid FROM tenant ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// Steps that a later version will have.
fn after(steps: &[&'static str]) -> Vec<&'static str> {
    let mut all = vec![""; (SCHEMA - 1) as usize];
    all.extend(steps);
    all
}

/// Every table and index with its columns, in order.
fn shape(connection: &Connection) -> Vec<String> {
    let mut statement = connection
        .prepare(
            "SELECT m.type || ' ' || m.name || ' ' || m.tbl_name || ': ' || ifnull((SELECT group_concat(quote(name) || ' ' || type || ' ' || \"notnull\" || ' ' || ifnull(dflt_value, '-') || ' ' || pk, ', ') FROM pragma_table_xinfo(m.name)), '') || ifnull((SELECT group_concat(ifnull(quote(name), 'expression') || ' ' || desc, ', ') FROM pragma_index_xinfo(m.name)), '')
             FROM sqlite_master m ORDER BY m.type, m.name",
        )
        .unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn a_ledger_of_schema_1_becomes_what_a_new_one_is() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = old.path().join("ledger.sqlite");
    let connection = Connection::open(&file).unwrap();
    connection.pragma_update(None, "page_size", 16384).unwrap();
    connection.execute_batch(include_str!("../../tests/data/ledger/schema-1.sql")).unwrap();
    connection
        .execute_batch(
            "PRAGMA user_version = 1;
             INSERT INTO tenant (id, guid) VALUES (1, 'kept');
             INSERT INTO stream (id, tenant, origin, content_type, since, cursor) VALUES (1, 1, 'listed', 'a', 0, 0), (2, 1, 'listed', 'empty', 0, 0), (3, 1, 'requeue', 'requeue', 0, 0);
             INSERT INTO content (stream, content_id, uri, created, expires, admitted) VALUES (1, 'x', 'u', 50, 99, 60), (1, 'y', 'u', 70, 99, 80), (1, 'z', 'u', 60, 99, 90), (3, 'x', 'u', 10, 99, 60);",
        )
        .unwrap();
    drop(connection);
    let (upgraded, _) = open::writer(old.path()).unwrap();
    let (fresh, _) = open::writer(new.path()).unwrap();
    assert_eq!(shape(&upgraded), shape(&fresh));
    let newest: Vec<Option<i64>> = upgraded
        .prepare("SELECT newest FROM stream ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    assert_eq!(newest, [Some(70), None, None]);
    assert_eq!(tenants(&old.path().join("ledger-schema-1.sqlite")), ["kept"]);
}

#[test]
fn an_upgrade_copies_first_and_is_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (connection, file) = open::writer(dir.path()).unwrap();
    connection.execute("INSERT INTO tenant (guid) VALUES ('kept')", []).unwrap();
    let kept = dir.path().join(format!("ledger-schema-{SCHEMA}.sqlite"));
    let steps =
        ["ALTER TABLE tenant ADD COLUMN one TEXT;", "UPDATE tenant SET one = 'x'; ALTER TABLE gone ADD COLUMN x TEXT;"];
    let error = upgrade::bring(&connection, &file, SCHEMA, &after(&steps)).unwrap_err();
    assert!(error.contains("no such table: gone"), "{error}");
    let version = |connection: &Connection| connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    assert_eq!(version(&connection), Ok(SCHEMA));
    assert!(connection.prepare("SELECT one FROM tenant").is_err(), "nothing of it is there");
    assert_eq!(tenants(&kept), ["kept"]);
    // the ledger went on with the old version; the copy is made anew
    connection.execute("INSERT INTO tenant (guid) VALUES ('later')", []).unwrap();
    let steps = [steps[0], "UPDATE tenant SET one = guid; CREATE TABLE two (x TEXT) STRICT;"];
    upgrade::bring(&connection, &file, SCHEMA, &after(&steps)).unwrap();
    assert_eq!(version(&connection), Ok(SCHEMA + 2));
    let two: i64 = connection.query_row("SELECT count(*) FROM tenant WHERE one = guid", [], |row| row.get(0)).unwrap();
    assert_eq!((two, tenants(&kept)), (2, vec!["kept".to_owned(), "later".to_owned()]));
    // from the second version only what is missing is done
    connection.execute_batch(&format!("PRAGMA user_version = {}; DROP TABLE two", SCHEMA + 1)).unwrap();
    upgrade::bring(&connection, &file, SCHEMA + 1, &after(&steps)).unwrap();
    assert_eq!(version(&connection), Ok(SCHEMA + 2));
    drop(connection);
    // this version refuses it, and the copy leads back
    let refused = open::writer(dir.path()).unwrap_err().to_string();
    assert!(refused.contains(&format!("has schema {}, this auditferry knows up to", SCHEMA + 2)), "{refused}");
    restore(dir.path(), &kept, &lock(dir.path()).unwrap()).unwrap();
    drop(open::writer(dir.path()).unwrap());
    assert_eq!(tenants(&file), ["kept", "later"]);
}

#[test]
fn an_upgrade_without_room_for_its_copy_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (connection, file) = open::writer(dir.path()).unwrap();
    // a folder of the copy's name: nothing can be put there
    fs::create_dir(dir.path().join(format!("ledger-schema-{SCHEMA}.sqlite"))).unwrap();
    let error =
        upgrade::bring(&connection, &file, SCHEMA, &after(&["ALTER TABLE tenant ADD COLUMN one TEXT;"])).unwrap_err();
    assert!(error.contains(&format!("ledger-schema-{SCHEMA}.sqlite can't be written")), "{error}");
    assert!(connection.prepare("SELECT one FROM tenant").is_err());
    let words = OpenError::Upgrade { file: "/s/ledger.sqlite".into(), found: 1, cause: "why".into() }.to_string();
    assert_eq!(
        words,
        format!(
            "the ledger /s/ledger.sqlite can't be brought from schema 1 to {SCHEMA}, and is as it was: why; go on with the auditferry that wrote it, and ask for help [LedgerUpgrade]"
        )
    );
}
