//! [`ModuleColumn`]: a column `modules.<id>.<column>`, in a batch whose rows are devices with their
//! modules.

use std::fmt;

use hub_types::ModuleId;
use hub_types::limits::MAX_MODULES_PER_DEVICE;

use crate::header::column::{Column, Field, Owner};
use crate::header::suggest::suggest;
use crate::problem::{Findings, Flaw};

/// A column of one module, in the row of its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModuleColumn {
    pub(crate) module: ModuleId,
    /// Its meaning in the row of the module.
    pub(crate) column: Box<Column>,
}

impl ModuleColumn {
    /// Parses a name; `None` if it does not begin as the column of a module does.
    pub(crate) fn parse(name: &str, listed: &[ModuleId]) -> Option<Result<Self, Flaw>> {
        let name = name.trim();
        let begins = name.get(..START.len())?.eq_ignore_ascii_case(START);
        let rest = name.get(START.len()..).filter(|_| begins)?;
        // Ids may have dots, so the longest id decides.
        let of = |module: &ModuleId| rest.strip_prefix(module.as_str())?.strip_prefix('.');
        let found = listed.iter().filter_map(|module| Some((module, of(module)?)));
        let Some((module, column)) = found.max_by_key(|(module, _)| module.as_str().len()) else {
            return Some(Err(not_listed(rest, listed)));
        };
        Some(Self::at(module, column))
    }

    fn at(module: &ModuleId, name: &str) -> Result<Self, Flaw> {
        let column = Column::parse(name)?;
        if let Column::Field(field) = &column
            && (matches!(field, Field::DeviceId | Field::ModuleId) || field.owner() == Owner::Devices)
        {
            return Err(Flaw::new(
                format!(
                    "the column gives `{}`, which a module in the row of its device does not have",
                    field.name()
                ),
                "leave the column out, or pass over it with `--ignore`",
            ));
        }
        Ok(Self { module: module.clone(), column: Box::new(column) })
    }

    /// Returns true if both have the same meaning, regardless of forced types.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.module == other.module && self.column.is_same(&other.column)
    }
}

impl fmt::Display for ModuleColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{START}{}.{}", self.module, self.column)
    }
}

/// Reports modules that no device can have.
pub(crate) fn check_listed(listed: &[ModuleId], findings: &mut Findings<'_>) {
    if listed.len() > MAX_MODULES_PER_DEVICE {
        let flaw = Flaw::new(
            format!(
                "the expansion makes {} modules of each row, and a device has at most {MAX_MODULES_PER_DEVICE}",
                listed.len()
            ),
            "list fewer modules in `--modules`",
        );
        findings.column_error(OPTION, flaw);
    }
    for (index, module) in listed.iter().enumerate() {
        if listed.iter().take(index).any(|earlier| earlier == module) {
            let flaw = Flaw::new("the module is listed twice", "list it once in `--modules`");
            findings.cell_error(OPTION, module.as_str(), flaw);
        }
        if module.is_system() {
            let flaw = Flaw::new(
                "module ids that begin with `$` are the hub's own",
                "leave it out of `--modules`: a hub makes it itself with an edge device",
            );
            findings.cell_error(OPTION, module.as_str(), flaw);
        }
    }
}

fn not_listed(rest: &str, listed: &[ModuleId]) -> Flaw {
    let module = rest.split('.').next().unwrap_or_default();
    let message = format!("the column is for the module `{module}`, which is not listed");
    let near = suggest(module, listed.iter().map(ModuleId::as_str));
    let remedy = match (near, listed) {
        (Some(near), _) => format!("did you mean `{START}{near}.…`? Or add it to `--modules`"),
        (None, []) => format!("list the modules of each device, as in `--modules {module}`"),
        (None, _) => {
            let listed: Vec<_> = listed.iter().map(ModuleId::as_str).collect();
            format!(
                "listed are `{}`: add it to `--modules`, or pass over the column with `--ignore`",
                listed.join("`, `")
            )
        }
    };
    Flaw::new(message, remedy)
}

/// The beginning of the columns of modules.
const START: &str = "modules.";
/// The column that messages about the list of modules name.
const OPTION: &str = "modules";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Result<String, Flaw> {
        let listed = ["tele", "tele.metry", "Updater"].map(|id| id.parse().unwrap());
        ModuleColumn::parse(name, &listed).unwrap().map(|column| column.to_string())
    }

    #[test]
    fn the_longest_listed_id_is_the_module() {
        for (name, expected) in [
            ("modules.tele.tags.a:string", "modules.tele.tags.a"),
            (" Modules.tele.metry.primaryThumbprint", "modules.tele.metry.primary_thumbprint"),
            ("modules.Updater.x_lot", "modules.Updater.x_lot"),
        ] {
            assert_eq!(parse(name).unwrap(), expected);
        }
        assert!(ModuleColumn::parse("tags.modules.a", &[]).is_none());
    }

    #[test]
    fn a_module_that_is_not_listed_and_a_column_of_devices_are_refused() {
        for (name, message, remedy) in [
            ("modules.updatr.tags.a", "`updatr`, which is not listed", "did you mean `modules.Updater.…`?"),
            ("modules.camera.tags.a", "`camera`, which is not listed", "listed are `tele`, `tele.metry`"),
            ("modules.tele.status", "gives `status`", "--ignore"),
            ("modules.tele.device_id", "gives `device_id`", "--ignore"),
            ("modules.tele.colour", "no such column", "--map"),
        ] {
            let flaw = parse(name).unwrap_err();
            assert!(flaw.message.contains(message) && flaw.remedy.contains(remedy), "{flaw:?}");
        }
        let flaw = ModuleColumn::parse("modules.a.tags.b", &[]).unwrap().unwrap_err();
        assert_eq!(flaw.remedy, "list the modules of each device, as in `--modules a`");
    }
}
