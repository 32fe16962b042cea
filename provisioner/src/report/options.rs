//! The options of a run in words.

use batch_file::ReadOptions;
use hub_types::ModuleId;

use crate::ledger::{IssueFolders, RunOptions};
use crate::model::entry_settings::{EntryOptions, Reprovision};
use crate::model::maintenance::Maintenance;
use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};
use crate::model::service::ServiceKind;
use hub_types::shown::ShownPath;

/// Returns the options that a run was begun with, in words.
pub(super) fn options(options: &RunOptions) -> String {
    let RunOptions { maintenance, rules, created_by_tag, issue, quarantine, .. } = options;
    let RunOptions { read, profile, plan, service, entries, .. } = options;
    let mut words = match maintenance {
        None if *service == ServiceKind::Dps => {
            let mut words = vec![match &entries.group {
                Some(group) => format!("the enrolment group {} of a DPS", group.id),
                None => "enrolments with a DPS".to_owned(),
            }];
            words.extend(rules_in_words(*rules));
            words.extend(entries_in_words(entries));
            words
        }
        None => rules_in_words(*rules),
        Some(Maintenance::Disable { reason }) => {
            vec![format!("retire: disabled, with the reason \u{201c}{}\u{201d}", reason.as_str())]
        }
        Some(maintenance) => vec![maintenance.to_string()],
    };
    words.extend(quarantine.then(|| "devices left disabled, in quarantine".to_owned()));
    if let Some(IssueFolders { ca, out }) = issue {
        words.push(format!("certificates of the CA in {}, issued to {}", ShownPath(ca), ShownPath(out)));
    }
    words.extend(profile.as_ref().map(|name| format!("profile {name} for rows that name none")));
    words.extend(created_by_tag.as_ref().map(|tag| format!("the tag {tag} names the creator")));
    words.extend(reading_in_words(read));
    words.extend(plan.as_ref().map(|sha256| format!("as planned, by the plan with the SHA-256 {sha256}")));
    words.join(", ")
}

fn entries_in_words(entries: &EntryOptions) -> Vec<String> {
    let EntryOptions { reprovision, allocation, iot_hubs, webhook_file, group } = entries;
    let mut words = Vec::new();
    words.extend(reprovision.map(|reprovision| match reprovision {
        Reprovision::Migrate => "devices that register again take their twin along".to_owned(),
        Reprovision::Never => "devices that register again stay on their hub".to_owned(),
        Reprovision::Reset => "devices that register again begin anew".to_owned(),
    }));
    words.extend(allocation.map(|allocation| format!("allocation {allocation}")));
    words.extend((!iot_hubs.is_empty()).then(|| format!("hubs {}", iot_hubs.join(" and "))));
    words.extend(webhook_file.as_ref().map(|file| format!("the function in {}", ShownPath(file))));
    words.extend(group.as_ref().map(|group| format!("for the CA in {}", ShownPath(&group.certificate))));
    words
}

fn reading_in_words(read: &ReadOptions) -> Vec<String> {
    let ReadOptions { map, id_pattern, modules, ignore, columns } = read;
    let mut words = Vec::new();
    words.extend(map.iter().map(|(theirs, ours)| format!("column {theirs} read as {ours}")));
    words.extend(ignore.iter().map(|pattern| format!("columns {pattern} not read")));
    let modules: Vec<_> = modules.iter().map(ModuleId::as_str).collect();
    words.extend((!modules.is_empty()).then(|| format!("modules {} of each device", modules.join(", "))));
    words.extend((!columns.is_empty()).then(|| format!("no header, columns {}", columns.join(", "))));
    words.extend(id_pattern.as_ref().map(|pattern| format!("device ids like {pattern}")));
    words
}

fn rules_in_words(ApplyRules { mode, twin }: ApplyRules) -> Vec<String> {
    let mode = match mode {
        ApplyMode::Create => "creates what is missing",
        ApplyMode::Update => "updates what is there",
        ApplyMode::Upsert => "creates what is missing and updates what is there",
    };
    let twin = match twin {
        TwinPolicy::Initial => "writes twins only once",
        TwinPolicy::Merge => "merges values into twins",
        TwinPolicy::Replace => "replaces tags and desired properties of twins",
    };
    vec![mode.to_owned(), twin.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_types::identity::StatusReason;

    #[test]
    fn options_are_told_in_words() {
        let apply = RunOptions {
            issue: Some(IssueFolders { ca: "pki".into(), out: "pki/issued".into() }),
            profile: Some("gateway".to_owned()),
            quarantine: true,
            read: ReadOptions {
                map: vec![("Serial".to_owned(), "device_id".to_owned())],
                modules: vec!["tele".parse().unwrap(), "up".parse().unwrap()],
                ignore: vec!["ERP*".parse().unwrap()],
                columns: vec!["Serial".to_owned(), "status".to_owned()],
                ..ReadOptions::default()
            },
            ..RunOptions::default()
        };
        assert_eq!(
            options(&apply),
            "creates what is missing, writes twins only once, devices left disabled, in quarantine, certificates of the \
             CA in pki, issued to pki/issued, profile gateway for rows that name none, column Serial read as device_id, \
             columns ERP* not read, modules tele, up of each device, no header, columns Serial, status"
        );
        let of =
            |maintenance| options(&RunOptions { maintenance: Some(maintenance), ..RunOptions::default() });
        assert_eq!(of(Maintenance::Release { run: None }), "release");
        let reason = StatusReason::new("scrapped").unwrap();
        assert_eq!(
            of(Maintenance::Disable { reason }),
            "retire: disabled, with the reason \u{201c}scrapped\u{201d}"
        );
    }
}
