//! The options of a run, as they are typed after a batch to give a command as the run was given.

use std::path::Path;

use batch_file::ReadOptions;
use hub_types::ModuleId;
use hub_types::dps::enrollment::AllocationPolicy;
use hub_types::shown::is_seen;

use crate::ledger::{IssueFolders, Run, RunOptions};
use crate::model::entry_settings::{EntryOptions, Reprovision};
use crate::model::maintenance::Maintenance;
use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};

/// All options with which the run was begun, each after a space, except for those that name the hub, and
/// `--unproven`, which is chosen anew each time.
pub(crate) fn batch_options(run: &Run) -> String {
    batch_options_under(run, run.options.rules)
}

/// The options as [`batch_options`] gives them, with these rules in place of the run's.
pub(super) fn batch_options_under(run: &Run, rules: ApplyRules) -> String {
    let RunOptions {
        maintenance,
        rules: _,
        created_by_tag,
        issue,
        profile,
        quarantine,
        read: _,
        // Its options are the run's.
        plan: _,
        // The options that name the DPS say it.
        service: _,
        entries,
        follow: _,
    } = &run.options;
    let mode = match rules.mode {
        ApplyMode::Create => "",
        ApplyMode::Update => " --mode update",
        ApplyMode::Upsert => " --mode upsert",
    };
    let twin = match rules.twin {
        TwinPolicy::Initial => "",
        TwinPolicy::Merge => " --twin merge",
        TwinPolicy::Replace => " --twin replace",
    };
    let quarantine = if *quarantine { " --quarantine" } else { "" };
    let tag = created_by_tag.as_ref().map(|tag| format!(" --created-by-tag={}", quoted(tag)));
    let reason = match maintenance {
        Some(Maintenance::Disable { reason }) if reason.as_str() != DEFAULT_REASON => {
            format!(" --reason={}", quoted(reason.as_str()))
        }
        _ => String::new(),
    };
    let issue = issue.as_ref().map(issue_options).unwrap_or_default();
    let profile = profile.as_ref().map(|name| format!(" --profile={}", quoted(name))).unwrap_or_default();
    let (tag, entries) = (tag.unwrap_or_default(), entry_options(entries));
    format!("{issue}{profile}{}{mode}{twin}{quarantine}{tag}{reason}{entries}", reading_options(run))
}

/// The settings of enrolments, and the group.
fn entry_options(entries: &EntryOptions) -> String {
    let EntryOptions { reprovision, allocation, iot_hubs, webhook_file, group } = entries;
    let mut options = String::new();
    let mut add = |name: &str, value: &str| options.push_str(&format!(" --{name}={}", quoted(value)));
    match reprovision {
        Some(Reprovision::Migrate) => add("reprovision", "migrate"),
        Some(Reprovision::Never) => add("reprovision", "never"),
        Some(Reprovision::Reset) => add("reprovision", "reset"),
        None => {}
    }
    match allocation {
        Some(AllocationPolicy::GeoLatency) => add("allocation", "geo-latency"),
        Some(policy) => add("allocation", policy.as_str()),
        None => {}
    }
    iot_hubs.iter().for_each(|hub| add("iot-hub", hub));
    webhook_file.iter().for_each(|file| add("webhook-file", &file.to_string_lossy()));
    if let Some(group) = group {
        add("group", &group.id.to_string());
        add("group-ca", &group.certificate.to_string_lossy());
    }
    options
}

/// Those of the options that say how the run read its batch. Each command that reads a batch takes them.
fn reading_options(run: &Run) -> String {
    let ReadOptions { map, id_pattern, modules, ignore, columns } = &run.options.read;
    let maps = map.iter().map(|(theirs, ours)| format!(" --map {}", quoted(&format!("{theirs}={ours}"))));
    let ignored = ignore.iter().map(|pattern| format!(" --ignore {}", quoted(&pattern.to_string())));
    let modules: Vec<_> = modules.iter().map(ModuleId::as_str).collect();
    let modules = (!modules.is_empty()).then(|| format!(" --modules {}", quoted(&modules.join(","))));
    let columns = (!columns.is_empty()).then(|| format!(" --columns {}", quoted(&columns.join(","))));
    let pattern = id_pattern.as_ref();
    let pattern = pattern.map(|pattern| format!(" --id-pattern {}", quoted(&pattern.to_string())));
    let skip = (run.rejected > 0).then(|| " --skip-bad-rows".to_owned());
    maps.chain(ignored).chain(modules).chain(columns).chain(pattern).chain(skip).collect()
}

fn issue_options(IssueFolders { ca, out }: &IssueFolders) -> String {
    let out = match *out == ca.join("issued") {
        true => String::new(),
        false => format!(" --out {}", path(out)),
    };
    format!(" --issue {}{out}", path(ca))
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// The text as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+=:,@%".contains(letter);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false if text.chars().all(is_seen) => format!("'{}'", text.replace('\'', r"'\''")),
        false => format!("$'{}'", text.chars().map(escaped).collect::<String>()),
    }
}

/// A character between `$'` and `'`, where shells read escapes.
fn escaped(character: char) -> String {
    match character {
        '\'' | '\\' => format!("\\{character}"),
        _ if is_seen(character) => character.to_string(),
        _ => format!("\\U{:08x}", u32::from(character)),
    }
}

/// The status reason of `retire` if none is given.
pub(crate) const DEFAULT_REASON: &str = "retired";
