//! The advice of a report is safe to follow. Each case produces rows that are not as asked, reads
//! the report, runs every command in its advice, and checks that the hub still holds everything it
//! held.

#![expect(clippy::indexing_slicing, reason = "in a test a panic is a failure")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use e2e::{Call, Ended, HostileHub, Reply, ServedHub, Station};
use serde_json::Value;

/// The steps that produce rows which are not as asked.
struct Story {
    name: &'static str,
    /// The files of the station.
    files: &'static [(&'static str, &'static str)],
    /// The commands, the last of which makes the reported run. `MQTT` stands for the hub's address
    /// for devices.
    commands: &'static [&'static [&'static str]],
    /// The reasons that the report names afterwards.
    reasons: &'static [&'static str],
}

const OLD: &str = "device_id,module_id,primary_thumbprint
pump-1,,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
pump-1,m,ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB
pump-2,,ACACACACACACACACACACACACACACACACACACACACACACACACACACACACACACACAC
";
const NEW: &str = "device_id,module_id,primary_thumbprint,secondary_thumbprint
pump-1,,BABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABA,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
pump-1,m,BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB,ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB
pump-2,,BCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBCBC,ACACACACACACACACACACACACACACACACACACACACACACACACACACACACACACACAC
";
const NEWER: &str = "device_id,primary_thumbprint
pump-2,CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC
";
const DISABLED: &str = "device_id,primary_thumbprint,status
pump-2,ACACACACACACACACACACACACACACACACACACACACACACACACACACACACACACACAC,disabled
";
const NAMED: &str = "device_id\npump-1\npump-2\n";

const STORIES: [Story; 14] = [
    Story {
        name: "an undo of a run whose units have been rotated since",
        files: &[("old.csv", OLD), ("new.csv", NEW)],
        commands: &[
            &["apply", "old.csv"],
            &["rotate", "new.csv"],
            &["rotate", "new.csv", "--finish", "--unproven"],
            &["undo", "1"],
        ],
        reasons: &["changed_since_run"],
    },
    Story {
        name: "an undo of a run after a module of somebody else came",
        files: &[("old.csv", OLD), ("more.csv", "device_id,module_id,auth\npump-2,other,sas\n")],
        commands: &[&["apply", "old.csv"], &["apply", "more.csv"], &["undo", "1"]],
        reasons: &["foreign_modules"],
    },
    Story {
        name: "a retirement of an unknown id",
        files: &[("old.csv", OLD), ("named.csv", "device_id\nnever-made\npump-1\n")],
        commands: &[&["apply", "old.csv"], &["retire", "named.csv"]],
        reasons: &["identity_missing"],
    },
    Story {
        name: "a retirement of units whose boards were swapped",
        files: &[("old.csv", OLD), ("newer.csv", NEWER)],
        commands: &[&["apply", "old.csv"], &["retire", "newer.csv"]],
        reasons: &["certificate_differs"],
    },
    Story {
        name: "a retirement of a module without its device",
        files: &[("old.csv", OLD), ("named.csv", "device_id,module_id\npump-1,m\n")],
        commands: &[&["apply", "old.csv"], &["retire", "named.csv"]],
        reasons: &["device_not_named"],
    },
    Story {
        name: "a deletion of units that are enabled",
        files: &[("old.csv", OLD), ("named.csv", NAMED)],
        commands: &[&["apply", "old.csv"], &["retire", "named.csv", "--delete"]],
        reasons: &["device_enabled"],
    },
    Story {
        name: "a batch applied again after a rotation",
        files: &[("old.csv", OLD), ("new.csv", NEW)],
        commands: &[
            &["apply", "old.csv"],
            &["rotate", "new.csv"],
            &["rotate", "new.csv", "--finish", "--unproven"],
            &["apply", "old.csv"],
        ],
        reasons: &["credential_differs", "device_row_not_done"],
    },
    Story {
        name: "a batch that wants a unit disabled that is enabled",
        files: &[("old.csv", OLD), ("disabled.csv", DISABLED)],
        commands: &[&["apply", "old.csv"], &["apply", "disabled.csv"]],
        reasons: &["status_differs"],
    },
    Story {
        name: "a module whose device is not there",
        files: &[
            ("old.csv", OLD),
            ("lost.csv", "device_id,module_id,auth\nnever-made,m,sas\npump-2,n,sas\n"),
        ],
        commands: &[&["apply", "old.csv"], &["apply", "lost.csv"]],
        reasons: &["identity_missing"],
    },
    Story {
        name: "an update of what is not there",
        files: &[("old.csv", OLD), ("more.csv", "device_id,auth\nnever-made,sas\n")],
        commands: &[&["apply", "old.csv"], &["apply", "more.csv", "--mode", "update"]],
        reasons: &["identity_missing"],
    },
    Story {
        name: "a rotation while another one is under way",
        files: &[("old.csv", OLD), ("new.csv", NEW), ("newer.csv", NEWER)],
        commands: &[&["apply", "old.csv"], &["rotate", "new.csv"], &["rotate", "newer.csv"]],
        reasons: &["both_slots_taken"],
    },
    Story {
        name: "a rotation that is finished without the keys",
        files: &[("old.csv", OLD), ("new.csv", NEW)],
        commands: &[
            &["apply", "old.csv"],
            &["rotate", "new.csv"],
            &["rotate", "new.csv", "--finish", "--mqtt", "MQTT"],
        ],
        reasons: &["key_not_at_hand"],
    },
    Story {
        name: "a rotation that is finished before it was begun",
        files: &[("old.csv", OLD), ("new.csv", NEW)],
        commands: &[&["apply", "old.csv"], &["rotate", "new.csv", "--finish", "--mqtt", "MQTT"]],
        reasons: &["new_thumbprint_missing"],
    },
    Story {
        name: "a rotation that is taken back when it is finished",
        files: &[("old.csv", OLD), ("new.csv", NEW)],
        commands: &[
            &["apply", "old.csv"],
            &["rotate", "new.csv"],
            &["rotate", "new.csv", "--finish", "--unproven"],
            &["rotate", "new.csv", "--revert"],
        ],
        reasons: &["only_thumbprint"],
    },
];

/// A run that is interrupted: the last of these commands, which all else has gone before.
struct Interrupted {
    name: &'static str,
    commands: &'static [&'static [&'static str]],
}

const INTERRUPTED: [Interrupted; 8] = [
    Interrupted { name: "an apply", commands: &[&["apply", "old.csv"]] },
    Interrupted {
        name: "an update",
        commands: &[&["apply", "old.csv"], &["apply", "tagged.csv", "--mode", "upsert", "--twin", "merge"]],
    },
    Interrupted { name: "a quarantine", commands: &[&["apply", "old.csv", "--quarantine"]] },
    Interrupted { name: "a rotation", commands: &[&["apply", "old.csv"], &["rotate", "new.csv"]] },
    Interrupted {
        name: "the end of a rotation",
        commands: &[
            &["apply", "old.csv"],
            &["rotate", "new.csv"],
            &["rotate", "new.csv", "--finish", "--unproven"],
        ],
    },
    Interrupted { name: "a retirement", commands: &[&["apply", "old.csv"], &["retire", "named.csv"]] },
    Interrupted {
        name: "a release",
        commands: &[&["apply", "old.csv", "--quarantine"], &["release", "old.csv"]],
    },
    Interrupted { name: "an undo", commands: &[&["apply", "old.csv"], &["undo", "1"]] },
];

/// A batch that gives the units of the first one a tag, and one unit more.
const TAGGED: &str = "device_id,module_id,primary_thumbprint,tags.site
pump-1,,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,Graz
pump-1,m,ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB,Graz
pump-3,,ADADADADADADADADADADADADADADADADADADADADADADADADADADADADADADADAD,Graz
";

/// Whoever does what the report of an interrupted run advises ends where the run would have ended by itself.
#[test]
fn whoever_does_what_a_report_advises_after_an_interruption_ends_as_without_it() -> Result<()> {
    for story in &INTERRUPTED {
        let expected = story.play(None).with_context(|| story.name)?.0;
        // Interrupted before its first change, its second, and so on, until it has no more of them.
        for changes in 0.. {
            let name = || format!("{} that was interrupted after {changes} changes", story.name);
            let (found, was_interrupted) = story.play(Some(changes)).with_context(name)?;
            ensure!(found == expected, "{}: {found:?} and not {expected:?}", name());
            if !was_interrupted {
                ensure!(changes > 0, "{} was never interrupted", story.name);
                break;
            }
        }
    }
    Ok(())
}

impl Interrupted {
    /// Gives the commands; the last one is stopped after so many changes of the hub, and then what its report advises is
    /// done. Answers what is on the hub then, and whether the run was interrupted.
    fn play(&self, changes: Option<usize>) -> Result<(BTreeMap<String, Value>, bool)> {
        let station = Station::new()?;
        for (name, text) in [("old.csv", OLD), ("new.csv", NEW), ("named.csv", NAMED), ("tagged.csv", TAGGED)]
        {
            station.write(name, text)?;
        }
        let hub = ServedHub::start(&station, "hub")?;
        let way = HostileHub::before(&station, &hub, |_| Reply::Forward)?;
        let give = |words: &[&str]| Ended::of(way.provisioner(&station)?.args(words).output()?);
        let (last, before) = self.commands.split_last().context("a story has an end")?;
        for command in before {
            give(command)?.expect_code(0)?;
        }
        if let Some(changes) = changes {
            let left = AtomicUsize::new(changes);
            way.set_script(move |call| match is_change(call) && !takes_one(&left) {
                true => Reply::error(403, "IotHubQuotaExceeded"),
                false => Reply::Forward,
            });
        }
        let ended = give(last)?;
        way.set_script(|_| Reply::Forward);
        if ended.code == Some(0) {
            return Ok((identities(&station, &hub)?, false));
        }
        ended.expect_code(3)?;
        let causes = causes(&station)?;
        for cause in &causes {
            let reason = cause["reason"].as_str().unwrap_or_default();
            ensure!(matches!(reason, "not_started" | "unfinished"), "{cause}");
        }
        let advised = causes.iter().flat_map(|cause| commands(cause["to_do"].as_str().unwrap_or_default()));
        let advised: Vec<&str> = advised.collect();
        ensure!(!advised.is_empty(), "nothing is advised");
        for command in advised {
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            give(&words)?.expect_code(0).with_context(|| command.to_owned())?;
        }
        Ok((identities(&station, &hub)?, true))
    }
}

fn is_change(call: &Call) -> bool {
    call.method != "GET" && call.path != "/devices/query"
}

fn takes_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[test]
fn whoever_does_what_a_report_advises_does_no_harm() -> Result<()> {
    let played = STORIES.iter().map(|story| story.play().with_context(|| format!("after {}", story.name)));
    let harm: Vec<String> = played.filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(harm.is_empty(), "{}", harm.join("\n"));
    Ok(())
}

impl Story {
    fn play(&self) -> Result<()> {
        let station = Station::new()?;
        let hub = ServedHub::start(&station, "hub")?;
        for (name, text) in self.files {
            station.write(name, text)?;
        }
        let (last, before) = self.commands.split_last().context("a story has an end")?;
        for command in before {
            self.give(&station, &hub, command)?.expect_code(0)?;
        }
        self.give(&station, &hub, last)?.expect_code(1)?;
        let causes = causes(&station)?;
        let mut reasons: Vec<&str> = causes.iter().filter_map(|cause| cause["reason"].as_str()).collect();
        reasons.sort_unstable();
        ensure!(reasons == self.reasons, "{reasons:?}");

        let was_there = identities(&station, &hub)?;
        for command in causes.iter().flat_map(|cause| commands(cause["to_do"].as_str().unwrap_or_default())) {
            let words: Vec<&str> = command.split(' ').skip(1).collect();
            let ended = station.provision(&hub, &words)?;
            // A look may find that rows are not as asked; it may not be refused.
            ensure!(matches!(ended.code, Some(0 | 1)), "`{command}`: {ended:?}");
            let is_there = identities(&station, &hub)?;
            for (identity, row) in &was_there {
                ensure!(
                    is_there.get(identity) == Some(row),
                    "`{command}` made {row} {:?}",
                    is_there.get(identity)
                );
            }
        }
        Ok(())
    }

    fn give(&self, station: &Station, hub: &ServedHub, words: &[&str]) -> Result<Ended> {
        let mqtt = hub.mqtt()?;
        let words = words.iter().map(|word| if *word == "MQTT" { mqtt } else { word });
        station.provision(hub, words)
    }
}

/// The causes that the report of the newest run lists.
fn causes(station: &Station) -> Result<Vec<Value>> {
    let report = station.run("provisioner", ["report", "--format", "json"])?.expect_code(1)?;
    let report: Value = serde_json::from_str(&report.stdout)?;
    for row in report["rows"].as_array().context("a report has rows")? {
        let needs_reason = row["state"] == "failed" || row["state"] == "conflict";
        ensure!(!needs_reason || row["reason"].is_string(), "{row}");
    }
    let csv = station.run("provisioner", ["report", "--format", "csv"])?.expect_code(1)?;
    let header = csv.stdout.lines().next().unwrap_or_default();
    ensure!(header.split(',').any(|column| column == "reason"), "{header}");
    Ok(report["causes"].as_array().cloned().unwrap_or_default())
}

/// The content of the hub: status, thumbprints and twin of each identity.
fn identities(station: &Station, hub: &ServedHub) -> Result<BTreeMap<String, Value>> {
    let exported = station.provision(hub, ["export"])?.expect_code(0)?;
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line)?;
        Ok((format!("{} {}", row["device_id"], row["module_id"]), row))
    };
    exported.stdout.lines().map(row).collect()
}

/// The commands in an advice, as a user types them.
fn commands(to_do: &str) -> Vec<&str> {
    to_do.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("provisioner ")).collect()
}
