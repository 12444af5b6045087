//! What each family makes of a record.

use auditferry_contract::{EventId, Severity};
use jiff::Timestamp;

use super::*;

fn context() -> Context<'static> {
    Context {
        tenant: "41463f53-8812-40f4-890f-865bf6e35190",
        content_type: "Audit.General",
        content_id: "content",
        content_created: Timestamp::constant(1_779_200_000, 0),
        fetched: None,
        id: EventId([7; 16]),
    }
}

fn event(record: &str) -> Event<'_> {
    read(record.as_bytes(), &context()).expect("a record")
}

#[test]
fn texts_without_escapes_are_borrowed() {
    let record = r#"{"Operation":"CreateFlow","UserId":"a@b.example","Id":"x","CreationTime":"2026-05-19T13:17:34"}"#;
    let event = event(record);
    for text in [&event.actor.name, &event.original_id, &event.original_time] {
        assert!(matches!(text, Some(Cow::Borrowed(_))), "{text:?}");
    }
    assert!(event.fields.0.iter().all(|member| matches!(member.key, Cow::Borrowed(_))));
}

#[test]
fn the_time_is_the_records_or_the_contents_and_never_now() {
    let told = event(r#"{"CreationTime":"2026-05-19T13:17:34"}"#);
    assert_eq!((told.time().as_second(), told.time_source()), (1_779_196_654, TimeSource::Record));
    let untold = event(r#"{"CreationTime":"soon"}"#);
    assert_eq!((untold.time().as_second(), untold.time_source()), (1_779_200_000, TimeSource::Content));
    let mapped = Context { content_created: Timestamp::UNIX_EPOCH, ..context() };
    let event = read(b"{}", &mapped).expect("a record");
    assert_eq!((event.time(), event.time_source()), (Timestamp::UNIX_EPOCH, TimeSource::Unknown));
}

#[test]
fn the_outcome_is_never_guessed() {
    for (status, outcome) in [
        (r#""Success""#, Outcome::Success),
        (r#""Succeeded""#, Outcome::Success),
        ("true", Outcome::Success),
        (r#""failed""#, Outcome::Failure),
        (r#""False""#, Outcome::Failure),
        (r#""PartiallySucceeded""#, Outcome::Unknown),
        (r#""""#, Outcome::Unknown),
        ("null", Outcome::Unknown),
    ] {
        assert_eq!(event(&format!(r#"{{"ResultStatus":{status}}}"#)).outcome(), outcome, "{status}");
    }
    assert_eq!(event("{}").outcome(), Outcome::Unknown);
}

#[test]
fn flows_and_environments_are_found_in_both_forms_of_the_address() {
    for url in [
        r"https:\/\/admin.flow.microsoft.com\/environments\/Default-1\/resources\/flows\/f1",
        "https://admin.powerplatform.microsoft.com/environments/Default-1/flows/f1/flowDetails?x=/flows/no",
    ] {
        let record = format!(
            r#"{{"RecordType":30,"Operation":"PutPermissions","FlowDetailsUrl":"{url}","ObjectId":"actor",
            "RecipientUPN":"00b5c1cc-0000-0000-0000-000000000000","SharingPermission":"3"}}"#
        );
        let event = event(&record);
        assert_eq!(event.environment(), Some("Default-1"));
        assert_eq!(event.target.uid.as_deref(), Some("f1"));
        assert_eq!(event.grantee.uid.as_deref(), Some("00b5c1cc-0000-0000-0000-000000000000"));
        assert_eq!(event.privileges, ["owner"]);
        assert_eq!(event.product(), "power_automate");
    }
}

#[test]
fn older_app_records_hide_their_details_in_a_string() {
    let event = event(
        r#"{"RecordType":45,"Workload":"PowerApps","Operation":"PowerAppPermissionEdited",
        "AppName":"\/providers\/Microsoft.PowerApps\/apps\/app1","ObjectId":"actor",
        "AdditionalInfo":"{\"targetObjectId\":\"someone\",\"permissionType\":\"CanEdit\",\"environmentName\":\"e1\"}"}"#,
    );
    assert_eq!(event.target.uid.as_deref(), Some("app1"));
    assert_eq!(event.grantee.name.as_deref(), Some("someone"));
    assert_eq!(event.privileges, ["CanEdit"]);
    assert_eq!(event.environment(), Some("e1"));
    assert_eq!(event.product(), "power_apps");
}

#[test]
fn the_property_bag_is_read_in_all_three_forms() {
    let bag = r#""enduser.ip_address":"::ffff:192.0.2.7","enduser.principal_name":"a@b.example",
        "powerplatform.analytics.resource.power_app.id":"/providers/Microsoft.PowerApps/apps/app1",
        "powerplatform.analytics.resource.environment.id":"/providers/Microsoft.BusinessAppPlatform/environments/e1",
        "powerplatform.analytics.operation.is_successful":"False""#;
    let pairs = bag.split(',').map(|pair| pair.trim().split_once("\":").expect("a pair"));
    let list: Vec<_> = pairs.map(|(name, value)| format!("{{\"Name\":{name}\",\"Value\":{value}}}")).collect();
    let embedded = format!("{{{}}}", bag.replace('\n', " ")).replace('"', "\\\"");
    for form in [
        format!(r#""PropertyCollection":[{},{{"Name":null}},7]"#, list.join(",")),
        format!(r#""JsonPropertiesCollection":"{embedded}""#),
        format!(r#""Properties":{{{bag}}}"#),
    ] {
        let record = format!(r#"{{"RecordType":256,"Workload":"PowerPlatform","Operation":"LaunchPowerApp",{form}}}"#);
        let event = event(&record);
        assert_eq!(event.ip.as_deref(), Some("192.0.2.7"), "{form}");
        assert_eq!(event.actor.name.as_deref(), Some("a@b.example"));
        assert_eq!(event.target.uid.as_deref(), Some("app1"));
        assert_eq!(event.environment(), Some("e1"));
        assert_eq!(event.outcome(), Outcome::Failure);
    }
}

#[test]
fn data_policies_are_named_inside_the_bag_and_dataverse_in_its_message() {
    let policy = event(
        r#"{"RecordType":256,"Workload":"PowerPlatform","Operation":"GovernanceApiPolicyOperation","PropertyCollection":[
        {"Name":"powerplatform.analytics.resource.tenant.governance.api_policy.operation_name","Value":"DeleteDlpPolicy"},
        {"Name":"powerplatform.analytics.resource.id","Value":"p1"}]}"#,
    );
    assert_eq!((policy.operation(), policy.severity()), ("DeleteDlpPolicy", Severity::High));
    assert_eq!(policy.target.uid.as_deref(), Some("p1"));
    assert_eq!(policy.product(), "power_platform_admin");
    let row = event(
        r#"{"RecordType":21,"Workload":"CRM","Operation":"CrmDefaultActivity","Message":"Update","EntityName":"role"}"#,
    );
    assert_eq!((row.operation(), row.product()), ("Update", "dataverse"));
    // a message that the catalogue does not know passes under its own name
    let custom = event(r#"{"RecordType":21,"Workload":"CRM","Operation":"CrmDefaultActivity","Message":"new_Custom"}"#);
    assert_eq!((custom.operation(), custom.is_known(), custom.product()), ("new_Custom", false, "dataverse"));
}

#[test]
fn older_policies_and_connectors_are_read_by_the_generic_envelope() {
    let policy = event(
        r#"{"RecordType":79,"Workload":"PowerPlatformAdmin","Operation":"UpdateDlpPolicy","Name":"strict","ObjectId":"actor",
        "AdditionalInfo":"{\"policyId\":\"p1\",\"environmentName\":\"e1\"}"}"#,
    );
    assert_eq!((policy.operation(), policy.product()), ("UpdateDlpPolicy", "power_platform_admin"));
    assert_eq!((policy.target.uid.as_deref(), policy.target.name.as_deref()), (Some("p1"), Some("strict")));
    assert_eq!((policy.target.kind, policy.environment()), ("policy", Some("e1")));
    let connection = event(
        r#"{"RecordType":187,"Operation":"PutConnection","ResourceId":"c1","ObjectId":"actor",
        "AdditionalInfo":"{\"EnvironmentName\":\"e1\",\"ActionName\":\"x\"}"}"#,
    );
    assert_eq!((connection.product(), connection.is_known()), ("connectors", true));
    assert_eq!((connection.target.uid.as_deref(), connection.environment()), (Some("c1"), Some("e1")));
    let foreign = event(r#"{"RecordType":1,"Workload":"Exchange","Operation":"Set-Mailbox","ObjectId":"box"}"#);
    assert_eq!(foreign.target.uid.as_deref(), Some("box"));
}

#[test]
fn a_record_type_that_nobody_knows_yet_is_read_by_its_workload() {
    let new = event(
        r#"{"RecordType":9001,"Workload":"PowerPlatform","Operation":"LaunchPowerApp","PropertyCollection":[
        {"Name":"powerplatform.analytics.resource.power_app.id","Value":"app1"}]}"#,
    );
    assert_eq!((new.record_type(), new.operation(), new.product()), (Some(9001), "LaunchPowerApp", "power_apps"));
    assert_eq!(new.target.uid.as_deref(), Some("app1"));
}

#[test]
fn names_of_other_services_are_not_taken_for_ours() {
    assert!(event(r#"{"RecordType":256,"Workload":"PowerPlatform","Operation":"SiteDeleted"}"#).is_known());
    let sharepoint = event(r#"{"RecordType":4,"Workload":"SharePoint","Operation":"SiteDeleted"}"#);
    assert_eq!((sharepoint.is_known(), sharepoint.product()), (false, "other"));
    let own = event(r#"{"Workload":"auditferry","Operation":"GapOpened"}"#);
    assert_eq!((own.product(), own.operation()), ("auditferry", "GapOpened"));
    let alias = event(r#"{"Workload":"PowerApps","Operation":"DeletedApp"}"#);
    assert_eq!(alias.operation(), "DeletePowerApp");
    assert_eq!(event(r#"{"Workload":"PowerApps","Operation":"CreateApp"}"#).operation(), "CreateApp");
}

#[test]
fn addresses_lose_port_and_mapping() {
    let read = |text: &'static str| envelope::client_address(Cow::Borrowed(text));
    let is = |text, ip: &str, port| {
        let (found, found_port) = read(text);
        assert_eq!((found.as_deref(), found_port), (Some(ip), port), "{text}");
    };
    is("104.42.232.223:26568", "104.42.232.223", Some(26568));
    is("[fdfd::555]:12346", "fdfd::555", Some(12346));
    is("[::1]", "::1", None);
    is("::ffff:192.0.2.1", "192.0.2.1", None);
    for text in ["", "XX.XX.15.90", "<null>", "300.1.1.1"] {
        assert_eq!(read(text), (None, None), "{text}");
    }
}

#[test]
fn peek_sees_numbers_in_strings_and_gives_nothing_for_broken_records() {
    let seen = peek(br#"{"x":{"RecordType":1},"RecordType":"30","Workload":"MicrosoftFlow","Operation":"EditFlow"}"#);
    assert_eq!(seen.record_type, Some(30));
    assert_eq!((seen.workload.as_deref(), seen.operation.as_deref()), (Some("MicrosoftFlow"), Some("EditFlow")));
    assert_eq!(peek(br#"{"RecordType":30,"#), Peek::default());
    assert_eq!(peek(b"[]"), Peek::default());
}

#[test]
fn an_unreadable_record_becomes_an_event_that_holds_it() {
    let bytes = b"<html>\xff";
    let reason = read(bytes, &context()).expect_err("not JSON").to_string();
    let event = unreadable(bytes, &context(), &reason);
    assert_eq!(event.record(), bytes);
    assert_eq!(event.operation(), "unreadable");
    assert!(event.unreadable_because().is_some_and(|why| why.starts_with("not UTF-8")));
}

#[cfg(feature = "testing")]
#[test]
fn the_switch_makes_mapping_panic() {
    let record = br#"{"Operation":"auditferry-test-panic"}"#;
    assert!(std::panic::catch_unwind(|| read(record, &context()).is_ok()).is_err());
}
